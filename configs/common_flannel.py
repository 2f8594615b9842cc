"""Common parts of FLANNEL's and Patched FLANNEL's experiments: tables, ensemble, study."""

from collections.abc import Mapping

from ml_collections import ConfigDict

from configs.common import (
    AVERAGED,
    FEW_STEPS,
    FOUND_LUNGS,
    FOUR_CLASSES,
    MILESTONES,
    NO_MASKS,
    ONE_CROP,
    PHANTOM_LUNGS,
    WITHOUT_LUNGS,
)
from jaxcxr import schema
from jaxcxr.schema import Experiment, Table, merged

_PHANTOM = merged(PHANTOM_LUNGS, FEW_STEPS, {"split.folds": 3})
# Sized for two CPU cores: five learners x three folds.
_SMALL = merged(
    FOUR_CLASSES,
    WITHOUT_LUNGS,
    FOUND_LUNGS,
    {"split.folds": 3, "optim.weight_decay": 1e-4, "patches.max_rotation": 5.0},
)
_PAPER = merged(FOUR_CLASSES, WITHOUT_LUNGS)

# FLANNEL: the whole image.
WHOLE_IMAGE = merged(ONE_CROP, NO_MASKS)
WHOLE_IMAGE_PHANTOM = _PHANTOM
WHOLE_IMAGE_SMALL = merged(_SMALL, FEW_STEPS)
# 336 px, random 224 crops (299 for Inception) and flips, grey scaled to (x - 0.5) / 0.5, as
# published, though the weights were trained with ImageNet's mean and deviation.
WHOLE_IMAGE_PAPER = merged(
    _PAPER,
    MILESTONES,
    {
        "data.equalise": False,
        "data.resize": "bicubic",
        "model.mean": (0.5,),
        "model.std": (0.5,),
    },
)

# Patched FLANNEL: lung patches (paper 2.2). In reduced presets a patch is a quarter of the side.
PATCHES = {"patches.enabled": True}
PATCHES_PHANTOM = _PHANTOM
PATCHES_SMALL = merged(_SMALL, FEW_STEPS, {"masks.source": "ready"})
PATCHES_LITE_SMALL = merged(_SMALL, AVERAGED, {"masks.source": "ready"})  # pretrained networks
PATCHES_PAPER = merged(
    _PAPER,
    {
        "masks.source": "ready",  # in the study FC-DenseNet103's, the paper's
        # The segmenter's equalised image, whose grey levels the learners see from 0 to 255.
        "data.gamma": 0.5,
        "model.mean": (0.0,),
        "model.std": (1 / 255,),
        "patches.aggregate": "vote_fraction",  # the paper's text; its code: mean_sigmoid
        "patches.max_rotation": 5.0,
        "optim.weight_decay": 0.1,
        "optim.l1": 1e-5,
    },
)

# The focal-loss ensemble of base learners (paper 2.3).
ENSEMBLE = Experiment(
    "ensemble",
    [{"model.name": "neural_weight_module", "train.batch_size": 20}],
    presets={
        "": [
            {"train.epochs": 200.0, "train.eval_every": 10.0, "optim.learning_rate": 1e-2},
        ],
        "small": [
            {"train.epochs": 200.0, "train.eval_every": 10.0, "optim.learning_rate": 1e-2},
        ],
        "paper": [
            {
                "train.epochs": 40.0,
                "train.eval_every": 1.0,
                "loss.reduction": "sum",
                "optim.learning_rate": 1e-5,
                "optim.weight_decay": 1e-4,
            }
        ],
    },
)

# Further ensembles of the same learners: what the focal loss does, and stacking as published, which
# takes the learners' predictions for their own training images.
ENSEMBLES = (
    "loss.gamma=0",
    "loss.gamma=2",
    "loss.alpha=equal",
    "loss.gamma=0, loss.alpha=equal",
)
# Few, well-trained learners: cross-entropy is no worse out of fold than the published loss, which
# is the first of the further ensembles (docs/results/flannel.md).
CROSS_ENTROPY = {"loss.gamma": 0.0, "loss.alpha": "equal"}
PUBLISHED_LOSS = "loss.gamma=10, loss.alpha=inverse_frequency"
FOCAL_ENSEMBLES = (
    PUBLISHED_LOSS,
    "loss.gamma=10",
    "loss.gamma=2, loss.alpha=inverse_frequency",
    "loss.alpha=inverse_frequency",
)
PUBLISHED_STACKING = "inputs.stacking=in_sample"
_ALL_SPLITS = {"predict.splits": ("train", "valid", "oof", "test")}
# Further learners of a study, which run where study.learners names them: model -> the weights that
# the paper preset starts from.
COMPARATORS = {"efficientnet_b4": "efficientnet_b4.torchvision", "covid_net": ""}
FOLDS = {"": 2, "small": 3, "paper": 5}
# Phantoms bring masks of lungs and heart. FC-DenseNet103 finds both, but its training on two cores
# (:small) has lungs alone.
BIOMARKERS = {"": "dataset", "small": "ready", "paper": "ready"}
# Half an hour for ten networks, two hours for fifteen: less than each gets that is trained alone.
# On phantoms half the depth and width let all five learn something, where 30 steps of the whole
# networks do not.
SHORTER = {
    "": {
        "model.width": 0.5,
        "model.depth": 0.5,
        "train.epochs": 12.0,
        "train.eval_every": 12.0,
    }
}


def study(
    name: str,
    preset: str,
    learners: Mapping[str, Experiment],
    *,
    comparator: Experiment | None = None,
    changed: Table | None = None,
    lungs: bool = False,
    in_sample: bool = False,
    loss: Table | None = None,
    **stages: ConfigDict,
) -> ConfigDict:
    """Segment -> masks -> learners x folds -> ensemble -> report, with a config for each stage.

    Args:
        name: of the run folder.
        preset: see configs/common.py.
        learners: those that run, in the order in which the ensemble sees them.
        comparator: what the further learners are trained like; None: there are none.
        changed: values that take the place of the learners' own; None: those of `SHORTER`.
        lungs: the learners look at the lungs of the study's own segmenter, not at those of their
            own `masks.source`.
        in_sample: the learners predict their own training images, too, for stacking as published.
        loss: of the ensemble in the real presets; None: the published one.
        **stages: `segment`, where there is one.
    """
    schema.check_preset(preset)
    biomarkers = "segment" if preset == "paper" and "segment" in stages else BIOMARKERS[preset]
    shared = SHORTER.get(preset, {}) if changed is None else changed
    if lungs:
        shared = {**shared, "masks.source": "workdir"}
    ensembles = FOCAL_ENSEMBLES if loss else ENSEMBLES
    if not preset:  # the phantoms' studies should take minutes
        ensembles, loss = (), None
    if preset and in_sample:
        published = f"{PUBLISHED_LOSS}, {PUBLISHED_STACKING}" if loss else PUBLISHED_STACKING
        ensembles, shared = (*ensembles, published), {**shared, **_ALL_SPLITS}
    configs = {
        model: experiment.config(preset, changed=shared) for model, experiment in learners.items()
    }
    for model, weights in COMPARATORS.items() if comparator else ():
        own = {"model.name": model, "model.pretrained": weights if preset == "paper" else ""}
        configs[model] = comparator.config(preset, changed={**own, **shared})
    return schema.config(
        "flannel",
        {
            "name": schema.run_name(name, preset),
            "study.learners": tuple(learners),
            "study.folds": FOLDS[preset],
            "study.ensembles": ensembles,
            "study.biomarkers": biomarkers if learners else "none",
        },
        learners=configs,
        ensemble=ENSEMBLE.config(preset, changed=loss or {}),
        **stages,
    )
