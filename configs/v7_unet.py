"""A U-Net of 31 million parameters finds the lungs on V7 Darwin's data set (section 4).

RGB in, one sigmoid out.

It is zhixuhao/unet without its ReLU of two channels before the last convolution: 31,031,745
parameters from three channels, 31,030,593 from one. --config.model.narrow=2 is the published form,
31,032,837 and 31,031,685. What V7's annotators marked Ignore counts for nothing. The paper's 4170 +
307 training images are 70 %, as here; its other trial is
--config.split.train_limit="('other=500',)". It reports COVID-19 only, which has a line in the table
of each class.

Paper: Zhang, "COVID-19 Chest X-ray Images: Lung Segmentation and Diagnosis using Neural Networks".
Command: python main.py --config=configs/v7_unet.py
         python main.py --config=configs/v7_unet.py:small --config.data.manual_dir=DATA_DIR
Time: 81 minutes for :small on two CPU cores, most of them at the lowest priority beside another
      training (docs/RESULTS.md), and 3 minutes for the phantoms, tests beside them.
Number to reach: the paper's Jaccard index (IoU) is 0.8666, its Dice 0.9273 at a threshold of 0.2,
its accuracy 0.9575 (:paper); :small reaches 0.9528 on held-out patients.
"""

from ml_collections import ConfigDict

from configs.common import within
from configs.common_v7 import CLASSES, PHANTOM_CLASSES
from jaxcxr.schema import Experiment

# What `predict` segments: the same data set.
_PREDICTED = within("predict", CLASSES, {"data.equalise": False})
EXPERIMENT = Experiment(
    "segment",
    [
        {
            "model.name": "unet",
            "model.in_channels": 3,
            "model.outputs": "sigmoid",
            "loss.name": "binary_cross_entropy",
            "loss.background_weight": 1.0,
            "masks.structures": ("lung",),
            "masks.resize": "linear",
            "data.equalise": False,
            "data.gamma": 1.0,
            # 70 % train as published, 10 % choose checkpoint and threshold, 20 % are reported.
            "split.valid_fraction": 0.125,
            "optim.learning_rate": 1e-3,  # Keras's
            "train.eval_every": 3.0,
        }
    ],
    presets={
        "": [
            PHANTOM_CLASSES,
            {
                "model.width": 0.25,
                "data.image_size": 64,
                "data.options.phantom_cxr.patients": 40,
                "data.options.phantom_cxr.seed": 1,  # not the patients of the classes
                "optim.schedule": "cosine",
                "train.batch_size": 4,
                "train.epochs": 12.0,
            },
        ],
        "small": [
            CLASSES,
            _PREDICTED,
            {
                "model.width": 0.25,
                "data.image_size": 128,
                "masks.ignore": "ignore",
                "masks.on_empty": "drop",  # as published: images without lungs are left out
                "augment.max_rotation": 5.0,
                "augment.zoom": (0.9, 1.1),
                "augment.shift": 0.05,
                "augment.brightness": (0.8, 1.2),
                "optim.schedule": "cosine",
                "train.batch_size": 8,
                "train.epochs": 30.0,
            },
        ],
        "paper": [
            CLASSES,
            _PREDICTED,
            {
                "data.image_size": 256,
                "predict.data.image_size": 256,
                "masks.ignore": "ignore",
                "masks.on_empty": "drop",
                "train.batch_size": 32,  # Keras's default; the paper names none
                "train.epochs": 15.0,
                "predict.threshold": 0.2,
            },
        ],
    },
)


def get_config(preset: str = "") -> ConfigDict:
    return EXPERIMENT.config(preset, name="v7_unet")
