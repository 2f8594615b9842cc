"""Patched FLANNEL: lung masks -> five patched learners x folds -> focal-loss ensemble -> report.

Paper: "COVID-19 X-ray Image Classification" (Patched FLANNEL).
Command: python main.py --config=configs/patched_flannel.py
         python main.py --config=configs/patched_flannel.py:small --config.data.manual_dir=DATA_DIR
         python main.py --config=configs/patched_flannel.py:paper --config.data.manual_dir=DATA_DIR
Time: on two CPU cores 20 minutes for the phantoms, compilation included; :small took 92 with a
segmenter of its own, whose training was 31 of them (docs/RESULTS.md).
Number to reach: the paper's macro-F1 over five folds is 0.8180, with lung masks of Jaccard index
0.9339 (:paper; docs/RESULTS.md says what is comparable).

:paper is the published chain, which tests/data/test_published_chain.py computes again, but for:
- Patients are kept together in splits, and the ensemble learns from predictions out of fold, where
  the published code splits images and stacks on what the learners were trained on.
- Patches lie about pixels of the lungs; the published code draws row and column apart
  (patches.sampling=rows_and_columns), so that many lie off them. At the border they are moved
  inside, not cut and stretched, and they turn by any angle up to 5 degrees, not by whole ones.
- The equalised image has whole grey levels once it is 1024 x 1024 (by Pillow's bilinear filter;
  which one was used is not known).
- The bottom of an image is not cut off. The published rule, at the first 0 in the middle column of
  the lower half, cuts 34 of 497 images of the COVID-19 collection, a tenth of them by 14 % or more;
  in 9 what it cuts is blank.
- Learners have an L1 penalty of 1e-5, as Oh, Park and Ye's; Patched FLANNEL's code has it commented
  out, and its loader does not shuffle.
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
