"""EfficientNet-B4 on the whole image, as AI-COVID's backbone: one base learner, fold 0.

--config.study.learners="('densenet161', 'efficientnet_b4')" takes it into the ensemble of a FLANNEL study.

Paper: Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks" (2019).
Command: python main.py --config=configs/efficientnet.py
Time: 13 minutes (phantoms, too few steps to learn from) on two CPU cores with a training beside it.
Number to reach: none is published for these classes.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(preset: str = "") -> ConfigDict:
    return common.named(common.classify("efficientnet_b4", patched=False, preset=preset), "efficientnet", preset)
