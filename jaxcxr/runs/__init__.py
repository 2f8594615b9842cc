"""What is done with a config: train, evaluate, predict, explain, lr_find, study."""

from __future__ import annotations

from jaxcxr.runs import evaluate, explain, lr_find, predict, study, train

RUNS = {
    "train": train.run,
    "evaluate": evaluate.run,
    "predict": predict.run,
    "explain": explain.run,
    "lr_find": lr_find.run,
    "study": study.run,
}
