"""Chains of runs: the systems of the papers, repeated trainings, hierarchies."""
