"""COVID-CXNet, version 1: DenseNet-121 with a head of 10, normal against COVID-19 (paper 4.3).

Paper: Haghanifar et al., "COVID-CXNet: Detecting COVID-19 in Frontal Chest X-ray Images using Deep
Learning" (2020).
Command: python main.py --config=configs/covid_cxnet.py
         python main.py --config=configs/covid_cxnet.py:small --config.data.manual_dir=DATA_DIR
Time: phantoms 3.4 minutes on two CPU cores, compilation included.
Number to reach: the paper's accuracy is 99.04 %, F-score 0.96 (:paper).
"""

from ml_collections import ConfigDict

from configs import common, common_cxnet


def get_config(preset: str = "") -> ConfigDict:
    c = common_cxnet.classify("covid_cxnet", classes="binary", lungs=False, preset=preset)
    return common.named(c, "covid_cxnet", preset)
