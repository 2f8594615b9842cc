"""jaxcxr beside PyTorch, side by side in one process tree: `python -m benchmarks --help`.

`cases` lists what is measured; `ours` and `peers` hold what the worker processes of either
framework do; `harness` runs them in turn. Nothing imports this package.
"""
