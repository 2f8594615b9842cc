"""FLANNEL: five whole-image learners x folds -> focal-loss ensemble -> report.

Paper: "COVID-19 X-ray Image Classification" (Patched FLANNEL).
Command: python main.py --config=configs/flannel.py
         python main.py --config=configs/flannel.py:small --config.data.manual_dir=DATA_DIR
         python main.py --config=configs/flannel.py:paper --config.data.manual_dir=DATA_DIR
Time: 8 minutes (phantoms) and 59 minutes (:small), measured on two CPU cores with other programs
beside them.
Number to reach: the paper's macro-F1 over five folds is 0.8385 (:paper; see docs/RESULTS.md for
what is comparable).

:paper is the published chain, which tests/data/test_published_chain.py computes again, but for:
patients are kept together in splits, the ensemble learns from predictions out of fold, where the
published code splits images and stacks on what the learners were trained on, and Inception's crop
of 299 begins at pixel 18, where the published one begins at 18.5.
"""

from ml_collections import ConfigDict

from configs import common_flannel, densenet, inception, resnet, resnext, vgg

LEARNERS = {
    "densenet161": densenet.EXPERIMENT,
    "inception_v3": inception.EXPERIMENT,
    "resnet152": resnet.EXPERIMENT,
    "resnext101_32x8d": resnext.EXPERIMENT,
    "vgg19_bn": vgg.EXPERIMENT,
}


def get_config(preset: str = "") -> ConfigDict:
    return common_flannel.study("flannel", preset, LEARNERS, comparator=resnet.EXPERIMENT)
