"""The learning tasks: segmentation, classification, ensembling.

A task is a set of pure functions (`Task`).
"""

from __future__ import annotations

from jaxcxr.tasks import classify, ensemble, segment
from jaxcxr.tasks.task import Task

TASKS = {"segment": segment.build, "classify": classify.build, "ensemble": ensemble.build}

__all__ = ["TASKS", "Task"]
