"""COVID-CXNet, everything in its Table 6: base model, versions 1 and 2, flat and hierarchical.

Paper: Haghanifar et al., "COVID-CXNet: Detecting COVID-19 in Frontal Chest X-ray Images using Deep
Learning" (2020).
Command: python main.py --config=configs/covid_cxnet_study.py
         python main.py --config=configs/covid_cxnet_study.py:small \
             --config.data.manual_dir=DATA_DIR
         python main.py --config=configs/covid_cxnet_study.py:paper \
             --config.data.manual_dir=DATA_DIR
Time: phantoms 16 minutes, :small 96 minutes with other programs, on two CPU cores
(docs/RESULTS.md).
Number to reach: accuracies of 98.68, 99.04, 98.62, 81.04 and 87.21 % (Table 6, :paper;
docs/RESULTS.md says what is comparable).
"""

from ml_collections import ConfigDict

from configs import common, common_cxnet


def get_config(preset: str = "") -> ConfigDict:
    return common.named(
        common_cxnet.study(models=common_cxnet.MODELS, preset=preset), "covid_cxnet_study", preset
    )
