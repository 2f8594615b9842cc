"""What is done with a config: train, evaluate, predict, study."""

from __future__ import annotations

from jaxcxr.runs import evaluate, predict, study, train

RUNS = {"train": train.run, "evaluate": evaluate.run, "predict": predict.run, "study": study.run}
