"""COVID-CXNet's lung module: a U-Net of 7,759,521 parameters (paper 3.2, figure 4).

Paper: Haghanifar et al., "COVID-CXNet: Detecting COVID-19 in Frontal Chest X-ray Images using Deep
Learning" (2020).
Command: python main.py --config=configs/lung_unet.py
         python main.py --config=configs/lung_unet.py:small --config.data.manual_dir=DATA_DIR
Time: phantoms 2 min 15 s on two CPU cores, compilation included; :small 25 minutes with other
programs on them.
Number to reach: none is published for this module; 0.93 is the aim of configs/fc_densenet103.py.
"""

from ml_collections import ConfigDict

from configs.common import FOUR_CLASSES, within
from jaxcxr.schema import Experiment

EXPERIMENT = Experiment(
    "segment",
    [
        {
            "model.name": "unet_cxnet",
            "model.in_channels": 1,
            "model.outputs": "sigmoid",
            "data.equalise": False,
            "data.gamma": 1.0,
            "data.enhance": ("local",),
            "loss.background_weight": 1.0,
        }
    ],
    presets={
        "": [
            {
                "data.image_size": 64,
                "data.options.phantom_cxr.patients": 40,
                "data.options.phantom_cxr.seed": 1,  # not the patients of the classes
                "optim.schedule": "cosine",
                "train.epochs": 12.0,
                "train.eval_every": 4.0,
                "train.batch_size": 4,
            }
        ],
        "small": [
            within("predict", FOUR_CLASSES),
            {
                "data.builders": ("tfds_builders.montgomery_shenzhen",),
                "data.image_size": 128,
                "optim.schedule": "cosine",
                "train.epochs": 24.0,
                "train.eval_every": 6.0,
                "train.batch_size": 4,
            },
        ],
        "paper": [
            within("predict", FOUR_CLASSES),
            {
                "data.builders": ("tfds_builders.montgomery_shenzhen",),
                "data.image_size": 320,
                "data.resize": "opencv_cubic",
                "optim.learning_rate": 1e-4,
                "optim.weight_decay": 1e-6,
                "optim.plateau_patience": 5,
                "train.epochs": 100.0,
                "train.batch_size": 2,
                "train.patience": 20,
            },
        ],
    },
)


def get_config(preset: str = "") -> ConfigDict:
    return EXPERIMENT.config(preset, name="lung_unet")
