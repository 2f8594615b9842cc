"""The sections that configs of all tasks have."""

from __future__ import annotations

from jaxcxr.run_modes import RUN_MODES
from jaxcxr.schema.data import DATA
from jaxcxr.schema.field import (
    BELOW_ONE,
    COUNT,
    FRACTION,
    NOT_NEGATIVE,
    PART,
    POSITIVE,
    SEED_RANGE,
    Field,
    Section,
)

# Suffix of a file of weights -> the kind of file, for which jaxcxr.weights.read has a reader.
WEIGHTS_KINDS = {
    ".safetensors": "safetensors",
    ".npz": "npz",
    **dict.fromkeys((".pth", ".pt", ".tar", ".bin"), "PyTorch"),
    **dict.fromkeys((".h5", ".hdf5"), "HDF5"),
}

NAME = Field("", "of the run folder below runs/", identity=False, compiled=False)
SEED = Field(
    0, "of initialisation, batches, patches and dropout", compiled=False, within=SEED_RANGE
)


def task_field(task: str) -> Field:
    """`task`, of which a kind of config has one value."""
    return Field(task, "what is learned", values=("segment", "classify", "ensemble", "study"))


def run_field(run: str) -> Field:
    """`run` with the run mode that a kind of config starts in."""
    return Field(run, "what is done", values=tuple(RUN_MODES), identity=False, compiled=False)


SPLIT = Section(
    {
        "seed": Field(
            20200622,
            "of the folds; not `seed`, so that repeats have the same folds",
            within=SEED_RANGE,
        ),
        "folds": Field(5, "blocks of patients for cross-validation", within=COUNT),
        "fold": Field(0, "the block held out of this run", within=NOT_NEGATIVE),
        "test_fraction": Field(
            0.2, "patients of the fixed test set (paper 2.1: 4:1)", within=BELOW_ONE
        ),
        "valid_fraction": Field(
            0.15, "of a fold's training patients, for early stopping only", within=BELOW_ONE
        ),
        "train_fraction": Field(
            1.0,
            "Fraction of a fold's training patients; smaller fractions are subsets of larger ones.",
            within=PART,
        ),
        "group_by": Field(
            "patient",
            "image: as published, leaks patients between the splits",
            values=("patient", "image"),
        ),
        "file": Field(
            "",
            "CSV with the columns id and split (train, valid, test), such as a published split; it "
            "is taken as it is, in place of drawn folds, and its leaks are told",
        ),
        "duplicates": Field(
            "together",
            "copies of an X-ray under other ids or patients, found by their pixels; apart: splits "
            "may part them, as those of runs before there was the field",
            values=("together", "apart"),
        ),
    },
    compiled=False,
)

ON_IMPLAUSIBLE = Field(
    "error",
    "masks of the data set that are inverted, empty or full",
    values=("error", "warn"),
)
MASKS = Section(
    {
        "source": Field(
            "dataset",
            "of the lung masks: those that the data set brings; ready: of the ready-made segmenter "
            "(configs/lungs.py); workdir: of your own",
            values=("dataset", "ready", "workdir", "none"),
        ),
        "workdir": Field("", "a finished segment run, for source = workdir", compiled=False),
        "structures": Field(
            ("lung",),
            "structures of the data set's own masks; ids 1, 2, ... in this order",
        ),
        "on_empty": Field(
            "error",
            "an image whose lung mask is empty",
            values=("error", "drop", "whole_image"),
        ),
        "on_implausible": ON_IMPLAUSIBLE,
    }
)

MODEL = Section(
    {
        "name": Field("", "a row of jaxcxr.models.MODELS"),
        "width": Field(
            1.0, "factor on channel counts; 1.0 is the published network", within=POSITIVE
        ),
        "depth": Field(
            1.0, "factor on layers per block; 1.0 is the published network", within=POSITIVE
        ),
        "in_channels": Field(
            3, "grey is repeated to 3 for networks made for ImageNet", within=COUNT
        ),
        "input_size": Field(
            0,
            "patches are resized to this side before the network; 0 leaves them",
            within=NOT_NEGATIVE,
        ),
        "outputs": Field(
            "softmax",
            "sigmoid: two classes from one logit, as COVID-CXNet",
            values=("softmax", "sigmoid"),
        ),
        "pretrained": Field(
            "",
            "'' random values, a name of `python -m jaxcxr.weights list`, or a file "
            f"({', '.join(WEIGHTS_KINDS)})",
        ),
        "head": Field(
            "new",
            "pretrained: the last layer of the weights is kept, its classes must be data.classes",
            values=("new", "pretrained"),
        ),
        "mean": Field(
            (),
            "Of pixels in [0, 1], per channel or one for all; () = of the weights, else 0.5 "
            "(FLANNEL).",
            of=float,
        ),
        "std": Field((), "pixels become (x - mean) / std", of=float, within=POSITIVE),
    }
)
BATCH_NORMS = {  # of `model`, for networks with batch norms
    "norm_momentum": Field(
        0.0,
        "fraction of the running statistics of batch norms that a step keeps; 0 = the "
        "network's own (0.9; of EfficientNet-Lite 0.99)",
        within=BELOW_ONE,
    ),
    "norm_statistics": Field(
        "batch",
        "that batch norms take in training; running: those of the weights, which stay",
        values=("batch", "running"),
    ),
}
DTYPE = Field(
    "float32",
    "of the computation; parameters, losses, logits stay float32",
    values=("float32", "bfloat16"),
)

OPTIM = Section(
    {
        "name": Field("adam", "the optimiser", values=("adam", "sgd")),
        "learning_rate": Field(
            1e-3, "before schedule and plateau", compiled=False, within=NOT_NEGATIVE
        ),
        "momentum": Field(0.9, "sgd only", within=BELOW_ONE),
        "weight_decay": Field(0.0, "coupled L2, as torch.optim.Adam", within=NOT_NEGATIVE),
        "decay_on": Field(
            (),
            "Regular expressions of the parameters that weight_decay acts on, '/kernel$'; () = "
            "all.",
        ),
        "l1": Field(0.0, "factor of the L1 penalty on all parameters", within=NOT_NEGATIVE),
        "clip_norm": Field(0.0, "global gradient norm limit; 0 = none", within=NOT_NEGATIVE),
        "schedule": Field(
            "constant",
            "of the learning rate",
            values=("constant", "cosine", "milestones"),
        ),
        "warmup": Field(0.0, "fraction of the run with a linear rise", within=FRACTION),
        "milestones": Field(
            (),
            "fractions of the run; `decay` multiplies the rate at each",
            of=float,
            within=FRACTION,
        ),
        "decay": Field(0.1, "factor on the rate, of milestones and plateaus", within=PART),
        "freeze": Field(
            (),
            "Regular expressions of parameters that stay as they are, such as '^features/'.",
        ),
        "layer_rates": Field(
            (),
            "'pattern=factor' on the learning rate of the parameters that the regular expression "
            "matches, such as '^features/=0.1'; of several the first counts.",
        ),
        "average": Field(
            0.0,
            "Fraction of the average of the weights that stays at each step; the average is "
            "evaluated, kept and predicts. 0 = the weights themselves.",
            within=BELOW_ONE,
        ),
        "plateau_patience": Field(
            0, "evaluations without improvement before `decay`; 0 = never", within=NOT_NEGATIVE
        ),
    }
)

TRAIN = Section(
    {
        "epochs": Field(
            1.0,
            "passes over the training images (one draw of patches per image)",
            compiled=False,
            within=NOT_NEGATIVE,
        ),
        "batch_size": Field(16, "images per step, over all devices", within=COUNT),
        "eval_every": Field(
            1.0, "epochs between evaluations on the validation patients", within=POSITIVE
        ),
        "patience": Field(
            0,
            "evaluations without improvement before stopping early; 0 = never stop",
            within=NOT_NEGATIVE,
        ),
        "min_delta": Field(0.0, "smallest improvement that counts; negative: the published rule"),
        "balance": Field("none", "class: draw classes equally often", values=("none", "class")),
        "log_every": Field(
            10,
            "steps between log rows, 1 or more",
            read_by=("train",),
            identity=False,
            within=COUNT,
        ),
        "placement": Field(
            "auto",
            "Memory for the images of a run. On devices they are copied once to each device, and "
            "`log_every` steps run without the host; auto does that on a GPU or TPU if they fit "
            "into half of its free memory.",
            values=("auto", "device", "host"),
            read_by=("train", "evaluate", "predict"),
            identity=False,
            compiled=False,
        ),
    }
)


def train_section(monitor: str, *values: str, meaning: str) -> Section:
    """TRAIN with the metric that chooses a task's checkpoint."""
    return TRAIN | {"monitor": Field(monitor, meaning, values=values)}


LR_FIND = Section(
    {
        "low": Field(1e-7, "first learning rate", within=POSITIVE),
        "high": Field(1e-1, "last one", within=POSITIVE),
        "steps": Field(100, "optimiser steps from the first to the last, equal factors apart"),
        "smoothing": Field(0.9, "of the running mean of the loss"),
    },
    "learning-rate range test (Smith, 2017)",
    read_by=("lr_find",),
    identity=False,
    compiled=False,
)

EVALUATE = Section(
    {
        "batch_size": Field(
            16,
            "images per batch in evaluation and prediction",
            read_by=("train", "evaluate", "predict", "explain", "probe"),
            within=COUNT,
        ),
    },
    read_by=("evaluate",),
    identity=False,
    compiled=False,
)

COMPARE = Section(
    {
        "other": Field(
            "",
            "Run folder whose predictions for the same test images are compared with this run's.",
        ),
    },
    read_by=("compare",),
    identity=False,
    compiled=False,
)

EXPORT = Section(
    {
        "platforms": Field(
            ("cpu", "cuda", "tpu"),
            "of the exported program",
            values=("cpu", "cuda", "rocm", "tpu"),
        ),
    },
    read_by=("export",),
    identity=False,
    compiled=False,
)

CHECKPOINT = Section(
    {
        "every_minutes": Field(
            5.0,
            "At least this often (between steps, see placement), besides every improvement.",
            within=NOT_NEGATIVE,
        ),
    },
    read_by=("train",),
    identity=False,
    compiled=False,
)

PREDICT = Section(
    {
        "splits": Field(
            ("oof", "valid", "test"),
            "splits in `predictions.npz`",
            values=("train", "valid", "oof", "test"),
            read_by=("train", "evaluate", "predict"),
        ),
        "inputs": Field(
            "",
            "Your own X-rays instead: a file, folder or pattern of pictures and DICOM -> xrays/",
            read_by=("predict", "enhance"),
        ),
        "overlays": Field(False, "Also draw each of these with the outline of its lungs."),
    },
    read_by=("predict",),
    identity=False,
    compiled=False,
)

PARALLEL = Section(
    {
        "coordinator": Field(
            "",
            "host:port of process 0; 'auto' on TPU pods and SLURM; '' = one process",
        ),
        "process_id": Field(0, "number of this process", within=NOT_NEGATIVE),
        "num_processes": Field(1, "processes of the run", within=COUNT),
        "compilation_cache": Field("~/.cache/jaxcxr/xla", "'' = compile again in every process"),
    },
    identity=False,
    compiled=False,
)


def task_config(
    task: str,
    *,
    train: Section,
    data: Section = DATA,
    split: Section = SPLIT,
    masks: Section = MASKS,
    model: Section = MODEL,
    evaluate: Section = EVALUATE,
    predict: Section = PREDICT,
    **more: Section,
) -> Section:
    """The fields of a task that trains one network.

    Args:
        task: its name.
        train: the section as this task has it, as the next ones.
        data: images, classes, preprocessing.
        split: of the patients.
        masks: of the lungs.
        model: the network.
        evaluate: of evaluations.
        predict: of predictions.
        **more: further sections.
    """
    return Section(
        {
            "name": NAME,
            "task": task_field(task),
            "run": run_field("train"),
            "seed": SEED,
            "repeats": Field(
                1,
                "Training runs with the seeds seed, seed + 1, ... on the same split; above 1 with "
                "intervals.",
                compiled=False,
                within=COUNT,
            ),
            "data": data,
            "split": split,
            "masks": masks,
            "model": model,
            "optim": OPTIM,
            "train": train,
            "lr_find": LR_FIND,
            "evaluate": evaluate,
            "compare": COMPARE,
            "export": EXPORT,
            "checkpoint": CHECKPOINT,
            "predict": predict,
            "parallel": PARALLEL,
            **more,
        }
    )
