"""Reports: tables, figures and summaries of finished runs.

They are written from the runs' files, and nothing else.
"""
