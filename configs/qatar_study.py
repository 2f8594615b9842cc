"""The Qatar paper's question: does augmentation cut the errors of the smallest class?

Section 3.3.2.

Both CNNs, three trainings each, compared on the same test images with an exact McNemar test.

Paper: Agarwal and Srivastava, "Segmentation of Chest Radiography Scans for COVID-19" (CNN and
VGG-16 classifiers).
Command: python main.py --config=configs/qatar_study.py
         python main.py --config=configs/qatar_study.py:small --config.data.manual_dir=DATA_DIR
Time: 8 minutes (phantoms, with a training beside it) and 5 minutes (:small) on two CPU cores.
Number to reach: the paper's test accuracies are 91.55 % and 91.39 % (:paper; docs/RESULTS.md says
what is comparable).
"""

from ml_collections import ConfigDict

from configs import qatar_cnn
from configs.common_qatar import AUGMENTED
from jaxcxr import schema


def get_config(preset: str = "") -> ConfigDict:
    return schema.config(
        "classifiers",
        {
            "name": schema.run_name("qatar_study", preset),
            "repeats": 3,
            "study.models": ("cnn", "cnn_augmented"),
            "study.pairs": ("cnn_augmented:cnn",),
        },
        models={
            "cnn": qatar_cnn.EXPERIMENT.config(preset),
            "cnn_augmented": qatar_cnn.EXPERIMENT.config(preset, changed=AUGMENTED),
        },
    )
