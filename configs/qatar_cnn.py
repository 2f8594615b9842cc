"""A small CNN on the COVID-19 Radiography Database, without augmentation (section 3.3.1).

Paper: Agarwal and Srivastava, "Segmentation of Chest Radiography Scans for COVID-19" (CNN and
VGG-16 classifiers).
Command: python main.py --config=configs/qatar_cnn.py
         python main.py --config=configs/qatar_cnn.py:small --config.data.manual_dir=DATA_DIR
Time: 78 seconds (phantoms) and 2 minutes (:small) on two CPU cores, compilation included.
Number to reach: the paper's test accuracy is 91.55 % (:paper; docs/RESULTS.md says what is
comparable).
"""

from ml_collections import ConfigDict

from configs.common_qatar import QATAR, QATAR_PAPER, QATAR_PHANTOM, QATAR_SMALL
from jaxcxr.schema import Experiment

EXPERIMENT = Experiment(
    "classify",
    [
        QATAR,
        {
            "patches.flip": False,
            "model.name": "qatar_cnn",
            "data.image_size": 100,
            "split.test_fraction": 0.2,  # 70 % : 10 % : 20 %
            "split.valid_fraction": 0.125,
            "optim.learning_rate": 1e-3,  # Keras's default; the paper names none
            # "Regularizers are added to the convolutional layers": Keras's l2(0.001), which the
            # paper does not give.
            "optim.weight_decay": 2e-3,
            "optim.decay_on": ("^conv2d.*/kernel$",),
            "train.batch_size": 64,
            "train.epochs": 50.0,
            "train.patience": 3,  # "does not decrease in 3 consecutive epochs"
            "train.monitor": "loss",
        },
    ],
    presets={"": [QATAR_PHANTOM], "small": [QATAR_SMALL], "paper": [QATAR_PAPER]},
)


def get_config(preset: str = "") -> ConfigDict:
    return EXPERIMENT.config(preset, name="qatar_cnn")
