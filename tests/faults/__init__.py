"""The fault campaign: what jaxcxr promises when files, disks and processes fail, tried many times.

`python -m tests.faults` runs it and prints a table; `tests/faults/test_faults.py` runs a part of it
with the suite.
"""
