"""What the workers of other libraries do, on the same numbers.

Only they import PyTorch; none imports JAX.
"""
