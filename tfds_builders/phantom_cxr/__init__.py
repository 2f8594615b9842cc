"""Procedurally drawn chest X-rays with known masks, classes and confounder."""
