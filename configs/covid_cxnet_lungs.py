"""COVID-CXNet, version 2: sees the box around the lungs only (paper 5.3).

Paper: Haghanifar et al., "COVID-CXNet: Detecting COVID-19 in Frontal Chest X-ray Images using Deep
Learning" (2020).
Command: python main.py --config=configs/covid_cxnet_lungs.py
         python main.py --config=configs/covid_cxnet_lungs.py:small \
             --config.data.manual_dir=DATA_DIR
Time: phantoms 1.6 minutes on two CPU cores where version 1 has compiled its program.
Number to reach: the paper's accuracy is 98.62 %, F-score 0.94 (:paper).
"""

from ml_collections import ConfigDict

from configs.common import UNIT_RANGE
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
        UNIT_RANGE,
        {
            "model.name": "covid_cxnet",
            "model.outputs": "sigmoid",
            "data.enhance": ("beasf", "clahe", "original"),
            "data.resize": "opencv_cubic",
            "loss.label_smoothing": 0.1,
            "data.lungs": "box",
        },
    ],
    presets={
        "": [
            CXNET_PHANTOM,
            BINARY_PHANTOM,
            {
                "masks.source": "dataset",
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
                "masks.source": "ready",
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
                "masks.source": "ready",
                "data.image_size": 320,
                "patches.size": 320,
                "model.pretrained": "densenet121.chexnet",
                "augment.max_rotation": 170.0,  # published code
                "optim.learning_rate": 1e-3,
                "train.batch_size": 16,
                "train.epochs": 10.0,
                # "expanded by adding zoom-in, zoom-out, and brightness adjustment" (paper 5.3)
                "augment.zoom": (0.8, 1.5),
                "augment.brightness": (0.5, 1.3),
                "augment.shift": 0.2,
            },
        ],
    },
)


def get_config(preset: str = "") -> ConfigDict:
    return EXPERIMENT.config(preset, name="covid_cxnet_lungs")
