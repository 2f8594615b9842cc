"""COVID-CXNet, version 2: sees the box around the lungs only (paper 5.3).

Paper: Haghanifar et al., "COVID-CXNet: Detecting COVID-19 in Frontal Chest X-ray Images using Deep
Learning" (2020).
Command: python main.py --config=configs/covid_cxnet_lungs.py
         python main.py --config=configs/covid_cxnet_lungs.py:small \
             --config.data.manual_dir=DATA_DIR \
             --config.masks.workdir=RUN_OF_lung_unet
Time: phantoms 1.6 minutes on two CPU cores where version 1 has compiled its program.
Number to reach: the paper's accuracy is 98.62 %, F-score 0.94 (:paper).
"""

from ml_collections import ConfigDict

from configs import common, common_cxnet


def get_config(preset: str = "") -> ConfigDict:
    c = common_cxnet.classify("covid_cxnet", classes="binary", lungs=True, preset=preset)
    return common.named(c, "covid_cxnet_lungs", preset)
