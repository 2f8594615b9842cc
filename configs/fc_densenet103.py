"""FC-DenseNet103 finds the lungs (Patched FLANNEL, section 2.1).

Paper: "COVID-19 X-ray Image Classification" (Patched FLANNEL).
Command: python main.py --config=configs/fc_densenet103.py
         add --config.run=predict afterwards to write a lung mask for every image of
         config.predict.data
Time: minutes on two CPU cores for the phantoms; measured times are in docs/RESULTS.md.
Number to reach: the paper's Jaccard index of the lungs is 0.9339 (JSRT, :paper).
"""

from ml_collections import ConfigDict

from configs import common


def get_config(preset: str = "") -> ConfigDict:
    return common.named(common.segment(preset=preset), "fc_densenet103", preset)
