"""COVID-CXNet's other backbone: ResNet-50 with ImageNet's weights (paper 4.2, 5.2).

--config.model.name=covid_cxnet --config.model.pretrained=densenet121.tv_in1k is its DenseNet-121
with ImageNet's.

Paper: Haghanifar et al., "COVID-CXNet: Detecting COVID-19 in Frontal Chest X-ray Images using Deep
Learning" (2020).
Command: python main.py --config=configs/covid_cxnet_resnet50.py
         python main.py --config=configs/covid_cxnet_resnet50.py:small \
             --config.data.manual_dir=DATA_DIR
Time: 85 seconds (phantoms) on two CPU cores.
Number to reach: none is published; "ResNet-50 has also produced almost the same results" as
ImageNet's DenseNet-121, which it calls bad.
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
        {
            "model.name": "covid_cxnet_resnet50",
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
            UNIT_RANGE,
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
            UNIT_RANGE,
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
                "model.pretrained": "resnet50.tv_in1k",
                "model.mean": (),  # of the weights
                "model.std": (),
                "augment.max_rotation": 170.0,  # published code
                "optim.learning_rate": 1e-3,
                "train.batch_size": 16,
                "train.epochs": 10.0,
            },
        ],
    },
)


def get_config(preset: str = "") -> ConfigDict:
    return EXPERIMENT.config(preset, name="covid_cxnet_resnet50")
