"""COVID-CXNet's base model: five convolutions, normal against COVID-19 (paper 4.1).

Paper: Haghanifar et al., "COVID-CXNet: Detecting COVID-19 in Frontal Chest X-ray Images using Deep
Learning" (2020).
Command: python main.py --config=configs/covid_cxnet_base.py
         python main.py --config=configs/covid_cxnet_base.py:small --config.data.manual_dir=DATA_DIR
Time: phantoms 40 seconds on two CPU cores.
Number to reach: the paper's accuracy is 98.68 % at 3,400 images, F-score 0.94 (:paper).
"""

from ml_collections import ConfigDict

from configs.common import NO_MASKS, UNIT_RANGE
from configs.common_cxnet import (
    BINARY_PAPER,
    BINARY_PHANTOM,
    BINARY_SMALL,
    CXNET,
    CXNET_PAPER,
    CXNET_PHANTOM,
    CXNET_SMALL,
)
from jaxcxr.schema import Experiment

EXPERIMENT = Experiment(
    "classify",
    [
        CXNET,
        NO_MASKS,
        UNIT_RANGE,
        {
            "model.name": "covid_cxnet_base",
            "model.outputs": "sigmoid",
            "data.enhance": ("original", "beasf", "clahe"),
            "data.resize": "opencv_cubic",
        },
    ],
    presets={
        "": [
            CXNET_PHANTOM,
            BINARY_PHANTOM,
            {
                "data.image_size": 128,
                "patches.size": 128,
                "optim.learning_rate": 1e-3,
                "train.batch_size": 16,
                "train.epochs": 36.0,
                "train.eval_every": 9.0,
            },
        ],
        "small": [
            CXNET_SMALL,
            BINARY_SMALL,
            {
                "data.image_size": 128,
                "patches.size": 128,
                "optim.learning_rate": 1e-3,
                "train.batch_size": 16,
                "train.epochs": 24.0,
                "train.eval_every": 6.0,
            },
        ],
        "paper": [
            CXNET_PAPER,
            BINARY_PAPER,
            {
                "data.image_size": 320,
                "patches.size": 320,
                "augment.max_rotation": 90.0,
                "optim.learning_rate": 1e-4,  # the steepest point of the range test (paper 5.1)
                "train.batch_size": 32,
                "train.epochs": 120.0,
                "train.patience": 10,
            },
        ],
    },
)


def get_config(preset: str = "") -> ConfigDict:
    return EXPERIMENT.config(preset, name="covid_cxnet_base")
