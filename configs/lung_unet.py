"""COVID-CXNet's lung module: a U-Net of 7,759,521 parameters (paper 3.2, figure 4).

Paper: Haghanifar et al., "COVID-CXNet: Detecting COVID-19 in Frontal Chest X-ray Images using Deep
Learning" (2020).
Command: python main.py --config=configs/lung_unet.py
         python main.py --config=configs/lung_unet.py:small --config.data.manual_dir=DATA_DIR
Time: phantoms 2 min 15 s on two CPU cores, compilation included; :small 25 minutes with other
programs on them.
Number to reach: none is published for this module; 0.93 is the aim of configs/fc_densenet103.py.
"""

from ml_collections import ConfigDict

from configs import common, common_cxnet


def get_config(preset: str = "") -> ConfigDict:
    return common.named(common_cxnet.segment(preset=preset), "lung_unet", preset)
