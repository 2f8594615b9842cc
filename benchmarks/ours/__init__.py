"""What the workers of jaxcxr do. Only they import JAX."""
