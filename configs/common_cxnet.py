"""Tables of COVID-CXNet's experiments."""

from configs.common import (
    CCX_KCX,
    FEW_STEPS,
    FOUND_LUNGS,
    MILESTONES,
    ONE_CROP,
    PHANTOM_LUNGS,
    WITHOUT_LUNGS,
)
from jaxcxr.schema import merged

# Last comes the class that F-scores are given of. In the presets with X-rays these are the paper's
# Normal, CAP (community-acquired pneumonia) and CP (COVID-19 pneumonia); phantoms keep the names of
# what is drawn. Labels that a study has no use for are excluded.
BINARY_PHANTOM = {
    "data.classes": ("normal", "ground_glass"),
    "data.relabel": ("consolidation=", "interstitial="),
}
BINARY_SMALL = {
    "data.classes": ("normal", "covid19"),
    "data.relabel": ("viral=", "bacterial="),
}
BINARY_PAPER = {
    "data.classes": ("normal", "covid19"),
    "data.relabel": ("viral=", "bacterial=", "pneumonia="),
}
THREE_PHANTOM = {
    "data.classes": ("normal", "consolidation", "ground_glass"),
    "data.relabel": ("interstitial=",),
}
THREE_SMALL = {
    "data.classes": ("normal", "cap", "covid19"),
    "data.relabel": ("viral=cap", "bacterial=cap"),
}
THREE_PAPER = {
    "data.classes": ("normal", "cap", "covid19"),
    "data.relabel": ("viral=cap", "bacterial=cap", "pneumonia=cap"),
}

CXNET = merged(
    ONE_CROP,
    {
        "data.equalise": False,
        "split.folds": 1,  # the paper splits once, and repeats with other seeds
        "split.test_fraction": 0.2,
        "loss.class_weights": "inverse_frequency",
    },
)
# From random values, in minutes: fewer pixels and epochs, and gentle augmentation.
_REDUCED = merged(
    FEW_STEPS,
    {
        "augment.max_rotation": 10.0,
        "augment.zoom": (0.9, 1.1),
        "augment.shift": 0.05,
        "split.valid_fraction": 0.15,
    },
)
CXNET_PHANTOM = merged(_REDUCED, PHANTOM_LUNGS, {"data.options.phantom_cxr.patients": 160})
CXNET_SMALL = merged(
    _REDUCED,
    CCX_KCX,
    WITHOUT_LUNGS,
    FOUND_LUNGS,
    {
        "optim.weight_decay": 1e-4,
        "patches.max_rotation": 5.0,
    },
)
CXNET_PAPER = merged(
    MILESTONES,
    WITHOUT_LUNGS,
    {
        "data.builders": ("tfds_builders.covid_cxnet", "tfds_builders.nih_cxr14"),
        "data.patient_key": "strict_patient_id",
        # About what 4,600 images of CAP need; the paper does not name its findings.
        "data.options.nih_cxr14.cap": "consolidation",
        "augment.vflip": True,
        "split.valid_fraction": 0.1,
        "train.eval_every": 1.0,
    },
)
