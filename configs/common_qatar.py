"""Tables of the experiments on the COVID-19 Radiography Database."""

from configs.common import (
    FOUND_LUNGS,
    NO_MASKS,
    ONE_CROP,
    PHANTOM_LUNGS,
    UNIT_RANGE,
    WITHOUT_LUNGS,
)
from jaxcxr.schema import merged

QATAR = merged(
    ONE_CROP,
    NO_MASKS,
    UNIT_RANGE,
    {
        "data.equalise": False,
        "split.folds": 1,  # the paper splits once
        "patches.size": 0,  # the whole image
    },
)
# The paper's order: Normal = 0, COVID-19 = 1, Viral Pneumonia = 2. Phantoms keep the names of what
# is drawn.
QATAR_PHANTOM = merged(
    PHANTOM_LUNGS,
    {
        "data.classes": ("normal", "ground_glass", "interstitial"),
        "data.relabel": ("consolidation=",),
        "data.options.phantom_cxr.patients": 200,
    },
)
QATAR_PAPER = merged(
    WITHOUT_LUNGS,
    {
        "data.builders": ("tfds_builders.qatar_radiography",),
        "data.classes": ("normal", "covid19", "viral"),
    },
)
QATAR_SMALL = merged(QATAR_PAPER, FOUND_LUNGS, {"patches.max_rotation": 5.0})

# ImageDataGenerator's ranges; usual ones, since the paper gives no numbers.
AUGMENTED = {
    "patches.flip": True,
    "augment.max_rotation": 10.0,
    "augment.zoom": (0.9, 1.1),
    "augment.shift": 0.1,
}
