"""The weights that trainings began with, for the provenance of reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxcxr.report import document

_RANDOM = "random first values"


def of_run(folder: Path, config: Mapping[str, Any] | None = None) -> dict[str, str | None] | None:
    """{"name", "sha256"} of the file that a run began with.

    "" as the name: random values. Without a hash where nothing was trained, or it was not recorded.

    Args:
        folder: of the run; its pretrained.json says which.
        config: of the run; None: its config.json.

    Returns:
        None where no weights are asked for, as of ensembles, or nothing says which.
    """
    said = document.read_json(folder / "pretrained.json")
    if said is not None:
        return {"name": said["name"], "sha256": said.get("file", {}).get("sha256")}
    config = config or document.read_json(folder / "config.json") or {}
    name = config.get("model", {}).get("pretrained")
    if name is None or config.get("task") == "ensemble":
        return None
    return {"name": name, "sha256": None}


def of_learners(learners: Mapping[str, Sequence[Path]]) -> dict[str, list[dict[str, str | None]]]:
    """Learner -> those of its runs, each once; without learners of which nothing says any.

    Args:
        learners: title -> run folders.
    """
    found = {}
    for title, folders in learners.items():
        runs = [of for folder in folders if (of := of_run(folder)) is not None]
        if different := [of for n, of in enumerate(runs) if of not in runs[:n]]:
            found[title] = different
    return found


def sentence(weights: Mapping[str, str | None]) -> str:
    """`densenet161.tv_in1k, SHA-256 ...`, or that there were none."""
    if not weights["name"]:
        return _RANDOM
    sha256 = weights["sha256"]
    return f"{weights['name']}, " + (f"SHA-256 `{sha256}`" if sha256 else "SHA-256 not recorded")


def sentences(learners: Mapping[str, Sequence[Mapping[str, str | None]]]) -> str:
    """Those of a study: one line each, or one for all where they are the same."""
    texts = {title: "; ".join(map(sentence, of)) for title, of in learners.items()}
    if len(set(texts.values())) == 1:
        return next(iter(texts.values()))
    return "".join(f"\n  - {title}: {text}" for title, text in texts.items())
