"""The small CNN on the COVID-19 Radiography Database, with augmentation (section 3.3.2).

The paper's question is whether it cuts the errors of the smallest class: --config.run=compare
answers it.

Paper: Agarwal and Srivastava, "Segmentation of Chest Radiography Scans for COVID-19" (CNN and
VGG-16 classifiers).
Command: python main.py --config=configs/qatar_cnn_augmented.py
         python main.py --config=configs/qatar_cnn_augmented.py:small \
             --config.data.manual_dir=DATA_DIR
         python main.py --config=configs/qatar_cnn_augmented.py --config.run=compare \
             --config.compare.other=runs/qatar_cnn
Time: 4 minutes (phantoms) on two CPU cores with tests beside it; :small is part of
configs/qatar_study.py.
Number to reach: the paper's test accuracy is 91.39 % (:paper; docs/RESULTS.md says what is
comparable).
"""

from ml_collections import ConfigDict

from configs import qatar_cnn
from configs.common_qatar import AUGMENTED


def get_config(preset: str = "") -> ConfigDict:
    return qatar_cnn.EXPERIMENT.config(preset, name="qatar_cnn_augmented", changed=AUGMENTED)
