"""Flat multiclass COVID-CXNet: normal, CAP and COVID-19 by one softmax (paper 5.3).

Paper: Haghanifar et al., "COVID-CXNet: Detecting COVID-19 in Frontal Chest X-ray Images using Deep
Learning" (2020).
Command: python main.py --config=configs/covid_cxnet_multiclass.py
         python main.py --config=configs/covid_cxnet_multiclass.py:small \
             --config.data.manual_dir=DATA_DIR \
             --config.masks.workdir=RUN_OF_lung_unet
Time: phantoms 3.5 minutes on two CPU cores, compilation included.
Number to reach: the paper's accuracy is 81.04 %, F-score of COVID-19 0.85 (:paper).
"""

from ml_collections import ConfigDict

from configs import common, common_cxnet


def get_config(preset: str = "") -> ConfigDict:
    c = common_cxnet.classify("covid_cxnet", classes="three", lungs=True, preset=preset)
    return common.named(c, "covid_cxnet_multiclass", preset)
