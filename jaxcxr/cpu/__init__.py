"""What exists because of XLA:CPU and glibc; nothing here is used on a GPU or TPU."""
