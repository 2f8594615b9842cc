"""jaxcxr: chest X-ray classification and segmentation in JAX and Flax, for research use only."""

__version__ = "0.2.0"
