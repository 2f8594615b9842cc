"""The learning tasks: segmentation, classification, ensembling.

A task is a set of pure functions (`Task`).
"""

from __future__ import annotations

from typing import Any

from ml_collections import ConfigDict

from jaxcxr.errors import InputError
from jaxcxr.tasks.classify import Classify
from jaxcxr.tasks.ensemble import Ensemble
from jaxcxr.tasks.segment import Segment
from jaxcxr.tasks.task import ExplainableTask, Task

# config.task -> the class of the task: (config, *, axis_name, ...) -> `Task`.
TASKS: dict[str, Any] = {"segment": Segment, "classify": Classify, "ensemble": Ensemble}

__all__ = [
    "TASKS", "Classify", "Ensemble", "ExplainableTask", "Segment", "Task", "is_classifier",
    "needs_lungs", "task_of",
]  # fmt: skip


def task_of(config: ConfigDict) -> type[Task]:
    """The class of a config's task; InputError where there is none of that name."""
    if config.task not in TASKS:
        raise InputError(f"task={config.task!r} is unknown; known: {', '.join(TASKS)}")
    return TASKS[config.task]


def is_classifier(config: ConfigDict) -> bool:
    """Whether it predicts classes from X-rays: no segmenter, no ensemble, no study."""
    task = TASKS.get(config.task)
    return task is not None and task.reads_xrays and task.has_classes


def needs_lungs(config: ConfigDict) -> bool:
    """Whether networks of this config cannot do without lung masks of their images."""
    return task_of(config).needs_lungs(config)
