"""A small CNN that tells COVID-19 from the rest of V7 Darwin's data set, borders with letters cut
off (section 5).

Its paper swaps the formulas of true and false positive rate in the text; here they are the usual
ones.

Paper: Zhang, "COVID-19 Chest X-ray Images: Lung Segmentation and Diagnosis using Neural Networks".
Command: python main.py --config=configs/v7_diagnosis.py
         python main.py --config=configs/v7_diagnosis.py:small --config.data.manual_dir=DATA_DIR
Time: 1 minute (phantoms) on two CPU cores; :small is part of configs/v7_study.py.
Number to reach: the paper's accuracy is 0.9666, its AUC 0.985 (:paper; docs/RESULTS.md says what is
comparable).
"""

from ml_collections import ConfigDict

from configs import common, common_v7


def get_config(preset: str = "") -> ConfigDict:
    return common.named(common_v7.diagnosis(preset=preset), "v7_diagnosis", preset)
