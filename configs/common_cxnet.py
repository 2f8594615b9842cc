"""Common parts of COVID-CXNet's experiments; see configs/common.py for fields and presets."""

from ml_collections import ConfigDict

from configs import common, common_study

# Last comes the class that F-scores are given of. In the presets with X-rays these are the paper's
# Normal, CAP (community-acquired pneumonia) and CP (COVID-19 pneumonia); phantoms keep the names of
# what is drawn.
BINARY = {
    "": ("normal", "ground_glass"),
    "small": ("normal", "covid19"),
    "paper": ("normal", "covid19"),
}
THREE = {
    "": ("normal", "consolidation", "ground_glass"),
    "small": ("normal", "cap", "covid19"),
    "paper": ("normal", "cap", "covid19"),
}
_LEFT_OUT = {  # labels of the builders that a binary study has no use for
    "": ("consolidation", "interstitial"),
    "small": ("viral", "bacterial"),
    "paper": ("viral", "bacterial", "pneumonia"),
}


def classify(model: str, *, classes: str, lungs: bool, preset: str) -> ConfigDict:
    """A model of the paper.

    Args:
        model: covid_cxnet_base, covid_cxnet or covid_cxnet_resnet50.
        classes: "binary" or "three".
        lungs: crop to the box around the lungs (paper 3.2, version 2).
        preset: see configs/common.py.
    """
    c = common.classify(model, patched=False, preset=preset)
    binary = classes == "binary"
    _data(c.data, BINARY if binary else THREE, preset)
    if binary:
        c.data.relabel = tuple(f"{label}=" for label in _LEFT_OUT[preset])
    c.data.equalise = False
    # Of the published main.py, and of its notebooks.
    base = model == "covid_cxnet_base"
    c.data.enhance = ("original", "beasf", "clahe") if base else ("beasf", "clahe", "original")
    c.data.resize = "opencv_cubic"
    c.data.match = "none" if binary else "first"
    c.split.folds = 1  # the paper splits once, and repeats with other seeds
    c.split.test_fraction = 0.2
    c.split.valid_fraction = 0.15
    c.model.outputs = "sigmoid" if binary else "softmax"
    c.model.mean, c.model.std = (0.0,), (1.0,)  # the published code only divides by 255
    c.loss.class_weights = "inverse_frequency"
    c.loss.label_smoothing = 0.0 if model == "covid_cxnet_base" else 0.1
    if lungs:
        c.data.lungs = "box"
        c.masks.source = "dataset" if preset == "" else "workdir"
        c.masks.on_empty = "error" if preset == "" else "whole_image"
    if preset == "paper":
        _paper(c, model, binary=binary, lungs=lungs)
    else:
        _reduced(c, model, preset)
    c.patches.size = c.data.image_size  # no crops
    return c


def _data(d: ConfigDict, classes: dict[str, tuple[str, ...]], preset: str) -> None:
    d.classes = classes[preset]
    if preset == "":
        d.relabel = ("interstitial=",)
        d.options.phantom_cxr.patients = 160
        return
    d.relabel = ("viral=cap", "bacterial=cap")
    d.builders = ("tfds_builders.ccx", "tfds_builders.kcx")
    d.patient_key = "strict_patient_id"
    if preset == "paper":
        d.builders = ("tfds_builders.covid_cxnet", "tfds_builders.nih_cxr14")
        d.relabel += ("pneumonia=cap",)
        # About what 4,600 images of CAP need; the paper does not name its findings.
        d.options.nih_cxr14.cap = "consolidation"


def _reduced(c: ConfigDict, model: str, preset: str) -> None:
    """From random values, in minutes: fewer pixels and epochs, and gentle augmentation."""
    c.data.image_size = 128 if model == "covid_cxnet_base" else 64 if preset == "" else 96
    c.augment.max_rotation = 10.0
    c.augment.zoom = (0.9, 1.1)
    c.augment.shift = 0.05
    c.train.batch_size = 16
    c.optim.schedule = "cosine"
    c.optim.warmup = 0.1
    c.optim.learning_rate = 1e-3
    c.train.epochs = {"": 12.0, "small": 8.0}[preset] * (3 if model == "covid_cxnet_base" else 1)
    c.train.eval_every = c.train.epochs / 4


def _paper(c: ConfigDict, model: str, *, binary: bool, lungs: bool) -> None:
    c.data.image_size = 320
    c.patches.flip = True
    c.augment.vflip = True
    c.split.valid_fraction = 0.1
    c.train.eval_every = 1.0
    if model == "covid_cxnet_base":
        c.model.pretrained = ""
        c.augment.max_rotation = 90.0
        c.train.batch_size = 32
        c.train.epochs = 120.0
        c.train.patience = 10
        c.optim.learning_rate = 1e-4  # the steepest point of the range test (paper 5.1)
        return
    if model == "covid_cxnet_resnet50":
        c.model.pretrained = "resnet50.tv_in1k"
        c.model.mean = c.model.std = ()  # of the weights
    else:
        c.model.pretrained = "densenet121.chexnet"
    c.train.batch_size = 16
    c.train.epochs = 10.0 if binary else 30.0
    c.optim.learning_rate = 1e-3 if binary else 2e-4
    c.augment.max_rotation = 170.0  # published code
    if lungs:  # "expanded by adding zoom-in, zoom-out, and brightness adjustment" (paper 5.3)
        c.augment.zoom = (0.8, 1.5)
        c.augment.brightness = (0.5, 1.3)
        c.augment.shift = 0.2 if binary else 0.1


def levels(*, preset: str) -> ConfigDict:
    """The hierarchical model (paper 5.3): normal against pneumonia, then the two pneumonias."""
    normal, cap, covid19 = THREE[preset]
    first = classify("covid_cxnet", classes="three", lungs=True, preset=preset)
    first.model.outputs = "sigmoid"
    first.optim.learning_rate = 1e-4 if preset == "paper" else first.optim.learning_rate
    second = first.copy_and_resolve_references()
    first.data.targets = (f"{normal}={normal}", f"{cap}=pneumonia", f"{covid19}=pneumonia")
    second.data.targets = (f"{normal}=", f"{cap}={cap}", f"{covid19}={covid19}")
    if preset == "paper":
        first.train.epochs, second.train.epochs = 10.0, 20.0  # Table 6
    return ConfigDict({"level1": first, "level2": second})


def segment(*, preset: str) -> ConfigDict:
    """The lung module's U-Net on Montgomery and Shenzhen (paper 3.2)."""
    c = common.segment(preset=preset)
    c.model.name = "unet_cxnet"
    c.model.outputs = "sigmoid"
    c.loss.background_weight = 1.0
    c.masks.structures = ("lung",)
    c.data.equalise = False
    c.data.gamma = 1.0
    c.data.enhance = ("local",)
    if preset == "":
        c.data.image_size = 64
        c.train.epochs = 12.0
        c.train.eval_every = 4.0
        return c
    c.data.builders = ("tfds_builders.montgomery_shenzhen",)
    if preset == "small":
        c.data.image_size = 128
    else:
        c.data.image_size = 320
        c.data.resize = "opencv_cubic"
    return c


def probe(*, preset: str) -> ConfigDict:
    """CheXNet without fine-tuning, on the images of the binary study (paper 4.2)."""
    c = classify("covid_cxnet", classes="binary", lungs=False, preset=preset)
    c.run = "probe"
    c.model.name = "densenet121"
    c.model.pretrained = "densenet121.chexnet"
    c.model.head = "pretrained"
    c.model.mean = c.model.std = ()  # of the weights
    c.model.outputs = "softmax"
    c.data.image_size = c.patches.size = 224
    c.data.enhance = ()
    c.data.resize = "bilinear"
    return c


MODELS = ("base", "cxnet_v1", "cxnet_v2", "multiclass", "hierarchical")


def study(*, models: tuple[str, ...], preset: str) -> ConfigDict:
    """The paper's models, repeated (Table 6), and the base model on growing training sets."""
    common.check_preset(preset)
    c = common_study.classifiers()
    c.repeats = 10 if preset == "paper" else 1  # the paper's ranges are over ten
    c.study.models = models
    c.study.lungs = preset != ""  # phantoms bring their own
    # Fractions of the training patients (figure 9).
    c.study.training_sizes = (0.25, 0.5) if "base" in models else ()
    c.study.training_sizes_of = "base"
    if preset == "paper":
        c.study.training_sizes = (0.125, 0.25, 0.5) if "base" in models else ()
    c.segment = segment(preset=preset)
    c.models.base = classify("covid_cxnet_base", classes="binary", lungs=False, preset=preset)
    c.models.cxnet_v1 = classify("covid_cxnet", classes="binary", lungs=False, preset=preset)
    c.models.cxnet_v2 = classify("covid_cxnet", classes="binary", lungs=True, preset=preset)
    c.models.multiclass = classify("covid_cxnet", classes="three", lungs=True, preset=preset)
    c.models.hierarchical = levels(preset=preset)
    return c
