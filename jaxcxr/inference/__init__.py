"""From pixels to results: a run's predictor, where lung masks come from, explanations."""

from jaxcxr.inference.mask_provider import MaskProvider
from jaxcxr.inference.predictor import Predictor

__all__ = ["MaskProvider", "Predictor"]
