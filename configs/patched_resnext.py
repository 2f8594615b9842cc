"""ResNeXt-101 32x8d on lung patches (Patched FLANNEL, section 2.2): one base learner, fold 0.

Paper: "COVID-19 X-ray Image Classification" (Patched FLANNEL), Table 3.
Command: python main.py --config=configs/patched_resnext.py
Time: minutes on two CPU cores for the phantoms, compilation included.
Number to reach: the paper's macro-F1 over five folds is 0.8067 (:paper).
"""

from ml_collections import ConfigDict

from configs import common


def get_config(preset: str = "") -> ConfigDict:
    return common.named(
        common.classify("resnext101_32x8d", patched=True, preset=preset), "patched_resnext", preset
    )
