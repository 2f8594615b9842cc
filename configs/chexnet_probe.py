"""CheXNet's findings as they are: does "Pneumonia" rank COVID-19 above normal?

Without fine-tuning (paper 4.2, 5.2).

Paper: Haghanifar et al., "COVID-CXNet: Detecting COVID-19 in Frontal Chest X-ray Images using Deep
Learning" (2020).
Command: python main.py --config=configs/chexnet_probe.py
         python main.py --config=configs/chexnet_probe.py:small --config.data.manual_dir=DATA_DIR
Time: a minute on two CPU cores; CheXNet's weights are needed (fetched once, or a file:
model.pretrained=PATH).
Number to reach: none is published; figure 14 shows two images.
"""

from ml_collections import ConfigDict

from configs.common import NO_MASKS
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
        {
            "run": "probe",
            "model.name": "densenet121",
            "model.pretrained": "densenet121.chexnet",
            "model.head": "pretrained",
            "model.mean": (),  # of the weights
            "model.std": (),
            "data.image_size": 224,
            "patches.size": 224,
            "loss.label_smoothing": 0.1,
        },
    ],
    presets={
        "": [CXNET_PHANTOM, BINARY_PHANTOM, {"train.epochs": 12.0, "train.eval_every": 3.0}],
        "small": [CXNET_SMALL, BINARY_SMALL, {"train.epochs": 8.0, "train.eval_every": 2.0}],
        "paper": [
            CXNET_PAPER,
            BINARY_PAPER,
            {"augment.max_rotation": 170.0, "train.epochs": 10.0},
        ],
    },
)


def get_config(preset: str = "") -> ConfigDict:
    return EXPERIMENT.config(preset, name="chexnet_probe")
