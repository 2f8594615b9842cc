"""V7's diagnosis CNN on whole images, on borders cut by 10 and by 20 pixels, and on the lungs alone
(sections 5, 6).

Three trainings each, compared pair by pair on the same test images: what do letters and the rest
around the lungs do?

Paper: Zhang, "COVID-19 Chest X-ray Images: Lung Segmentation and Diagnosis using Neural Networks".
Command: python main.py --config=configs/v7_study.py
         python main.py --config=configs/v7_study.py:small --config.data.manual_dir=DATA_DIR
Time: 11 minutes (phantoms) and 57 minutes (:small, with tests and trainings beside it) on two
      CPU cores (docs/RESULTS.md).
Number to reach: the paper's accuracy is 0.9666 with 10 pixels (AUC 0.985) and with 20 (:paper;
docs/RESULTS.md says what is comparable).
"""

from ml_collections import ConfigDict

from configs import common, common_v7


def get_config(preset: str = "") -> ConfigDict:
    return common.named(common_v7.study(preset=preset), "v7_study", preset)
