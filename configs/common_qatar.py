"""Common parts of the experiments on the COVID-19 Radiography Database.

See configs/common.py for fields and presets.
"""

from ml_collections import ConfigDict

from configs import common, common_study

# The paper's order: Normal = 0, COVID-19 = 1, Viral Pneumonia = 2. Phantoms keep the names of what
# is drawn.
CLASSES = {
    "": ("normal", "ground_glass", "interstitial"),
    "small": ("normal", "covid19", "viral"),
    "paper": ("normal", "covid19", "viral"),
}


def classify(model: str, *, preset: str) -> ConfigDict:
    """A classifier of whole images: qatar_cnn or qatar_vgg16."""
    c = common.classify(model, patched=False, preset=preset)
    c.data.classes = CLASSES[preset]
    c.data.patient_key = "patient_id"
    c.data.equalise = False
    if preset == "":
        c.data.relabel = ("consolidation=",)
        c.data.options.phantom_cxr.patients = 200
    else:
        c.data.builders = ("tfds_builders.qatar_radiography",)
    c.split.folds = 1  # the paper splits once
    c.model.pretrained = ""
    c.model.mean, c.model.std = (0.0,), (1.0,)  # only divided by 255
    c.patches.size = 0  # the whole image
    c.patches.flip = False
    c.optim.name = "adam"
    c.optim.learning_rate = 1e-3  # Keras's default; the paper names none
    c.optim.weight_decay = 0.0
    c.optim.schedule = "constant"
    c.optim.warmup = 0.0
    c.optim.milestones = ()
    c.train.eval_every = 1.0
    return c


def cnn(*, augmented: bool, preset: str) -> ConfigDict:
    """The paper's own network (3.3.1), with or without augmented images (3.3.2)."""
    c = classify("qatar_cnn", preset=preset)
    c.data.image_size = 100
    c.split.test_fraction = 0.2  # 70 % : 10 % : 20 %
    c.split.valid_fraction = 0.125
    # "Regularizers are added to the convolutional layers": Keras's l2(0.001), which the paper does
    # not give.
    c.optim.weight_decay = 2e-3
    c.optim.decay_on = ("^conv2d.*/kernel$",)
    c.train.batch_size = 64
    c.train.epochs = 50.0
    c.train.patience = 3  # "does not decrease in 3 consecutive epochs"
    c.train.monitor = "loss"
    if augmented:
        _augment(c)
    return c


def vgg16(*, preset: str) -> ConfigDict:
    """VGG-16 with a new head (3.3.3)."""
    c = classify("qatar_vgg16", preset=preset)
    c.split.test_fraction = 0.125  # 75 % : 12.5 % : 12.5 %, stratified
    c.split.valid_fraction = 1 / 7
    c.train.epochs = 10.0
    c.train.batch_size = 32  # Keras's default
    _augment(c)
    if preset == "paper":
        c.data.image_size = 224
        c.model.pretrained = "vgg16.keras_notop"
        c.optim.freeze = ("^features/",)
    else:
        # From random values there is nothing to freeze; what they can take: see common.classify.
        c.data.image_size = 64
        c.optim.name = "sgd"
        c.optim.learning_rate = 5e-3
        c.optim.clip_norm = 1.0
        c.train.epochs = 30.0
        c.train.eval_every = 5.0
    return c


def _augment(c: ConfigDict) -> None:
    """ImageDataGenerator's ranges; usual ones, since the paper gives no numbers."""
    c.patches.flip = True
    c.augment.max_rotation = 10.0
    c.augment.zoom = (0.9, 1.1)
    c.augment.shift = 0.1


def study(*, preset: str) -> ConfigDict:
    """The paper's question: does augmentation cut the errors of the smallest class?"""
    common.check_preset(preset)
    c = common_study.classifiers()
    c.repeats = 3
    c.study.models = ("cnn", "cnn_augmented")
    c.study.pairs = ("cnn_augmented:cnn",)
    c.models.cnn = cnn(augmented=False, preset=preset)
    c.models.cnn_augmented = cnn(augmented=True, preset=preset)
    return c
