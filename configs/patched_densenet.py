"""DenseNet-161 on lung patches (Patched FLANNEL, section 2.2): one base learner, fold 0.

Paper: "COVID-19 X-ray Image Classification" (Patched FLANNEL), Table 3.
Command: python main.py --config=configs/patched_densenet.py
Time: phantoms at most 6 minutes on two CPU cores, compilation included.
Number to reach: macro-F1 0.80 on the phantoms' test images; the paper's over five folds is 0.8043
(:paper).
"""

from ml_collections import ConfigDict

from configs import common


def get_config(preset: str = "") -> ConfigDict:
    return common.named(
        common.classify("densenet161", patched=True, preset=preset), "patched_densenet", preset
    )
