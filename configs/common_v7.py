"""Common parts of the experiments on V7 Darwin's data set.

See configs/common.py for fields and presets.
"""

from ml_collections import ConfigDict

from configs import common, common_study

WHOLE = (0, 0, 0, 0)
PUBLISHED = (10, 10, 0, 10)  # against letters (paper 5.2)
WIDE = (20, 20, 0, 0)  # its other trial (paper 5.4)


def covid19_or_not(d: ConfigDict, preset: str) -> None:
    """The paper's two classes of images in a data section; that of the ROC comes last."""
    if preset == "":
        d.classes = ("other", "ground_glass")
        d.relabel = ("normal=other", "consolidation=other", "interstitial=other")
        return
    d.builders = ("tfds_builders.v7_darwin",)
    d.classes = ("other", "covid19")
    d.relabel = ("normal=other", "viral=other", "bacterial=other", "pneumonia=other")
    d.patient_key = "strict_patient_id"


def diagnosis(
    *, preset: str, cut: tuple[int, int, int, int] = PUBLISHED, masked: bool = False
) -> ConfigDict:
    """COVID-19 or not, from the whole image (paper 5).

    Args:
        cut: pixels off the top, left, bottom and right of an image of 256.
        masked: everything but the lungs is black (the paper's future work).
        preset: see configs/common.py.
    """
    c = common.classify("v7_diagnosis", patched=False, preset=preset)
    covid19_or_not(c.data, preset)
    c.data.equalise = False
    c.data.options.phantom_cxr.patients = 400  # with 200 the masked ones are too few to learn from
    c.data.image_size = {"": 128, "small": 256, "paper": 256}[preset]
    c.data.cut = tuple(round(pixels * c.data.image_size / 256) for pixels in cut)
    if masked:
        c.data.lungs = "pixels"
        c.masks.source = "dataset"
        c.masks.on_empty = "error"
    c.split.folds = 1
    c.split.test_fraction = 0.3  # the paper's 30 %; its validation is what it reports
    c.split.valid_fraction = 0.15  # of the rest, for early stopping
    c.model.pretrained = ""
    c.model.outputs = "sigmoid"
    c.model.mean, c.model.std = (0.0,), (1.0,)
    c.patches.size = 0
    c.patches.flip = False
    c.optim.learning_rate = 1e-3
    c.optim.weight_decay = 0.0
    c.optim.schedule = "constant"
    c.optim.warmup = 0.0
    c.optim.milestones = ()
    c.loss.class_weights = "none"
    c.train.batch_size = 32
    c.train.epochs = 15.0
    c.train.eval_every = 1.0
    c.train.patience = 1 if preset == "paper" else 3  # in epochs, "over the patience of 1 epoch"
    c.train.monitor = "loss"
    return c


def segment(*, preset: str) -> ConfigDict:
    """The U-Net that finds the lungs (paper 4)."""
    c = common.segment(preset=preset)
    c.model.name = "unet"
    c.model.in_channels = 3
    c.model.outputs = "sigmoid"
    c.loss.name = "binary_cross_entropy"
    c.loss.background_weight = 1.0
    c.masks.structures = ("lung",)
    c.masks.resize = "linear"
    covid19_or_not(c.data, preset)
    c.data.equalise = False
    c.data.gamma = 1.0
    # 70 % train as published, 10 % choose checkpoint and threshold, 20 % are reported.
    c.split.valid_fraction = 0.125
    c.optim.learning_rate = 1e-3  # Keras's
    c.optim.weight_decay = 0.0
    c.optim.plateau_patience = 0
    c.train.eval_every = 3.0
    c.train.patience = 0
    if preset == "":
        c.model.width = 0.25
        c.train.epochs = 12.0
        return c
    c.masks.ignore = "ignore"
    c.masks.on_empty = "drop"  # as published: images without lungs are left out
    c.train.epochs = 15.0
    if preset == "small":
        c.model.width = 0.25
        c.data.image_size = 128
        c.train.batch_size = 8
        c.augment.max_rotation = 5.0
        c.augment.zoom = (0.9, 1.1)
        c.augment.shift = 0.05
        c.augment.brightness = (0.8, 1.2)
        c.train.epochs = 30.0
    else:
        c.data.image_size = 256
        c.train.batch_size = 32  # Keras's default; the paper names none
        c.predict.threshold = 0.2
    c.predict.data = c.data.copy_and_resolve_references()
    return c


def study(*, preset: str) -> ConfigDict:
    """The effect of borders and background on the diagnosis: each cut against the next one."""
    common.check_preset(preset)
    c = common_study.classifiers()
    c.repeats = 3
    c.study.models = ("whole", "cut", "cut_wide", "masked")
    c.study.pairs = ("cut:whole", "cut_wide:cut", "masked:cut")
    c.models.whole = diagnosis(cut=WHOLE, preset=preset)
    c.models.cut = diagnosis(preset=preset)
    c.models.cut_wide = diagnosis(cut=WIDE, preset=preset)
    c.models.masked = diagnosis(masked=True, preset=preset)
    return c
