"""Published numbers and what of them can be compared: data, no logic."""
