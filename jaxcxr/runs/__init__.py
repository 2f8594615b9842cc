"""What is done with a config: train, evaluate, predict, explain, compare, export, lr_find, probe, enhance, study."""

from __future__ import annotations

from jaxcxr.runs import (
    compare,
    enhance,
    evaluate,
    explain,
    export,
    lr_find,
    predict,
    probe,
    repeats,
    study,
)

RUNS = {
    "train": repeats.run,
    "evaluate": evaluate.run,
    "predict": predict.run,
    "explain": explain.run,
    "compare": compare.run,
    "export": export.run,
    "lr_find": lr_find.run,
    "probe": probe.run,
    "enhance": enhance.run,
    "study": study.run,
}
