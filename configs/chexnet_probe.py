"""CheXNet's findings as they are: does "Pneumonia" rank COVID-19 above normal, without fine-tuning
(paper 4.2, 5.2)?

Paper: Haghanifar et al., "COVID-CXNet: Detecting COVID-19 in Frontal Chest X-ray Images using Deep
Learning" (2020).
Command: python main.py --config=configs/chexnet_probe.py
         python main.py --config=configs/chexnet_probe.py:small --config.data.manual_dir=DATA_DIR
Time: a minute on two CPU cores; CheXNet's weights are needed (fetched once, or a file:
model.pretrained=PATH).
Number to reach: none is published; figure 14 shows two images.
"""

from ml_collections import ConfigDict

from configs import common, common_cxnet


def get_config(preset: str = "") -> ConfigDict:
    c = common_cxnet.probe(preset=preset)
    return common.named(c, "chexnet_probe", preset)
