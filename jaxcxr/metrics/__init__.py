"""Metrics as pytrees of sums: exact for any split of a set into batches, devices and padding.

`from_batch` runs on the device, inside a compiled step if wanted; `merge` and `jax.lax.psum` add;
`compute` and `scalars` divide, on the host. The rankings of `jaxcxr.metrics.ranking` need the whole
set at once, and `ImageOverlap` keeps every image.
"""

from jaxcxr.metrics.confusion import ConfusionMatrix
from jaxcxr.metrics.image_overlap import ImageOverlap
from jaxcxr.metrics.mean import Mean
from jaxcxr.metrics.pooled import PooledOverlap
from jaxcxr.metrics.segmentation_overlap import SegmentationOverlap

__all__ = ["ConfusionMatrix", "ImageOverlap", "Mean", "PooledOverlap", "SegmentationOverlap"]
