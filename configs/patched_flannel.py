"""Patched FLANNEL: lung masks -> five patched learners x folds -> focal-loss ensemble -> report.

Paper: "COVID-19 X-ray Image Classification" (Patched FLANNEL).
Command: python main.py --config=configs/patched_flannel.py
         python main.py --config=configs/patched_flannel.py:small --config.data.manual_dir=DATA_DIR
         python main.py --config=configs/patched_flannel.py:paper --config.data.manual_dir=DATA_DIR
Time: on two CPU cores 20 minutes for the phantoms, compilation included (docs/RESULTS.md); :small
takes 92.
Number to reach: the paper's macro-F1 over five folds is 0.8180, with lung masks of Jaccard index
0.9339 (:paper; docs/RESULTS.md says what is comparable).
"""

from ml_collections import ConfigDict

from configs import common, common_study


def get_config(preset: str = "") -> ConfigDict:
    return common.named(
        common_study.flannel(patched=True, preset=preset), "patched_flannel", preset
    )
