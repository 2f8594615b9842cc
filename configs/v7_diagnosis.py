"""A small CNN that tells COVID-19 from the rest of V7 Darwin's data set (section 5).

Borders with letters are cut off.

Its paper swaps the formulas of true and false positive rate in the text; here they are the usual
ones.

Paper: Zhang, "COVID-19 Chest X-ray Images: Lung Segmentation and Diagnosis using Neural Networks".
Command: python main.py --config=configs/v7_diagnosis.py
         python main.py --config=configs/v7_diagnosis.py:small --config.data.manual_dir=DATA_DIR
Time: 1 minute (phantoms) on two CPU cores; :small is part of configs/v7_study.py.
Number to reach: the paper's accuracy is 0.9666, its AUC 0.985 (:paper; docs/RESULTS.md says what is
comparable).
"""

from ml_collections import ConfigDict

from configs.common import (
    FOUND_LUNGS,
    NO_MASKS,
    ONE_CROP,
    PHANTOM_LUNGS,
    UNIT_RANGE,
    WITHOUT_LUNGS,
)
from configs.common_v7 import CLASSES, PHANTOM_CLASSES
from jaxcxr.schema import Experiment

EXPERIMENT = Experiment(
    "classify",
    [
        ONE_CROP,
        NO_MASKS,
        UNIT_RANGE,
        {
            "model.name": "v7_diagnosis",
            "model.outputs": "sigmoid",
            "data.equalise": False,
            # Phantoms: with 200 the masked ones are too few to learn from.
            "data.options.phantom_cxr.patients": 400,
            "split.folds": 1,
            "split.test_fraction": 0.3,  # the paper's 30 %; its validation is what it reports
            "split.valid_fraction": 0.15,  # of the rest, for early stopping
            "patches.size": 0,
            "patches.flip": False,
            "optim.learning_rate": 1e-3,
            "train.batch_size": 32,
            "train.epochs": 15.0,
            "train.monitor": "loss",
        },
    ],
    presets={
        "": [
            PHANTOM_CLASSES,
            PHANTOM_LUNGS,
            {"data.image_size": 128, "data.cut": (5, 5, 0, 5), "train.patience": 3},
        ],
        "small": [
            CLASSES,
            WITHOUT_LUNGS,
            FOUND_LUNGS,
            {
                "data.image_size": 256,
                "data.cut": (10, 10, 0, 10),  # against letters (paper 5.2)
                "patches.max_rotation": 5.0,
                "train.patience": 3,
            },
        ],
        "paper": [
            CLASSES,
            WITHOUT_LUNGS,
            {
                "data.image_size": 256,
                "data.cut": (10, 10, 0, 10),
                "train.patience": 1,  # in epochs, "over the patience of 1 epoch"
            },
        ],
    },
)


def get_config(preset: str = "") -> ConfigDict:
    return EXPERIMENT.config(preset, name="v7_diagnosis")
