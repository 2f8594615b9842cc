"""COVID-Net's PEPX design on the whole image: one base learner, fold 0.

--config.study.learners="('densenet161', 'covid_net')" takes it into the ensemble of a FLANNEL
study.

Paper: Wang, Lin and Wong, "COVID-Net: A Tailored Deep Convolutional Neural Network Design ..."
(2020).
Command: python main.py --config=configs/covid_net.py
         python main.py --config=configs/covid_net.py:small --config.data.manual_dir=DATA_DIR
Time: 3 minutes (phantoms) and 5 minutes (:small) on two CPU cores with a training beside it.
Number to reach: its accuracy of three classes on COVIDx is 96.3 % (CXR-2); other data, other
classes.
"""

from ml_collections import ConfigDict

from configs.common_flannel import (
    WHOLE_IMAGE,
    WHOLE_IMAGE_PAPER,
    WHOLE_IMAGE_PHANTOM,
    WHOLE_IMAGE_SMALL,
)
from jaxcxr.schema import Experiment

EXPERIMENT = Experiment(
    "classify",
    [WHOLE_IMAGE, {"model.name": "covid_net"}],
    presets={
        "": [
            WHOLE_IMAGE_PHANTOM,
            {
                "data.image_size": 72,
                "patches.size": 64,
                "optim.learning_rate": 1e-3,
                "train.epochs": 14.0,
                "train.eval_every": 7.0,
            },
        ],
        "small": [
            WHOLE_IMAGE_SMALL,
            {
                "data.image_size": 72,
                "patches.size": 64,
                "optim.learning_rate": 1e-3,
                "train.epochs": 4.0,
                "train.eval_every": 2.0,
            },
        ],
        "paper": [
            WHOLE_IMAGE_PAPER,
            {
                "data.image_size": 336,
                "patches.size": 224,
                "optim.learning_rate": 1e-3,
                "train.epochs": 200.0,
                "train.eval_every": 1.0,
                "train.batch_size": 10,
                # Its own weights are TensorFlow checkpoints, which nothing here reads.
                "model.pretrained": "",
            },
        ],
    },
)


def get_config(preset: str = "") -> ConfigDict:
    return EXPERIMENT.config(preset, name="covid_net")
