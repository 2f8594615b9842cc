"""Where a classifier looks: pure functions from a network and images to heat maps, and measures of them."""
