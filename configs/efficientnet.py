"""EfficientNet-B4 on the whole image, as AI-COVID's backbone: one base learner, fold 0.

--config.study.learners="('densenet161', 'efficientnet_b4')" takes it into the ensemble of a FLANNEL
study.

Paper: Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks"
(2019).
Command: python main.py --config=configs/efficientnet.py
         python main.py --config=configs/efficientnet.py:small --config.data.manual_dir=DATA_DIR
Time: 16 minutes (phantoms, with tests beside it) and 10 minutes (:small) on two CPU cores.
Number to reach: none is published for these classes.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(preset: str = "") -> ConfigDict:
    c = common.classify("efficientnet_b4", patched=False, preset=preset)
    if preset != "paper":  # from random values it needs more steps than other learners
        factor = 3 if preset == "" else 4
        c.train.epochs *= factor
        c.train.eval_every *= factor
    return common.named(c, "efficientnet", preset)
