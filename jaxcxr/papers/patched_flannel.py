"""Patched FLANNEL: "COVID-19 X-ray Image Classification", its tables."""

from __future__ import annotations

from collections.abc import Mapping

CLASSES = ("covid19", "viral", "bacterial", "normal")
LUNG_JACCARD = 0.9339  # section 3.3.1: FC-DenseNet103, JSRT/SCR, 197 train / 50 valid
MeanAndStd = tuple[float, float]


def _row(*cells: float) -> dict[str, MeanAndStd]:
    """(mean, std) of each class, then of macro-F1."""
    pairs = zip(cells[::2], cells[1::2], strict=True)
    return dict(zip((*CLASSES, "macro_f1"), pairs, strict=True))


# Variant -> learner -> F1 one against the rest, mean and std over five models.
TABLE_3: Mapping[str, Mapping[str, Mapping[str, MeanAndStd]]] = {
    "whole_image": {
        "densenet161": _row(0.7694, 0.03, 0.5901, 0.05, 0.8030, 0.01, 0.8875, 0.02, 0.7625, 0.02),
        "inception_v3": _row(0.8938, 0.01, 0.6413, 0.03, 0.8112, 0.02, 0.9015, 0.03, 0.8120, 0.02),
        "resnet152": _row(0.8302, 0.02, 0.6218, 0.02, 0.8046, 0.01, 0.9080, 0.00, 0.7911, 0.01),
        "resnext101_32x8d": _row(
            0.8197, 0.03, 0.6151, 0.04, 0.8016, 0.01, 0.9046, 0.01, 0.7852, 0.02
        ),
        "vgg19_bn": _row(0.8753, 0.02, 0.6023, 0.01, 0.8016, 0.01, 0.8950, 0.00, 0.7936, 0.00),
        "flannel": _row(0.9239, 0.01, 0.6675, 0.02, 0.8306, 0.01, 0.9322, 0.00, 0.8385, 0.01),
    },
    "patched": {
        "densenet161": _row(0.8994, 0.02, 0.5815, 0.02, 0.8171, 0.01, 0.9195, 0.01, 0.8043, 0.01),
        "inception_v3": _row(0.8974, 0.03, 0.6161, 0.00, 0.8286, 0.00, 0.9351, 0.01, 0.8193, 0.01),
        "resnet152": _row(0.8738, 0.02, 0.5527, 0.03, 0.8204, 0.00, 0.9133, 0.00, 0.7901, 0.01),
        "resnext101_32x8d": _row(
            0.8978, 0.01, 0.5875, 0.01, 0.8215, 0.01, 0.9200, 0.01, 0.8067, 0.00
        ),
        "vgg19_bn": _row(0.8870, 0.03, 0.5786, 0.03, 0.8201, 0.00, 0.9159, 0.01, 0.8004, 0.01),
        "flannel": _row(0.9121, 0.02, 0.6009, 0.01, 0.8270, 0.01, 0.9319, 0.01, 0.8180, 0.01),
        "flannel_old_data": _row(
            0.8168, 0.03, 0.6063, 0.02, 0.8267, 0.00, 0.9144, 0.01, 0.7910, 0.01
        ),
    },
}

COMPARABLE = (
    "Comparable: the score (F1 of a class against the rest, mean over the models of the "
    "folds) and, where the same two public sources were used, the classes. Not comparable: "
    "the published models were tested on one random fifth of the images (1,283 of 6,410), chosen "
    "without regard to patients; the whole-image and the patched rows stand on different test "
    "images; and the published learners started from ImageNet weights and trained for up to 200 "
    "epochs. A difference below is therefore no measure of which system is better."
)
