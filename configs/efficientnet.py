"""EfficientNet-B4 on the whole image, as AI-COVID's backbone: one base learner, fold 0.

--config.study.learners="('densenet161', 'efficientnet_b4')" takes it into the ensemble of a FLANNEL
study.

Paper: Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks"
(2019).
Command: python main.py --config=configs/efficientnet.py
         python main.py --config=configs/efficientnet.py:small --config.data.manual_dir=DATA_DIR
Time: 16 minutes (phantoms, with tests beside it) and 10 minutes (:small) on two CPU cores.
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
    [WHOLE_IMAGE, {"model.name": "efficientnet_b4"}],
    presets={
        "": [
            WHOLE_IMAGE_PHANTOM,
            {
                "data.image_size": 72,
                "patches.size": 64,
                "optim.learning_rate": 1e-3,
                "train.epochs": 42.0,  # from random values it needs more steps than other learners
                "train.eval_every": 21.0,
            },
        ],
        "small": [
            WHOLE_IMAGE_SMALL,
            {
                "data.image_size": 72,
                "patches.size": 64,
                "optim.learning_rate": 1e-3,
                "train.epochs": 16.0,
                "train.eval_every": 8.0,
            },
        ],
        "paper": [
            WHOLE_IMAGE_PAPER,
            {
                "data.image_size": 336,
                "patches.size": 224,
                "optim.learning_rate": 1e-3,
                "train.epochs": 200.0,
                "train.eval_every": 1.0,
                "train.batch_size": 10,
                "model.pretrained": "efficientnet_b4.torchvision",
            },
        ],
    },
)


def get_config(preset: str = "") -> ConfigDict:
    return EXPERIMENT.config(preset, name="efficientnet")
