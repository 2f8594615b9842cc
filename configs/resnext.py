"""ResNeXt-101 32x8d on the whole image (FLANNEL): one base learner, fold 0.

Paper: "COVID-19 X-ray Image Classification" (Patched FLANNEL), Table 3.
Command: python main.py --config=configs/resnext.py
Time: minutes on two CPU cores for the phantoms, compilation included.
Number to reach: the paper's macro-F1 over five folds is 0.7852 (:paper).
"""

from ml_collections import ConfigDict

from configs import common


def get_config(preset: str = "") -> ConfigDict:
    return common.named(
        common.classify("resnext101_32x8d", patched=False, preset=preset), "resnext", preset
    )
