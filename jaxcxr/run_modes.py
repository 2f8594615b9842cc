"""The run modes, `--config.run=`: their names and what each does, known without importing them."""

from __future__ import annotations

from typing import Any

from jaxcxr.errors import InputError

RUN_MODES = {
    "train": "train, predict with the best checkpoint, score, report (the default)",
    "evaluate": (
        "predict again with the best checkpoint and rewrite the report; or score another data set"
    ),
    "predict": "predict again, or predict your own X-rays; a segmenter writes lung masks",
    "explain": "saliency of a trained classifier: Grad-CAM, LIME, occlusion",
    "compare": (
        "two finished classifiers on the same test images: exact McNemar test, intervals over "
        "patients"
    ),
    "export": "the trained network as a program (StableHLO) and its weights (safetensors)",
    "patch_counts": "score and time of a patched classifier over its number of patches per image",
    "lr_find": "learning-rate range test: the loss over a growing learning rate",
    "check_data": (
        "before training: copies of X-rays, patients and copies that the splits part, and what "
        "tells the classes apart without the lungs"
    ),
    "probe": "score images by findings of pretrained weights, without training",
    "enhance": "histogram equalisation, CLAHE and BEASF on your X-rays, as figures",
    "study": "all stages of a study in their order (the default of studies)",
}
# Those that read a finished run: its folder is enough, without an experiment file.
READING = ("predict", "explain", "evaluate", "export", "compare", "patch_counts")


def check(config: Any) -> None:
    """Checks that the config's run mode goes with its task.

    Raises:
        InputError: a study's run mode for a config that is none, or the reverse.
    """
    if config.run == "check_data":
        return
    if (config.task == "study") != (config.run == "study"):
        raise InputError(
            f"config.run={config.run!r} does not go with config.task={config.task!r}: a study "
            "config runs as 'study', its stages by their own configs, and no other config does"
        )
