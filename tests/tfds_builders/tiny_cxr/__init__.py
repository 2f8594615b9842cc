"""A data set that the tests of the builders' skeleton read."""
