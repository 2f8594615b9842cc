"""What is done with a config: train, evaluate, predict, explain, study."""

from __future__ import annotations

from jaxcxr.runs import evaluate, explain, predict, study, train

RUNS = {
    "train": train.run,
    "evaluate": evaluate.run,
    "predict": predict.run,
    "explain": explain.run,
    "study": study.run,
}
