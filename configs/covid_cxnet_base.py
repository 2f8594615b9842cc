"""COVID-CXNet's base model: five convolutions, normal against COVID-19 (paper 4.1).

Paper: Haghanifar et al., "COVID-CXNet: Detecting COVID-19 in Frontal Chest X-ray Images using Deep
Learning" (2020).
Command: python main.py --config=configs/covid_cxnet_base.py
         python main.py --config=configs/covid_cxnet_base.py:small --config.data.manual_dir=DATA_DIR
Time: phantoms 40 seconds on two CPU cores.
Number to reach: the paper's accuracy is 98.68 % at 3,400 images, F-score 0.94 (:paper).
"""

from ml_collections import ConfigDict

from configs import common, common_cxnet


def get_config(preset: str = "") -> ConfigDict:
    c = common_cxnet.classify("covid_cxnet_base", classes="binary", lungs=False, preset=preset)
    return common.named(c, "covid_cxnet_base", preset)
