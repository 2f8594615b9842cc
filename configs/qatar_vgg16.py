"""VGG-16 with ImageNet's features and a new head on the COVID-19 Radiography Database (section
3.3.3).

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

from configs import common, common_qatar


def get_config(preset: str = "") -> ConfigDict:
    return common.named(common_qatar.vgg16(preset=preset), "qatar_vgg16", preset)
