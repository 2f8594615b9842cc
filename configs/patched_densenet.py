"""DenseNet-161 on lung patches (Patched FLANNEL, section 2.2): one base learner, fold 0.

Paper: "COVID-19 X-ray Image Classification" (Patched FLANNEL), Table 3.
Command: python main.py --config=configs/patched_densenet.py
Time: phantoms at most 6 minutes on two CPU cores, compilation included.
Number to reach: macro-F1 0.80 on the phantoms' test images; the paper's over five folds is 0.8043
(:paper).
"""

from ml_collections import ConfigDict

from configs.common_flannel import PATCHES, PATCHES_PAPER, PATCHES_PHANTOM, PATCHES_SMALL
from jaxcxr.schema import Experiment

EXPERIMENT = Experiment(
    "classify",
    [PATCHES, {"model.name": "densenet161"}],
    presets={
        "": [
            PATCHES_PHANTOM,
            {
                "data.image_size": 128,
                "patches.size": 32,
                "patches.train_count": 2,
                "patches.eval_count": 16,
                "patches.valid_count": 16,  # one program to compile for both
                "optim.learning_rate": 2e-3,
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
                "model.pretrained": "densenet161.tv_in1k",
            },
        ],
    },
)


def get_config(preset: str = "") -> ConfigDict:
    return EXPERIMENT.config(preset, name="patched_densenet")
