"""COVID-CXNet, version 1: DenseNet-121 with a head of 10, normal against COVID-19 (paper 4.3).

Paper: Haghanifar et al., "COVID-CXNet: Detecting COVID-19 in Frontal Chest X-ray Images using Deep
Learning" (2020).
Command: python main.py --config=configs/covid_cxnet.py
         python main.py --config=configs/covid_cxnet.py:small --config.data.manual_dir=DATA_DIR
Time: phantoms 3.4 minutes on two CPU cores, compilation included.
Number to reach: the paper's accuracy is 99.04 %, F-score 0.96 (:paper).
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
            "model.name": "covid_cxnet",
            "model.outputs": "sigmoid",
            "data.enhance": ("beasf", "clahe", "original"),
            "data.resize": "opencv_cubic",
            "loss.label_smoothing": 0.1,
        },
    ],
    presets={
        "": [
            CXNET_PHANTOM,
            BINARY_PHANTOM,
            {
                "data.image_size": 64,
                "patches.size": 64,
                "optim.learning_rate": 1e-3,
                "train.batch_size": 16,
                "train.epochs": 12.0,
                "train.eval_every": 3.0,
            },
        ],
        "small": [
            CXNET_SMALL,
            BINARY_SMALL,
            {
                "data.image_size": 96,
                "patches.size": 96,
                "optim.learning_rate": 1e-3,
                "train.batch_size": 16,
                "train.epochs": 8.0,
                "train.eval_every": 2.0,
            },
        ],
        "paper": [
            CXNET_PAPER,
            BINARY_PAPER,
            {
                "data.image_size": 320,
                "patches.size": 320,
                "model.pretrained": "densenet121.chexnet",
                "augment.max_rotation": 170.0,  # published code
                "optim.learning_rate": 1e-3,
                "train.batch_size": 16,
                "train.epochs": 10.0,
            },
        ],
    },
)


def get_config(preset: str = "") -> ConfigDict:
    return EXPERIMENT.config(preset, name="covid_cxnet")
