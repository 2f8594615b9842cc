"""Whole systems as chains of runs; see configs/common.py for the fields of each run and for the
presets.
"""

from ml_collections import ConfigDict

from configs import common

LEARNERS = ("densenet161", "inception_v3", "resnet152", "resnext101_32x8d", "vgg19_bn")
COMPARATORS = ("efficientnet_b4", "covid_net")  # named in study.learners they run, too


def flannel(*, patched: bool, preset: str) -> ConfigDict:
    """Segment -> masks -> learners x folds -> ensemble -> report, with a config for each stage."""
    common.check_preset(preset)
    c = _study("flannel")
    c.study.learners = LEARNERS  # those that run, in the order in which the ensemble sees them
    c.study.folds = {"": 2, "small": 3, "paper": 5}[preset]
    if patched:
        c.segment = common.segment(preset=preset)
    names = (*LEARNERS, *COMPARATORS)
    c.learners = ConfigDict(
        {name: common.classify(name, patched=patched, preset=preset) for name in names}
    )
    # Half an hour for ten networks, two hours for fifteen: less than each gets that is trained
    # alone. On phantoms half the depth and width let all five learn something, where 30 steps of
    # the whole networks do not.
    if preset == "":
        for learner in c.learners.values():
            learner.model.width = learner.model.depth = 0.5
            learner.train.epochs = learner.train.eval_every = 12.0
    elif preset == "small" and patched:
        c.segment.train.epochs = 12.0
    c.ensemble = common.ensemble(preset=preset)
    return c


def classifiers() -> ConfigDict:
    """Several classifiers of whole images, trained independently, in one table.

    `models` is empty; callers add them.
    """
    c = _study("classifiers")
    c.repeats = 1  # seeds of each model
    c.study.models = ()  # those of `models` that run
    # "a:b": these two are compared on the same test images, with the first repeat of each
    c.study.pairs = ()
    c.study.lungs = False  # train the segmenter `segment` and take the masks from it
    # Fractions of the training patients, for a curve (COVID-CXNet, figure 9).
    c.study.training_sizes = ()
    c.study.training_sizes_of = ""  # the model that the curve is of
    c.models = ConfigDict()
    return c


def _study(system: str) -> ConfigDict:
    """The fields of all studies."""
    c = ConfigDict()
    c.name = ""
    c.task = "study"
    c.run = "study"
    c.seed = 0
    c.study = ConfigDict()
    c.study.system = system  # flannel | classifiers: which stages there are
    # These three sections hold for every stage.
    c.data = ConfigDict(dict(manual_dir="", data_dir="", max_dropped=0.2, max_bad_images=0))
    c.masks = ConfigDict(dict(on_implausible="error"))
    c.parallel = common.base("study").parallel.copy_and_resolve_references()
    return c
