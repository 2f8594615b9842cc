"""Reports: tables, figures and summaries written from the files of finished runs, and nothing else."""
