"""Hierarchical COVID-CXNet: normal against pneumonia, then CAP against COVID-19 (paper 5.3).

Paper: Haghanifar et al., "COVID-CXNet: Detecting COVID-19 in Frontal Chest X-ray Images using Deep
Learning" (2020).
Command: python main.py --config=configs/covid_cxnet_hierarchical.py
         python main.py --config=configs/covid_cxnet_hierarchical.py:small \
             --config.data.manual_dir=DATA_DIR
         python main.py --config=configs/covid_cxnet_hierarchical.py:paper \
             --config.data.manual_dir=DATA_DIR
Time: phantoms 5.5 minutes on two CPU cores within the study.
Number to reach: the paper's accuracy is 87.21 %, F-score of COVID-19 0.92 (:paper).
"""

from ml_collections import ConfigDict

from configs import covid_cxnet_study


def get_config(preset: str = "") -> ConfigDict:
    return covid_cxnet_study.study("covid_cxnet_hierarchical", ("hierarchical",), preset)
