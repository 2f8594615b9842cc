"""TFDS builders of the X-ray sets; each is imported by name and needs no TensorFlow."""
