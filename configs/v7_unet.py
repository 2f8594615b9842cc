"""A U-Net of 31 million parameters finds the lungs on V7 Darwin's data set (section 4): RGB in, one
sigmoid out.

It is zhixuhao/unet without its ReLU of two channels before the last convolution: 31,031,745
parameters from three channels, 31,030,593 from one. --config.model.narrow=2 is the published form,
31,032,837 and 31,031,685. What V7's annotators marked Ignore counts for nothing. The paper's 4170 +
307 training images are 70 %, as here; its other trial is
--config.split.train_limit="('other=500',)". It reports COVID-19 only, which has a line in the table
of each class.

Paper: Zhang, "COVID-19 Chest X-ray Images: Lung Segmentation and Diagnosis using Neural Networks".
Command: python main.py --config=configs/v7_unet.py
         python main.py --config=configs/v7_unet.py:small --config.data.manual_dir=DATA_DIR
Time: 81 minutes for :small on two CPU cores, most of them at the lowest priority beside another
      training (docs/RESULTS.md), and 3 minutes for the phantoms, tests beside them.
Number to reach: the paper's Jaccard index (IoU) is 0.8666, its Dice 0.9273 at a threshold of 0.2,
its accuracy 0.9575 (:paper); :small reaches 0.9528 on held-out patients.
"""

from ml_collections import ConfigDict

from configs import common, common_v7


def get_config(preset: str = "") -> ConfigDict:
    return common.named(common_v7.segment(preset=preset), "v7_unet", preset)
