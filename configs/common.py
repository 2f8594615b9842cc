"""Tables of values that experiments of several papers have in common.

A table is dotted field -> value; `python main.py --config=EXPERIMENT --help` says what the fields
mean. Presets:
''      embedded phantom images, minutes on two CPU cores
'small' real X-rays at reduced resolution, for two CPU cores (give --config.data.manual_dir)
'paper' the paper's data and hyper-parameters (a GPU or TPU, and --config.data.manual_dir)
"""

from jaxcxr.schema import Table, merged

# CCX and KCX, pooled. KCX numbers are ambiguous: merging patients is safe, splitting them leaks.
CCX_KCX = {
    "data.builders": ("tfds_builders.ccx", "tfds_builders.kcx"),
    "data.patient_key": "strict_patient_id",
}
FOUR_CLASSES = merged(
    CCX_KCX,
    {"data.classes": ("covid19", "viral", "bacterial", "normal")},  # FLANNEL's order
)

# A classifier of whole images: one crop per image, nothing masked.
ONE_CROP = {
    "patches.enabled": False,
    "patches.apply_mask": False,
    "patches.eval_count": 1,
    "patches.valid_count": 1,
}
NO_MASKS = {"masks.source": "none"}
PHANTOM_LUNGS = {"explain.masks.source": "dataset"}  # phantoms bring lung masks
# The published code only divides by 255.
UNIT_RANGE = {"model.mean": (0.0,), "model.std": (1.0,)}
WITHOUT_LUNGS = {"masks.on_empty": "whole_image"}
FOUND_LUNGS = {"explain.masks.source": "ready"}  # of the whole data set: not for :paper
# A few dozen steps from random values, what networks can take before their batch statistics have
# settled.
FEW_STEPS = {"optim.schedule": "cosine", "optim.warmup": 0.1}
# Of patches a step sees little: its weights swing between classes that are alike, their average
# does not, and gains most where the rate stays high.
AVERAGED = {"optim.schedule": "constant", "optim.warmup": 0.1, "optim.average": 0.98}
# FLANNEL's: the rate falls at epoch 150 of 200.
MILESTONES = {
    "optim.schedule": "milestones",
    "optim.milestones": (0.75,),
    "optim.weight_decay": 1e-4,
}


def within(section: str, *tables: Table) -> Table:
    """One table of several, inside a section: `data.x` as `predict.data.x`."""
    return {f"{section}.{field}": value for field, value in merged(*tables).items()}
