"""Patched FLANNEL: lung masks -> five patched learners x folds -> focal-loss ensemble -> report.

Paper: "COVID-19 X-ray Image Classification" (Patched FLANNEL).
Command: python main.py --config=configs/patched_flannel.py
         python main.py --config=configs/patched_flannel.py:small --config.data.manual_dir=DATA_DIR
         python main.py --config=configs/patched_flannel.py:paper --config.data.manual_dir=DATA_DIR
Time: on two CPU cores 20 minutes for the phantoms, compilation included; :small took 92 with a
segmenter of its own, whose training was 31 of them (docs/RESULTS.md).
Number to reach: the paper's macro-F1 over five folds is 0.8180, with lung masks of Jaccard index
0.9339 (:paper; docs/RESULTS.md says what is comparable).
"""

from ml_collections import ConfigDict

from configs import (
    common_flannel,
    fc_densenet103,
    patched_densenet,
    patched_inception,
    patched_resnet,
    patched_resnext,
    patched_vgg,
)

LEARNERS = {
    "densenet161": patched_densenet.EXPERIMENT,
    "inception_v3": patched_inception.EXPERIMENT,
    "resnet152": patched_resnet.EXPERIMENT,
    "resnext101_32x8d": patched_resnext.EXPERIMENT,
    "vgg19_bn": patched_vgg.EXPERIMENT,
}


def get_config(preset: str = "") -> ConfigDict:
    return common_flannel.study(
        "patched_flannel",
        preset,
        LEARNERS,
        comparator=patched_resnet.EXPERIMENT,
        lungs=preset != "small",  # which looks at the ready-made ones: FC-DenseNet103 takes longer
        segment=fc_densenet103.EXPERIMENT.config(preset),
    )
