"""Files of runs: run folders and their checks, checkpoints, predictions, logs, atomic writes."""
