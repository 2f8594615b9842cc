"""COVID-Net's PEPX design on the whole image: one base learner, fold 0.

--config.study.learners="('densenet161', 'covid_net')" takes it into the ensemble of a FLANNEL
study.

Paper: Wang, Lin and Wong, "COVID-Net: A Tailored Deep Convolutional Neural Network Design ..."
(2020).
Command: python main.py --config=configs/covid_net.py
         python main.py --config=configs/covid_net.py:small --config.data.manual_dir=DATA_DIR
Time: 3 minutes (phantoms) and 5 minutes (:small) on two CPU cores with a training beside it.
Number to reach: its accuracy of three classes on COVIDx is 96.3 % (CXR-2); other data, other
classes.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(preset: str = "") -> ConfigDict:
    return common.named(
        common.classify("covid_net", patched=False, preset=preset), "covid_net", preset
    )
