"""ResNet-152 on lung patches (Patched FLANNEL, section 2.2): one base learner, fold 0.

Paper: "COVID-19 X-ray Image Classification" (Patched FLANNEL), Table 3.
Command: python main.py --config=configs/patched_resnet.py
Time: minutes on two CPU cores for the phantoms, compilation included.
Number to reach: the paper's macro-F1 over five folds is 0.7901 (:paper).
"""

from ml_collections import ConfigDict

from configs import common


def get_config(preset: str = "") -> ConfigDict:
    return common.named(
        common.classify("resnet152", patched=True, preset=preset), "patched_resnet", preset
    )
