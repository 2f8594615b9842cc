"""Training: the examples of a run, its compiled steps, where its images live, the loop."""
