"""FC-DenseNet103 finds the lungs (Patched FLANNEL, section 2.1).

Paper: "COVID-19 X-ray Image Classification" (Patched FLANNEL).
Command: python main.py --config=configs/fc_densenet103.py
Time: TODO_TIME
Number to reach: TODO_NUM
"""

from ml_collections import ConfigDict

from configs import common


def get_config(preset: str = "") -> ConfigDict:
    return common.named(common.segment(preset=preset), "fc_densenet103", preset)
