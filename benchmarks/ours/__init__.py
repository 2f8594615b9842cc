"""What the workers of jaxcxr do. Only they and `benchmarks.shared` import JAX."""
