"""FC-DenseNet103 finds the lungs (Patched FLANNEL, section 2.1).

Paper: "COVID-19 X-ray Image Classification" (Patched FLANNEL).
Command: python main.py --config=configs/fc_densenet103.py
         add --config.run=predict afterwards to write a lung mask for every image of
         config.predict.data
Time: minutes on two CPU cores for the phantoms; measured times are in docs/RESULTS.md.
Number to reach: the paper's Jaccard index of the lungs is 0.9339 (JSRT, :paper).
"""

from ml_collections import ConfigDict

from configs.common import FOUR_CLASSES, within
from jaxcxr.schema import Experiment

STRUCTURES = ("heart", "left_lung", "right_lung")
EXPERIMENT = Experiment(
    "segment",
    [
        {
            "model.name": "fc_densenet103",
            "model.in_channels": 1,
            "data.gamma": 0.5,
            "split.folds": 5,  # one block of patients in five is held out: 80/20
            "loss.background_weight": 0.5,
        }
    ],
    presets={
        "": [
            {
                "masks.structures": STRUCTURES,
                "data.image_size": 64,
                "data.options.phantom_cxr.patients": 40,
                "data.options.phantom_cxr.seed": 1,  # not the patients of the classes
                "optim.schedule": "cosine",
                "train.epochs": 4.0,
                "train.eval_every": 2.0,
                "train.batch_size": 4,
            }
        ],
        "small": [
            within("predict", FOUR_CLASSES),
            {
                "data.builders": ("tfds_builders.montgomery_shenzhen",),
                "data.image_size": 64,
                "optim.schedule": "cosine",
                "train.epochs": 24.0,
                "train.eval_every": 6.0,
                "train.batch_size": 4,
            },
        ],
        "paper": [
            within("predict", FOUR_CLASSES),
            {
                "data.builders": ("tfds_builders.jsrt_scr",),
                "masks.structures": STRUCTURES,
                "data.image_size": 256,
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
    return EXPERIMENT.config(preset, name="fc_densenet103")
