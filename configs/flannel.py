"""FLANNEL: five whole-image learners x folds -> focal-loss ensemble -> report.

Paper: "COVID-19 X-ray Image Classification" (Patched FLANNEL).
Command: python main.py --config=configs/flannel.py
Time: TODO_TIME
Number to reach: TODO_NUM
"""

from ml_collections import ConfigDict

from configs import common


def get_config(preset: str = "") -> ConfigDict:
    return common.named(common.study(patched=False, preset=preset), "flannel", preset)
