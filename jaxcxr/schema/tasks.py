"""The fields of every kind of config: of the three tasks, and of the two kinds of studies."""

from __future__ import annotations

from jaxcxr.schema.data import DATA
from jaxcxr.schema.field import (
    BELOW_ONE,
    COUNT,
    FRACTION,
    NOT_NEGATIVE,
    PART,
    POSITIVE,
    ROTATION,
    SEED_RANGE,
    Field,
    Section,
)
from jaxcxr.schema.shared import (
    BATCH_NORMS,
    DTYPE,
    EVALUATE,
    MASKS,
    MODEL,
    NAME,
    ON_IMPLAUSIBLE,
    PARALLEL,
    PREDICT,
    SEED,
    SPLIT,
    run_field,
    task_config,
    task_field,
    train_section,
)

_ROTATION = Field(0.0, "degrees either way", within=ROTATION)
_ZOOM = Field(
    (1.0, 1.0), "range of factors; above 1 shows more than the image", within=POSITIVE, items=2
)
_SHIFT = Field(0.0, "fraction of the side, either way", within=BELOW_ONE)
_BRIGHTNESS = Field((1.0, 1.0), "range of factors", within=NOT_NEGATIVE, items=2)


def _other_data(meaning: str) -> dict[str, Field | Section]:
    """The fields of `evaluate` about another data set."""
    return {
        "data": DATA.but({"builders": ()}, meaning=meaning),
        "same_source": Field(
            "left_out",
            "its images of a source that the run's own data also have",
            values=("left_out", "kept"),
        ),
    }


CLASSIFY = task_config(
    "classify",
    model=MODEL | BATCH_NORMS | {"dtype": DTYPE},
    train=train_section(
        "macro_f1",
        "macro_f1",
        "accuracy",
        "loss",
        "last",
        meaning="metric of the validation patients that chooses the checkpoint; last: none, "
        "the last one",
    )
    | {
        "cache_features": Field(
            False,
            "The features of each image are computed once, and each step trains the layers after "
            "them. It needs optim.freeze of all other layers, model.norm_statistics=running and "
            "whole images without augmentation.",
        ),
        "shuffle_labels": Field(
            False,
            "Negative control: training images are given each other's labels, and so are those of "
            "validation. What such a run scores on the test images was not learnt from labels.",
        ),
    },
    evaluate=EVALUATE
    | _other_data(
        "Another labelled data set to measure the finished run on; builders = () is none. Pixels "
        "and classes are the run's own: of the fields only builders, options, data_dir and "
        "manual_dir ('' = data's), sources, relabel (onto data.classes), patient_key, limit and "
        "max_bad_images count here."
    ),
    patches=Section(
        {
            "enabled": Field(True, "False: the whole image, FLANNEL's crops"),
            "size": Field(
                0,
                "side of a patch, or of the whole-image crop, pixels; 0 = all of the image",
                within=NOT_NEGATIVE,
            ),
            "train_count": Field(1, "patches per image and step (paper: 1)", within=COUNT),
            "eval_count": Field(
                16, "K, patches per image in prediction (paper 2.4: 100)", within=COUNT
            ),
            "valid_count": Field(
                8, "patches per image in evaluations during training", within=COUNT
            ),
            "chunk": Field(64, "patches per forward pass in prediction", within=COUNT),
            "sampling": Field(
                "joint",
                "rows_and_columns: as published, may leave the lung",
                values=("joint", "rows_and_columns"),
            ),
            "apply_mask": Field(True, "zero outside the lungs (paper 2.1)"),
            "flip": Field(True, "random horizontal flips (paper 3.2)"),
            "max_rotation": Field(0.0, "degrees either way (published code: 5)", within=ROTATION),
            "aggregate": Field(
                "mean_softmax",
                "Inputs of the ensemble; vote_fraction: the paper's text, mean_sigmoid: its code.",
                values=("mean_softmax", "vote_fraction", "mean_sigmoid"),
            ),
        }
    ),
    augment=Section(
        {
            "max_rotation": _ROTATION,
            "zoom": _ZOOM,
            "shift": _SHIFT,
            "vflip": Field(False, "mirror top and bottom"),
            "brightness": _BRIGHTNESS,
        },
        "Of whole images in training, besides patches.flip; patches have max_rotation.",
    ),
    loss=Section(
        {
            "class_weights": Field(
                "none", "of the classes in the loss", values=("none", "inverse_frequency")
            ),
            "label_smoothing": Field(
                0.0, "weight of the uniform distribution in the targets", within=BELOW_ONE
            ),
            "aux_weight": Field(0.4, "of Inception's auxiliary head", within=NOT_NEGATIVE),
        }
    ),
    probe=Section(
        {
            "findings": Field(("Pneumonia",), "of the weights' findings, the ones to combine"),
            "combination": Field("max", "of several", values=("max", "mean", "any")),
        },
        "named findings as a score of the last class",
        read_by=("probe",),
        identity=False,
        compiled=False,
    ),
    patch_counts=Section(
        {
            "counts": Field(
                (1, 2, 5, 10, 20, 50, 100), "numbers of patches per image", within=COUNT
            ),
            "most": Field(
                100, "patches that are drawn of each image (paper 2.4: 100)", within=COUNT
            ),
            "timed": Field(32, "images whose predictions are timed", within=COUNT),
        },
        "score and time of a prediction over its number of patches",
        read_by=("patch_counts",),
        identity=False,
        compiled=False,
    ),
    explain=Section(
        {
            "split": Field(
                "test", "images of this split", values=("train", "valid", "oof", "test")
            ),
            "per_class": Field(
                8, "largest number of images per class; 0 = all", within=NOT_NEGATIVE
            ),
            "of": Field("predicted", "the class of the saliency", values=("predicted", "true")),
            "method": Field(
                "gradcam", "of the explanation", values=("gradcam", "lime", "occlusion")
            ),
            "inputs": Field(
                ("original",),
                "saliency on each, side by side (COVID-CXNet, Figs 17, 18); original first",
                values=("original", "text_masked", "lung_masked"),
            ),
            "layer": Field(
                "",
                "Grad-CAM's feature map, such as layer4 or features/norm5; '' = the last one of 4 "
                "x 4 positions or more.",
            ),
            "form": Field("plain", "guided: COVID-CXNet's code", values=("plain", "guided")),
            "patches": Field(
                0,
                "patches per image in each prediction of lime and occlusion; 0 = "
                "patches.eval_count",
                within=NOT_NEGATIVE,
            ),
            "lime": Section(
                {
                    "samples": Field(1000, "predictions per image", within=COUNT),
                    "features": Field(5, "superpixels in the explanation", within=COUNT),
                    "positive_only": Field(True, "only those that speak for the class"),
                    "seed": Field(
                        18, "of the superpixels that are switched off", within=SEED_RANGE
                    ),
                    "segments": Field(
                        "quickshift",
                        "quickshift: the package's",
                        values=("quickshift", "slic"),
                    ),
                    "superpixels": Field(50, "approximate number, for slic", within=COUNT),
                },
                "COVID-CXNet's settings",
            ),
            "occlusion": Section(
                {
                    "size": Field(
                        0.15, "side of the square, fraction of the image's side", within=PART
                    ),
                    "stride": Field(
                        0.075, "distance between squares, fraction of the image's side", within=PART
                    ),
                    "fill": Field(0.5, "grey of the square, 0 to 1", within=FRACTION),
                }
            ),
            "masks": Section(
                {
                    "source": Field(
                        "none",
                        "as masks.source",
                        values=("dataset", "ready", "workdir", "none"),
                    ),
                    "workdir": Field("", "as masks.workdir"),
                },
                "Lung masks for the saliency measures of whole-image learners, as `masks`. Patches "
                "have theirs.",
            ),
        },
        read_by=("explain",),
        identity=False,
        compiled=False,
    ),
)

SEGMENT = task_config(
    "segment",
    data=DATA | {"classes": (), "gamma": 0.5},
    split=SPLIT
    | {
        "test_fraction": 0.0,
        # Early stopping must not look at the patients that are reported.
        "valid_fraction": 0.1,
        "train_limit": Field(
            (),
            '"class=count": largest number of its training images; smaller sets are subsets of '
            "larger",
        ),
    },
    masks=MASKS
    | {
        "ignore": Field(
            "",
            "Mask of the data set whose pixels count for nothing, in loss and metrics; '' = none.",
        ),
        "by_source": Field(
            (),
            "'source=structure': what the data set's lung mask of that source shows, of "
            "masks.structures, such as montgomery=lung_field. An image is then labelled for that "
            "structure alone; () = every image is labelled for all.",
        ),
        "within": Field(
            (),
            "'structure=another': the one lies within the other, such as lung_field=lung. In "
            "training, an image that by_source labels for the inner alone teaches the outer to be "
            "there, too; a prediction of the inner is cut to the outer (its log-odds are the lower "
            "of both). Scores and the validation loss count what an image is labelled for alone, "
            "the loss before that cut.",
        ),
        "hull_margin": Field(
            0.0,
            "With masks.within, such an image also teaches the outer structure to be nowhere "
            "farther from the convex hull of the inner one than this fraction of the side; 0 = it "
            "does not.",
            within=FRACTION,
        ),
        "resize": Field(
            "nearest",
            "linear: interpolated, then a structure above 0.5 (V7 paper, 4.2)",
            values=("nearest", "linear"),
        ),
    },
    model=MODEL
    | BATCH_NORMS
    | {
        "name": "fc_densenet103",
        "in_channels": 1,
        "narrow": Field(
            0,
            "Channels of a ReLU before the last convolution of a U-Net. zhixuhao/unet has 2: if "
            "both die, every pixel gets the same logit for good (its issue 148), so 0 leaves it "
            "out.",
            within=NOT_NEGATIVE,
        ),
        "dtype": DTYPE,
        "remat": Field(
            False,
            "FC-DenseNet computes its dense blocks again in the backward pass: less memory, more "
            "time",
        ),
    },
    train=train_section(
        "jaccard",
        meaning="metric of the validation patients that chooses the checkpoint: jaccard or dice "
        "(means over the structures), jaccard_STRUCTURE, dice_STRUCTURE, or loss; last: none",
    ),
    evaluate=EVALUATE
    | _other_data(
        "Another data set with masks to measure the network on; builders = () is none. Pixels and "
        "masks are as in training: of the fields only builders, options, data_dir and manual_dir "
        "('' = data's), sources, relabel (the classes of its tables), patient_key, limit and "
        "max_bad_images count here."
    ),
    predict=PREDICT
    | {
        "data": DATA.but(
            {}, meaning="The data set that `predict` segments; data_dir, manual_dir '' = data's."
        ),
        "threshold": Field(
            0.5,
            "Lowest probability of a structure; values other than 0.5 need sigmoid outputs.",
            read_by=("train", "evaluate", "predict", "export"),
        ),
        "largest_pieces": Field(
            0,
            "Of each structure as many connected pieces are kept, the largest; 0 = all. Lungs are "
            "two; further pieces are mostly gas elsewhere, but a lung that disease divides loses "
            "part. Scores count what is kept, but those of the validation patients during training "
            "count all.",
            within=NOT_NEGATIVE,
            read_by=("train", "evaluate", "predict", "export"),
        ),
        "structure": Field(
            "",
            "One of masks.structures (of the ready-made lungs: lung_field or lung): with "
            "masks.by_source, what images without masks are given, and what masks of a source "
            "unknown to it are compared with; '' = the last of them.",
            read_by=("evaluate", "predict"),
        ),
        "masked_images": Field(True, "also write the images, zero outside the lungs"),
    },
    augment=Section(
        {
            "max_rotation": _ROTATION,
            "zoom": _ZOOM,
            "shift": _SHIFT,
            "hflip": Field(
                False, "mirror left and right; not where structures are left and right ones"
            ),
            "brightness": _BRIGHTNESS,
            "quarter_turns": Field(
                0.0,
                "probability of a turn by 90, 180 or 270 degrees, as files lie on their side",
                within=FRACTION,
            ),
            "contrast": Field(
                (1.0, 1.0),
                "range of factors on the distance from the mean",
                within=NOT_NEGATIVE,
                items=2,
            ),
            "gamma": Field((1.0, 1.0), "range of exponents", within=POSITIVE, items=2),
            "noise": Field(
                0.0,
                "greatest standard deviation of Gaussian noise; white is 1",
                within=NOT_NEGATIVE,
            ),
            "objects": Field(
                0, "greatest number of grey rectangles, as devices and letters", within=NOT_NEGATIVE
            ),
            "borders": Field(
                0.0,
                "greatest width of a black border, fraction of the side; its mask is ignored",
                within=BELOW_ONE,
            ),
            "inverted": Field(0.0, "probability of white for black", within=FRACTION),
        },
        "of training images and their masks together",
    ),
    loss=Section(
        {
            "name": Field(
                "cross_entropy",
                "binary_cross_entropy: a sigmoid each; needs model.outputs=sigmoid",
                values=("cross_entropy", "binary_cross_entropy"),
            ),
            "background_weight": Field(
                0.5,
                "of background pixels; structures weigh 1 (published code)",
                within=NOT_NEGATIVE,
            ),
            "dice": Field(
                0.0,
                "weight of the soft Dice loss that is added; needs binary_cross_entropy",
                within=NOT_NEGATIVE,
            ),
        }
    ),
)

ENSEMBLE = task_config(
    "ensemble",
    model=MODEL
    | {
        "name": "neural_weight_module",
        "activation": Field(
            "tanh", "of the learners' weights; tanh is published", values=("tanh", "softmax")
        ),
    },
    train=train_section(
        "macro_f1",
        "macro_f1",
        "accuracy",
        "loss",
        "last",
        meaning="metric of the validation rows that chooses the checkpoint; last: none",
    ),
    # The out-of-fold rows are also its validation rows.
    predict=PREDICT | {"splits": ("oof", "test")},
    inputs=Section(
        {
            "learners": Field(
                (),
                "Folders of the learners: each contains fold0, fold1, ... with predictions.npz.",
                compiled=False,
            ),
            "stacking": Field(
                "out_of_fold",
                "in_sample: as published, trained on predictions for the learners' own training "
                "images",
                values=("out_of_fold", "in_sample"),
            ),
            "base_output": Field(
                "mean_softmax",
                "of the learners",
                values=("mean_softmax", "vote_fraction", "mean_sigmoid"),
            ),
        }
    ),
    loss=Section(
        {
            "gamma": Field(10.0, "focusing exponent (published code)", within=NOT_NEGATIVE),
            "alpha_scale": Field(
                1000.0,
                "alpha of class c = alpha_scale / images of c (published code)",
                within=POSITIVE,
            ),
            "alpha": Field(
                "inverse_frequency",
                "of the classes; equal: the same for all, as if each had the mean number of images",
                values=("inverse_frequency", "equal"),
            ),
            "reduction": Field("mean", "sum: as published", values=("mean", "sum")),
        }
    ),
)


def _study(system: str, *, top: dict[str, Field] | None = None, **fields: Field) -> Section:
    """The fields of a study beside those of its stages; data, masks, parallel hold for each."""
    shared = {name: DATA[name] for name in ("manual_dir", "data_dir", "max_dropped")}
    return Section(
        {
            "name": NAME,
            "task": task_field("study"),
            "run": run_field("study"),
            "seed": SEED,
            **(top or {}),
            "study": Section(
                {
                    "system": Field(
                        system, "which stages there are", values=("flannel", "classifiers")
                    ),
                    **fields,
                },
                compiled=False,
            ),
            "data": Section({**shared, "max_bad_images": DATA["max_bad_images"]}, "of every stage"),
            "masks": Section({"on_implausible": ON_IMPLAUSIBLE}, "of every stage"),
            "parallel": PARALLEL,
        }
    )


FLANNEL = _study(
    "flannel",
    learners=Field((), "those that run, in the order in which the ensemble sees them"),
    folds=Field(5, "blocks of patients for cross-validation", within=COUNT),
    ensembles=Field(
        (),
        "'field=value' of a further ensemble of the same learners, such as 'loss.gamma=2' or "
        "'loss.gamma=0, loss.alpha=equal', which the report has beside the study's own.",
        identity=False,
    ),
    learners_of=Field(
        (),
        "Folders of finished studies of the same split: the ensemble weighs their learners, too, "
        "after its own, and their rows join the report.",
    ),
    beside=Field(
        (),
        "Folders of finished studies of the same split whose rows join the report alone.",
        identity=False,
    ),
    biomarkers=Field(
        "ready",
        "Masks of which the biomarkers are measured, whose logistic regression stands beside the "
        "learners: the data set's own, the ready-made segmenter's lungs, or heart and lungs of the "
        "study's own segmenter, which the last must train. none: neither.",
        values=("dataset", "ready", "segment", "none"),
        identity=False,
    ),
)

CLASSIFIERS = _study(
    "classifiers",
    top={"repeats": Field(1, "seeds of each model", compiled=False, within=COUNT)},
    models=Field((), "those of `models` that run"),
    pairs=Field(
        (),
        '"a:b": these two are compared on the same test images, with the first repeat of each',
    ),
    lungs=Field(False, "train the segmenter `segment` and take the masks from it"),
    training_sizes=Field(
        (),
        "Fractions of the training patients, for a curve (COVID-CXNet, figure 9).",
        of=float,
        within=PART,
    ),
    training_sizes_of=Field("", "the model that the curve is of"),
)

# Kind of a config -> its fields. A study is of the kind `study.system`, any other of its `task`.
KINDS = {
    "segment": SEGMENT,
    "classify": CLASSIFY,
    "ensemble": ENSEMBLE,
    "flannel": FLANNEL,
    "classifiers": CLASSIFIERS,
}
