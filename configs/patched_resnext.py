"""ResNeXt-101 32x8d on lung patches (Patched FLANNEL, section 2.2): one base learner, fold 0.

Paper: "COVID-19 X-ray Image Classification" (Patched FLANNEL), Table 3.
Command: python main.py --config=configs/patched_resnext.py
Time: minutes on two CPU cores for the phantoms, compilation included.
Number to reach: the paper's macro-F1 over five folds is 0.8067 (:paper).
"""

from ml_collections import ConfigDict

from configs.common_flannel import PATCHES, PATCHES_PAPER, PATCHES_PHANTOM, PATCHES_SMALL
from jaxcxr.schema import Experiment

EXPERIMENT = Experiment(
    "classify",
    [PATCHES, {"model.name": "resnext101_32x8d"}],
    presets={
        "": [
            PATCHES_PHANTOM,
            {
                "data.image_size": 128,
                "patches.size": 32,
                "patches.train_count": 2,
                "patches.eval_count": 16,
                "patches.valid_count": 16,  # one program to compile for both
                "optim.learning_rate": 1e-3,
                "train.epochs": 14.0,
                "train.eval_every": 7.0,
            },
        ],
        "small": [
            PATCHES_SMALL,
            {
                "data.image_size": 128,
                "patches.size": 32,
                "patches.train_count": 2,
                "patches.eval_count": 8,
                "patches.valid_count": 8,
                "optim.learning_rate": 1e-3,
                "train.epochs": 4.0,
                "train.eval_every": 2.0,
            },
        ],
        "paper": [
            PATCHES_PAPER,
            {
                "data.image_size": 1024,
                "patches.size": 224,
                "patches.train_count": 1,
                "patches.eval_count": 100,
                "patches.valid_count": 10,
                "optim.learning_rate": 1e-5,
                "train.epochs": 200.0,
                "train.eval_every": 1.0,
                "train.batch_size": 16,
                "train.patience": 50,
                "model.pretrained": "resnext101_32x8d.tv_in1k",
            },
        ],
    },
)


def get_config(preset: str = "") -> ConfigDict:
    return EXPERIMENT.config(preset, name="patched_resnext")
