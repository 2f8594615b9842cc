"""VGG-19-BN on lung patches (Patched FLANNEL, section 2.2): one base learner, fold 0.

Paper: "COVID-19 X-ray Image Classification" (Patched FLANNEL), Table 3.
Command: python main.py --config=configs/patched_vgg.py
Time: TODO_TIME
Number to reach: TODO_NUM; the paper's macro-F1 over five folds, :paper, is 0.8004.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(preset: str = "") -> ConfigDict:
    return common.named(common.classify("vgg19_bn", patched=True, preset=preset), "patched_vgg", preset)
