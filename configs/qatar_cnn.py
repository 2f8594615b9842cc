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

from configs import common, common_qatar


def get_config(preset: str = "") -> ConfigDict:
    return common.named(common_qatar.cnn(augmented=False, preset=preset), "qatar_cnn", preset)
