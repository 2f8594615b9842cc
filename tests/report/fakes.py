"""Run folders and studies as finished runs leave them, with made-up predictions."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from jaxcxr.storage import files
from jaxcxr.storage.predictions import Predictions

CLASSES = ("covid19", "viral", "bacterial", "normal")


def predictions(
    *,
    learner: str = "densenet161",
    fold: int = 0,
    images: int = 40,
    skill: float = 2.0,
    classes: tuple[str, ...] = CLASSES,
    sources: bool = True,
    confounded: bool = False,
    split_sha256: str = "c0ffee",
) -> Predictions:
    """Seeded predictions: `images` out-of-fold rows of this fold and the same `images` test
    rows.
    """
    rng = np.random.default_rng([fold, len(learner)])
    numbers = np.arange(2 * images)
    labels = (numbers % len(classes)).astype(np.int32)
    scores = rng.normal(size=(2 * images, len(classes)))
    scores[numbers, labels] += skill
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    names = [f"oof{fold}-{i}" if i < images else f"test-{i}" for i in numbers]
    origin = np.where(labels == 0 if confounded else numbers % 8 < 4, "ccx", "kcx")
    return Predictions(
        ids=np.array(names),
        patient_ids=np.array([f"patient-{name}" for name in names]),
        split=np.array(["oof"] * images + ["test"] * images),
        labels=labels,
        probabilities=probabilities.astype(np.float32),
        classes=classes,
        fold=fold,
        learner=learner,
        split_sha256=split_sha256,
        dataset_fingerprint="f00d",
        extra={"source": origin, "age_group": np.full(len(names), "adult")} if sources else {},
    )


def write_run(folder: Path, made: Predictions, *, patched: bool | None = True) -> Path:
    """One finished classifier; `patched=None` is an ensemble, whose config has no patches."""
    made.save(folder / "predictions.npz")
    config: dict[str, object] = {"model": {"name": made.learner, "width": 0.25, "depth": 0.5}}
    config["task"] = "ensemble" if patched is None else "classify"
    if patched is not None:
        config["patches"] = {"enabled": patched, "size": 32, "eval_count": 16}
        config["data"] = {"image_size": 128}
    files.write_json(folder / "config.json", config)
    files.write_json(
        folder / "timings.json",
        {"stages": {"predict": {"seconds": 4.0, "images": 80, "patches": 1280}}},
    )
    files.write_text(
        folder / "metrics.jsonl",
        '{"step": 1, "train/loss": 1.4, "train/learning_rate": 0.001}\n'
        '{"step": 2, "train/loss": 1.1, "train/learning_rate": 0.001}\n'
        '{"step": 2, "valid/loss": 1.2, "valid/macro_f1": 0.5}\n',
    )
    return folder


def write_segmentation(folder: Path) -> Path:
    lung = {"jaccard": 0.9, "jaccard_smoothed": 0.9001, "dice": 0.9474}
    files.write_json(
        folder / "segmentation.json",
        {"structures": {"lung": lung}, "split": "held out", "images": 12},
    )
    files.write_json(
        folder / "timings.json", {"stages": {"train": {"seconds": 75.0, "images": 40}}}
    )
    return folder


def write_study(folder: Path, *, patched: bool = True, folds: int = 3, **options: object) -> Path:
    """A finished study of two learners and their ensemble."""
    for fold in range(folds):
        for name in ("inception_v3", "densenet161"):
            made = predictions(learner=name, fold=fold, **options)  # type: ignore[arg-type]
            write_run(folder / "learners" / name / f"fold{fold}", made, patched=patched)
        made = predictions(learner="neural_weight_module", fold=fold, skill=4.0, **options)  # type: ignore[arg-type]
        write_run(folder / "ensemble" / f"fold{fold}", made, patched=None)
    if patched:
        write_segmentation(folder / "segment")
    files.write_json(folder / "manifest.json", {"seed": 7, "command": "python main.py --config=x"})
    return folder
