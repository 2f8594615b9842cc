"""An ensemble of whole-image and patched EfficientNet-Lite learners together.

It trains no learners of its own: it weighs those of `flannel_lite.py` and
`patched_flannel_lite.py`, which must have run with the same preset.

Paper: "COVID-19 X-ray Image Classification" (Patched FLANNEL), 2.3; the paper has no such ensemble.
Command: python main.py --config=configs/mixed_flannel_lite.py
         python main.py --config=configs/mixed_flannel_lite.py:small
Time: on two CPU cores 42 seconds for the phantoms, 4 minutes for :small, after the two studies.
Number to reach: the better of the two ensembles; the paper's whole-image one has 0.8385.
"""

from ml_collections import ConfigDict

from configs import common_flannel
from jaxcxr import schema

PARTS = ("flannel_lite", "patched_flannel_lite")


def get_config(preset: str = "") -> ConfigDict:
    loss = common_flannel.CROSS_ENTROPY if preset == "small" else None
    config = common_flannel.study("mixed_flannel_lite", preset, {}, loss=loss)
    config.study.learners_of = tuple(f"runs/{schema.run_name(part, preset)}" for part in PARTS)
    return config
