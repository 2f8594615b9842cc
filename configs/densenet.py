"""DenseNet-161 on the whole image (FLANNEL): one base learner, fold 0.

Paper: "COVID-19 X-ray Image Classification" (Patched FLANNEL), Table 3.
Command: python main.py --config=configs/densenet.py
Time: minutes on two CPU cores for the phantoms, compilation included.
Number to reach: the paper's macro-F1 over five folds is 0.7625 (:paper).
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
    [WHOLE_IMAGE, {"model.name": "densenet161"}],
    presets={
        "": [
            WHOLE_IMAGE_PHANTOM,
            {
                "data.image_size": 72,
                "patches.size": 64,
                "optim.learning_rate": 2e-3,
                "train.epochs": 14.0,
                "train.eval_every": 7.0,
            },
        ],
        "small": [
            WHOLE_IMAGE_SMALL,
            {
                "data.image_size": 72,
                "patches.size": 64,
                "optim.learning_rate": 1e-3,
                "train.epochs": 4.0,
                "train.eval_every": 2.0,
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
                "model.pretrained": "densenet161.tv_in1k",
            },
        ],
    },
)


def get_config(preset: str = "") -> ConfigDict:
    return EXPERIMENT.config(preset, name="densenet")
