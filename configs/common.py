"""Every field of every experiment, once, with its meaning; the experiment files choose values.

There are no hidden defaults: what a run uses stands in its config, and unknown fields fail.
Presets:
''      embedded phantom images, minutes on two CPU cores
'small' real X-rays at reduced resolution, for two CPU cores (give --config.data.manual_dir)
'paper' the paper's data and hyper-parameters (a GPU or TPU, and --config.data.manual_dir)
"""

from ml_collections import ConfigDict

from configs.common_data import data_section, real_classes

PRESETS = ("", "small", "paper")


def check_preset(preset: str) -> None:
    if preset not in PRESETS:
        known = ", ".join(repr(name) for name in PRESETS)
        raise ValueError(f"unknown preset {preset!r} after the colon of --config; known: {known}")


def named(c: ConfigDict, name: str, preset: str) -> ConfigDict:
    """Sets the name of the run folder."""
    c.name = f"{name}-{preset}" if preset else name
    return c


def base(task: str) -> ConfigDict:
    """The fields of all tasks."""
    c = ConfigDict()
    c.name = ""  # of the run folder below runs/
    c.task = task  # segment | classify | ensemble | study
    # train | evaluate | predict | explain | compare | export | lr_find | probe | enhance | study
    c.run = "train"
    c.seed = 0  # of initialisation, batches, patches and dropout
    # Training runs with the seeds seed, seed + 1, ... on the same split; above 1 with intervals.
    c.repeats = 1

    c.data = data_section()

    c.split = ConfigDict()
    c.split.seed = 20200622  # of the folds; not `seed`, so that repeats have the same folds
    c.split.folds = 5  # blocks of patients for cross-validation
    c.split.fold = 0  # the block held out of this run
    c.split.test_fraction = 0.2  # patients of the fixed test set (paper 2.1: 4:1)
    c.split.valid_fraction = 0.15  # of a fold's training patients, for early stopping only
    # Fraction of a fold's training patients; smaller fractions are subsets of larger ones.
    c.split.train_fraction = 1.0
    # patient | image (as published: leaks patients between the splits)
    c.split.group_by = "patient"

    c.masks = ConfigDict()
    c.masks.source = "dataset"  # dataset | workdir | none
    c.masks.workdir = ""  # a finished segment run, for source = workdir
    # structures of the data set's own masks; ids 1, 2, ... in this order
    c.masks.structures = ("lung",)
    c.masks.on_empty = "error"  # error | drop | whole_image: an image whose lung mask is empty
    # error | warn: masks of the data set that are inverted, empty or full
    c.masks.on_implausible = "error"

    c.model = ConfigDict()
    c.model.name = ""  # a row of jaxcxr.models.MODELS
    c.model.width = 1.0  # factor on channel counts; 1.0 is the published network
    c.model.depth = 1.0  # factor on layers per block; 1.0 is the published network
    c.model.in_channels = 3  # grey is repeated to 3 for networks made for ImageNet
    c.model.input_size = 0  # patches are resized to this side before the network; 0 leaves them
    c.model.outputs = "softmax"  # softmax | sigmoid (two classes from one logit, as COVID-CXNet)
    # '' random values | a name of `python -m jaxcxr.weights list` | a file (.safetensors, .npz,
    # .pth, .h5)
    c.model.pretrained = ""
    # new | pretrained: the last layer of the weights is kept, its classes must be data.classes
    c.model.head = "new"
    # Of pixels in [0, 1], per channel or one for all; () = of the weights, else 0.5 (FLANNEL).
    c.model.mean = ()
    c.model.std = ()  # pixels become (x - mean) / std

    c.optim = ConfigDict()
    c.optim.name = "adam"  # adam | sgd
    c.optim.learning_rate = 1e-3
    c.optim.momentum = 0.9  # sgd only
    c.optim.weight_decay = 0.0  # coupled L2, as torch.optim.Adam
    # Regular expressions of the parameters that weight_decay acts on, '/kernel$'; () = all.
    c.optim.decay_on = ()
    c.optim.l1 = 0.0  # factor of the L1 penalty on all parameters
    c.optim.clip_norm = 0.0  # global gradient norm limit; 0 = none
    c.optim.schedule = "constant"  # constant | cosine | milestones
    c.optim.warmup = 0.0  # fraction of the run with a linear rise
    c.optim.milestones = ()  # fractions of the run; `decay` multiplies the rate at each
    c.optim.decay = 0.1
    # Regular expressions of parameters that stay as they are, such as '^features/'.
    c.optim.freeze = ()
    c.optim.plateau_patience = 0  # evaluations without improvement before `decay`; 0 = never

    c.train = ConfigDict()
    c.train.epochs = 1.0  # passes over the training images (one draw of patches per image)
    c.train.batch_size = 16  # images per step, over all devices
    c.train.eval_every = 1.0  # epochs between evaluations on the validation patients
    c.train.patience = 0  # evaluations without improvement before stopping early; 0 = never stop
    c.train.min_delta = 0.0  # smallest improvement that counts; negative: the published rule
    c.train.balance = "none"  # none | class: draw classes equally often
    c.train.log_every = 10  # steps between log rows, 1 or more
    # auto | device | host: memory for the images of a run. On devices they are copied once to each
    # device, and `log_every` steps run without the host; auto does that on a GPU or TPU if they
    # fit into half of its free memory.
    c.train.placement = "auto"

    c.lr_find = ConfigDict()  # learning-rate range test (Smith, 2017), of run = lr_find
    c.lr_find.low = 1e-7  # first learning rate
    c.lr_find.high = 1e-1  # last one
    c.lr_find.steps = 100  # optimiser steps from the first to the last, equal factors apart
    c.lr_find.smoothing = 0.9  # of the running mean of the loss

    c.evaluate = ConfigDict()
    c.evaluate.batch_size = 16  # images per batch in evaluation and prediction

    c.compare = ConfigDict()  # of run = compare
    # Run folder whose predictions for the same test images are compared with this run's.
    c.compare.other = ""

    c.export = ConfigDict()  # of run = export
    c.export.platforms = ("cpu", "cuda", "tpu")  # platforms of the exported program; also rocm

    c.checkpoint = ConfigDict()
    # At least this often (between steps, see placement), besides every improvement.
    c.checkpoint.every_minutes = 5.0

    c.predict = ConfigDict()
    c.predict.splits = ("oof", "valid", "test")  # splits in `predictions.npz`
    # Your own X-rays instead: a file, folder or pattern of pictures and DICOM -> xrays/
    c.predict.inputs = ""
    c.predict.overlays = False  # also draw each of these with the outline of its lungs

    c.parallel = ConfigDict()
    # host:port of process 0; 'auto' on TPU pods and SLURM; '' = one process
    c.parallel.coordinator = ""
    c.parallel.process_id = 0
    c.parallel.num_processes = 1
    c.parallel.compilation_cache = "~/.cache/jaxcxr/xla"  # '' = compile again in every process
    return c


def classify(learner: str, *, patched: bool, preset: str) -> ConfigDict:
    """A base learner, on lung patches (paper 2.2) or on the whole image (FLANNEL)."""
    check_preset(preset)
    c = base("classify")
    c.model.name = learner
    # float32 | bfloat16: of the computation; parameters, losses, logits stay float32
    c.model.dtype = "float32"

    c.patches = ConfigDict()
    c.patches.enabled = patched  # False: the whole image, FLANNEL's crops
    c.patches.size = 0  # side of a patch, or of the whole-image crop, pixels; 0 = all of the image
    c.patches.train_count = 1  # patches per image and step (paper: 1)
    c.patches.eval_count = 16  # K, patches per image in prediction (paper 2.4: 100)
    c.patches.valid_count = 8  # patches per image in evaluations during training
    c.patches.chunk = 64  # patches per forward pass in prediction
    c.patches.sampling = "joint"  # joint | rows_and_columns (as published: may leave the lung)
    c.patches.apply_mask = True  # zero outside the lungs (paper 2.1)
    c.patches.flip = True  # random horizontal flips (paper 3.2)
    c.patches.max_rotation = 0.0  # degrees either way (published code: 5)
    # Inputs of the ensemble: mean_softmax | vote_fraction (the paper's text) | mean_sigmoid (its
    # code).
    c.patches.aggregate = "mean_softmax"

    # Of whole images in training, besides patches.flip; patches have max_rotation.
    c.augment = ConfigDict()
    c.augment.max_rotation = 0.0  # degrees either way
    c.augment.zoom = (1.0, 1.0)  # range of factors; above 1 shows more than the image
    c.augment.shift = 0.0  # share of the side, either way
    c.augment.vflip = False  # mirror top and bottom
    c.augment.brightness = (1.0, 1.0)  # range of factors

    c.loss = ConfigDict()
    c.loss.class_weights = "none"  # none | inverse_frequency
    c.loss.label_smoothing = 0.0
    c.loss.aux_weight = 0.4  # of Inception's auxiliary head

    # Another labelled data set to measure the finished run on; builders = () is none. Pixels and
    # classes are the run's own: of the fields only builders, options, data_dir and manual_dir ('' =
    # data's), relabel (onto data.classes), patient_key, limit and max_bad_images count here.
    c.evaluate.data = data_section()
    c.evaluate.data.builders = ()
    # left_out | kept: its images of a source that the run's own data also have
    c.evaluate.same_source = "left_out"

    c.probe = ConfigDict()  # of run = probe: named findings as a score of the last class
    c.probe.findings = ("Pneumonia",)  # of the weights' findings, the ones to combine
    c.probe.combination = "max"  # of several: max | mean | any

    c.explain = ConfigDict()
    c.explain.split = "test"  # images of this split: train | valid | oof | test
    c.explain.per_class = 8  # largest number of images per class; 0 = all
    c.explain.of = "predicted"  # predicted | true: the class of the saliency
    c.explain.method = "gradcam"  # gradcam | lime | occlusion
    # original | text_masked | lung_masked: saliency on each, side by side (COVID-CXNet, Figs 17,
    # 18); original first
    c.explain.inputs = ("original",)
    # Grad-CAM's feature map, such as layer4 or features/norm5; '' = the last one of 4 x 4
    # positions or more.
    c.explain.layer = ""
    c.explain.form = "plain"  # plain | guided (COVID-CXNet's code)
    # patches per image in each prediction of lime and occlusion; 0 = patches.eval_count
    c.explain.patches = 0
    c.explain.lime = ConfigDict()  # COVID-CXNet's settings
    c.explain.lime.samples = 1000  # predictions per image
    c.explain.lime.features = 5  # superpixels in the explanation
    c.explain.lime.positive_only = True  # only those that speak for the class
    c.explain.lime.seed = 18
    c.explain.lime.segments = "quickshift"  # quickshift (the package's) | slic
    c.explain.lime.superpixels = 50  # approximate number, for slic
    c.explain.occlusion = ConfigDict()
    c.explain.occlusion.size = 0.15  # side of the square, fraction of the image's side
    c.explain.occlusion.stride = 0.075  # distance between squares, fraction of the image's side
    c.explain.occlusion.fill = 0.5  # grey of the square, 0 to 1
    # Lung masks for the saliency measures of whole-image learners, as `masks`: dataset | workdir |
    # none. Patches have theirs.
    c.explain.masks = ConfigDict(dict(source="dataset" if preset == "" else "none", workdir=""))

    c.train.monitor = "macro_f1"  # metric of the validation patients: macro_f1 | accuracy | loss
    if preset == "":
        _classify_phantom(c, learner, patched)
        _from_random_values(c, learner)
    elif preset == "small":
        _classify_small(c, learner, patched)
        _from_random_values(c, learner)
    else:
        _classify_paper(c, learner, patched)
    if not patched:
        c.masks.source = "none"
        c.patches.eval_count = c.patches.valid_count = 1  # the centre crop
        c.patches.apply_mask = False
    return c


def _classify_phantom(c: ConfigDict, learner: str, patched: bool) -> None:
    c.data.image_size = 128 if patched else 72
    c.patches.size = 32 if patched else 64
    c.split.folds = 3
    c.optim.schedule = "cosine"
    c.optim.warmup = 0.1
    c.train.epochs = 14.0
    c.train.eval_every = 7.0
    c.optim.learning_rate = 2e-3 if learner.startswith("densenet") else 1e-3
    c.patches.train_count = 2 if patched else 1
    c.patches.valid_count = c.patches.eval_count  # one program to compile for both


def _from_random_values(c: ConfigDict, learner: str) -> None:
    """A few dozen steps: what the networks can take before their batch statistics have settled."""
    if learner == "vgg19_bn":
        # Its first linear layer sees each feature 49 times in small patches; Adam's even steps
        # overshoot there.
        c.optim.name = "sgd"
        c.optim.learning_rate = 2e-3
    if learner == "inception_v3":
        c.model.input_size = 75  # its smallest


def _classify_small(c: ConfigDict, learner: str, patched: bool) -> None:
    # As the phantoms, a patch is a quarter of the side. Sized for two CPU cores: five learners x
    # three folds.
    real_classes(c.data)
    c.data.image_size = 128 if patched else 72
    c.patches.size = 32 if patched else 64
    c.patches.train_count = 2 if patched else 1
    c.patches.eval_count = c.patches.valid_count = 8
    c.patches.max_rotation = 5.0
    c.split.folds = 3
    c.masks.source = "workdir" if patched else "none"
    c.masks.on_empty = "whole_image"
    c.optim.schedule = "cosine"
    c.optim.warmup = 0.1
    c.optim.weight_decay = 1e-4
    c.train.epochs = 4.0
    c.train.eval_every = 2.0


def _classify_paper(c: ConfigDict, learner: str, patched: bool) -> None:
    real_classes(c.data)
    # COVID-Net's own weights are TensorFlow checkpoints, which nothing here reads.
    published = {"efficientnet_b4": "efficientnet_b4.torchvision", "covid_net": ""}
    c.model.pretrained = published.get(learner, f"{learner}.tv_in1k")
    # As published, though the weights were trained with ImageNet's.
    c.model.mean = c.model.std = (0.5,)
    c.train.epochs = 200.0
    c.train.eval_every = 1.0
    c.masks.on_empty = "whole_image"
    if patched:
        c.data.image_size = 1024
        c.patches.size = 224
        c.patches.eval_count = 100
        c.patches.valid_count = 10
        c.patches.max_rotation = 5.0
        c.masks.source = "workdir"
        c.optim.learning_rate = 1e-5
        c.optim.weight_decay = 0.1
        c.optim.l1 = 1e-5
        c.train.batch_size = 16
        c.train.patience = 50
        if learner == "inception_v3":
            c.model.input_size = 299
    else:
        # FLANNEL: 336 px, random 224 crops (299 for Inception) and flips, grey scaled to (x - 0.5)
        # / 0.5.
        c.data.image_size = 336
        c.data.equalise = False
        c.patches.size = 299 if learner == "inception_v3" else 224
        c.optim.learning_rate = 1e-3
        c.optim.weight_decay = 1e-4
        c.optim.schedule = "milestones"
        c.optim.milestones = (0.75,)  # epoch 150 of 200
        c.train.batch_size = 10


def segment(*, preset: str) -> ConfigDict:
    """The lung segmenter (paper 2.1)."""
    check_preset(preset)
    c = base("segment")
    c.model.name = "fc_densenet103"
    c.model.in_channels = 1
    # Channels of a ReLU before the last convolution of a U-Net. zhixuhao/unet has 2: if both die,
    # every pixel gets the same logit for good (its issue 148), so 0 leaves it out.
    c.model.narrow = 0
    # float32 | bfloat16: of the computation; parameters, losses, logits stay float32
    c.model.dtype = "float32"
    # FC-DenseNet computes its dense blocks again in the backward pass: less memory, more time
    c.model.remat = False
    c.data.classes = ()
    c.data.gamma = 0.5
    # Mask of the data set whose pixels count for nothing, in loss and metrics; '' = none.
    c.masks.ignore = ""
    # nearest | linear (interpolated, then a structure above 0.5; V7 paper, 4.2)
    c.masks.resize = "nearest"
    c.augment = ConfigDict()  # of training images and their masks together
    c.augment.max_rotation = 0.0  # degrees either way
    c.augment.zoom = (1.0, 1.0)  # range of factors; above 1 shows more than the image
    c.augment.shift = 0.0  # share of the side, either way
    c.augment.hflip = False  # mirror left and right; not where structures are left and right ones
    c.augment.brightness = (1.0, 1.0)  # range of factors
    c.loss = ConfigDict()
    # cross_entropy | binary_cross_entropy (a sigmoid each; needs model.outputs=sigmoid)
    c.loss.name = "cross_entropy"
    c.loss.background_weight = 0.5  # of background pixels; structures weigh 1 (published code)
    c.split.folds = 5  # one block of patients in five is held out: 80/20
    c.split.test_fraction = 0.0
    c.split.valid_fraction = 0.1  # early stopping must not look at the patients that are reported
    # "class=count": largest number of its training images; smaller sets are subsets of larger
    c.split.train_limit = ()
    c.train.monitor = "jaccard"  # mean over the structures, held-out patients
    # The data set that `predict` segments; data_dir, manual_dir '' = data's.
    c.predict.data = data_section()
    # Lowest probability of a structure; values other than 0.5 need sigmoid outputs.
    c.predict.threshold = 0.5
    c.predict.masked_images = True  # also write the images, zero outside the lungs
    if preset == "":
        c.masks.structures = ("heart", "left_lung", "right_lung")
        c.data.image_size = 64
        c.data.options.phantom_cxr.patients = 40
        c.data.options.phantom_cxr.seed = 1  # not the patients of the classes
        c.train.epochs = 4.0
        c.train.eval_every = 2.0
        c.train.batch_size = 4
        c.optim.schedule = "cosine"
    elif preset == "small":
        c.data.builders = ("tfds_builders.montgomery_shenzhen",)
        c.data.image_size = 64
        c.train.epochs = 24.0
        c.train.eval_every = 6.0
        c.train.batch_size = 4
        c.optim.schedule = "cosine"
        real_classes(c.predict.data)
    else:
        c.data.builders = ("tfds_builders.jsrt_scr",)
        c.masks.structures = ("heart", "left_lung", "right_lung")
        c.data.image_size = 256
        c.train.epochs = 100.0
        c.train.batch_size = 2
        c.train.patience = 20
        c.optim.learning_rate = 1e-4
        c.optim.weight_decay = 1e-6
        c.optim.plateau_patience = 5
        real_classes(c.predict.data)
    return c


def ensemble(*, preset: str) -> ConfigDict:
    """The focal-loss ensemble of base learners (paper 2.3)."""
    check_preset(preset)
    c = base("ensemble")
    c.model.name = "neural_weight_module"
    c.inputs = ConfigDict()
    # Folders of the learners: each contains fold0, fold1, ... with predictions.npz.
    c.inputs.learners = ()
    # out_of_fold | in_sample (as published: trained on predictions for the learners' own training
    # images)
    c.inputs.stacking = "out_of_fold"
    c.inputs.base_output = "mean_softmax"  # mean_softmax | vote_fraction | mean_sigmoid
    c.model.activation = "tanh"  # tanh (published) | softmax
    c.loss = ConfigDict()
    c.loss.gamma = 10.0  # focusing exponent (published code)
    c.loss.alpha_scale = 1000.0  # alpha of class c = alpha_scale / images of c (published code)
    c.loss.reduction = "mean"  # mean | sum (as published)
    c.predict.splits = ("oof", "test")  # the out-of-fold rows are also its validation rows
    c.train.monitor = "macro_f1"
    c.train.batch_size = 20
    c.train.epochs = 200.0
    c.train.eval_every = 10.0
    c.optim.learning_rate = 1e-2
    if preset == "paper":
        c.train.epochs = 40.0
        c.train.eval_every = 1.0
        c.loss.reduction = "sum"
        c.optim.learning_rate = 1e-5
        c.optim.weight_decay = 1e-4
    return c
