"""COVID-CXNet's other backbone: ResNet-50 with ImageNet's weights (paper 4.2, 5.2).

--config.model.name=covid_cxnet --config.model.pretrained=densenet121.tv_in1k is its DenseNet-121
with ImageNet's.

Paper: Haghanifar et al., "COVID-CXNet: Detecting COVID-19 in Frontal Chest X-ray Images using Deep
Learning" (2020).
Command: python main.py --config=configs/covid_cxnet_resnet50.py
         python main.py --config=configs/covid_cxnet_resnet50.py:small \
             --config.data.manual_dir=DATA_DIR
Time: 85 seconds (phantoms) on two CPU cores.
Number to reach: none is published; "ResNet-50 has also produced almost the same results" as
ImageNet's DenseNet-121, which it calls bad.
"""

from ml_collections import ConfigDict

from configs import common, common_cxnet


def get_config(preset: str = "") -> ConfigDict:
    c = common_cxnet.classify("covid_cxnet_resnet50", classes="binary", lungs=False, preset=preset)
    return common.named(c, "covid_cxnet_resnet50", preset)
