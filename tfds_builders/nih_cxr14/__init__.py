"""ChestX-ray14 of the National Institutes of Health (Wang et al.)."""
