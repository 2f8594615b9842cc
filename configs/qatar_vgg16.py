"""VGG-16 with ImageNet's features and a new head on the COVID-19 Radiography Database.

Section 3.3.3.

Without those weights (phantoms, :small) the features are learned, too, from random values.

Paper: Agarwal and Srivastava, "Segmentation of Chest Radiography Scans for COVID-19" (CNN and
VGG-16 classifiers).
Command: python main.py --config=configs/qatar_vgg16.py
         python main.py --config=configs/qatar_vgg16.py:small --config.data.manual_dir=DATA_DIR
Time: 12 minutes (phantoms) and 15 minutes (:small), measured on two CPU cores with other programs
beside them.
Number to reach: the paper's validation accuracy is 94.62 % (:paper; docs/RESULTS.md says what is
comparable).
"""

from ml_collections import ConfigDict

from configs.common_qatar import AUGMENTED, QATAR, QATAR_PAPER, QATAR_PHANTOM, QATAR_SMALL
from jaxcxr.schema import Experiment

# From random values there is nothing to freeze, and a few hundred steps are what they can take.
FROM_RANDOM = {
    "data.image_size": 64,
    "optim.name": "sgd",
    "optim.learning_rate": 5e-3,
    "optim.clip_norm": 1.0,
    "train.epochs": 30.0,
    "train.eval_every": 5.0,
}
EXPERIMENT = Experiment(
    "classify",
    [
        QATAR,
        AUGMENTED,
        {
            "model.name": "qatar_vgg16",
            "split.test_fraction": 0.125,  # 75 % : 12.5 % : 12.5 %, stratified
            "split.valid_fraction": 1 / 7,
            "train.batch_size": 32,  # Keras's default
        },
    ],
    presets={
        "": [QATAR_PHANTOM, FROM_RANDOM],
        "small": [QATAR_SMALL, FROM_RANDOM],
        "paper": [
            QATAR_PAPER,
            {
                "data.image_size": 224,
                "model.pretrained": "vgg16.keras_notop",
                "optim.freeze": ("^features/",),
                "optim.learning_rate": 1e-3,  # Keras's default; the paper names none
                "train.epochs": 10.0,
                "train.eval_every": 1.0,
            },
        ],
    },
)


def get_config(preset: str = "") -> ConfigDict:
    return EXPERIMENT.config(preset, name="qatar_vgg16")
