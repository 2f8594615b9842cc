"""Where a trained classifier looks: heat maps of its images, and how much of the heat is inside the lungs."""

from __future__ import annotations

import time
from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict
from tqdm import tqdm

from jaxcxr import data, parallel
from jaxcxr.artifacts import RunFolder, encode_png
from jaxcxr.explain.measures import share_inside
from jaxcxr.ops.masks import IGNORE
from jaxcxr.report import heat, plots
from jaxcxr.runs.experiment import Experiment, prepare
from jaxcxr.runs.predict import best_variables
from jaxcxr.runs.steps import predict_rows
from jaxcxr.types import InputError

FOLDER = "explain"


def run(config: ConfigDict, workdir: Path) -> None:
    """`--config.run=explain` with the best checkpoint of a trained classifier's workdir.

    Writes below `explain/`: `<id>.png` with the heat over the image, a contact sheet of each class, and
    `index.json` with every image's class, probability and share of heat inside the lungs; prints the means.
    """
    if config.task != "classify":
        raise InputError(f"only classifiers are explained, and this config's task is {config.task!r}")
    if config.explain.of not in ("predicted", "true"):
        raise InputError(f"explain.of={config.explain.of!r} is unknown; known: predicted, true")
    with RunFolder.open(workdir, config.to_dict(), active=parallel.is_main()) as folder:
        experiment = prepare(_with_lungs(config))
        started = time.monotonic()
        rows = _chosen(experiment)
        found = _heat(experiment, folder, rows)
        index = _write(experiment, folder, found)
        folder.add_timing(FOLDER, seconds=time.monotonic() - started, images=len(rows))
    if parallel.is_main():
        print(_table(index))
        print(f"wrote {len(rows)} heat maps and {len(index['classes'])} contact sheets to {workdir / FOLDER}")


def _with_lungs(config: ConfigDict) -> ConfigDict:
    """A whole-image learner sees no lung masks, but its heat can be measured with some."""
    config = config.copy_and_resolve_references()
    if not config.patches.enabled:
        config.masks.update(config.explain.masks)
        config.masks.on_empty = "whole_image"
    return config


def _chosen(experiment: Experiment) -> np.ndarray:
    """Rows of `explain.split`, the first `explain.per_class` of each class."""
    config = experiment.config.explain
    if config.split not in experiment.splits:
        raise InputError(f"explain.split={config.split!r} is unknown; known: {', '.join(experiment.splits)}")
    rows = experiment.splits[config.split]
    labels = experiment.rows.labels[rows]
    limit = config.per_class or len(rows)
    return np.concatenate([rows[labels == c][:limit] for c in range(len(experiment.rows.classes))])


def _heat(experiment: Experiment, folder: RunFolder, rows: np.ndarray) -> dict[str, np.ndarray]:
    """`Task.explain` for these rows, with their images and masks."""
    config = experiment.config
    variables = best_variables(experiment, folder)
    batches = data.eval_batches(
        {name: experiment.arrays[name] for name in experiment.task.inputs},
        rows,
        batch_size=config.evaluate.batch_size,
        process_index=parallel.process_index(),
        process_count=parallel.process_count(),
    )
    e = config.explain
    program = experiment.compiled.explain(config.patches.eval_count, e.of, e.layer, e.form)
    # The key of `Experiment.predict`, so that these are the patches that were judged in predictions.npz.
    key = jax.random.fold_in(jax.random.key(config.seed), 1)
    parts = []
    with tqdm(total=len(rows), desc="explain", unit="image", disable=not parallel.is_main()) as bar:
        for part in predict_rows(program, variables, batches, key):
            parts.append(part)
            bar.update(len(part["index"]))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _write(experiment: Experiment, folder: RunFolder, found: dict[str, np.ndarray]) -> dict:
    rows, order = experiment.rows, found["index"]
    images = [np.asarray(experiment.arrays["image"][i]) for i in order]
    masks = [np.asarray(experiment.arrays["mask"][i]) for i in order] if "mask" in experiment.arrays else None
    inside: list[float | None] = [None] * len(order)
    area: list[float | None] = [None] * len(order)
    if masks is not None:
        shares = np.asarray(share_inside(found["heat"], np.stack(masks)))
        inside = [float(share) if np.isfinite(share) else None for share in shares]
        area = [float(((mask > 0) & (mask != IGNORE)).mean()) for mask in masks]
    entries, captions = [], []
    for n, i in enumerate(order):
        explained = int(found["explained"][n])
        probability = float(found["probabilities"][n, explained])
        entries.append(
            {
                "id": str(rows.ids[i]),
                "label": rows.classes[rows.labels[i]],
                "explained": rows.classes[explained],
                "probability": probability,
                "heat_in_lungs": inside[n],
                "lung_area": area[n],
            }
        )
        share = inside[n]
        where = "" if share is None else f", {100 * share:.0f} % in the lungs"
        captions.append(f"{rows.ids[i]}\n{rows.classes[explained]} {probability:.2f}{where}")
        folder.write_bytes(f"{FOLDER}/{rows.ids[i]}.png", encode_png(heat.overlay(images[n], found["heat"][n])))
        if "votes" in found:
            votes = heat.overlay(images[n], np.nan_to_num(found["votes"][n]))
            folder.write_bytes(f"{FOLDER}/votes/{rows.ids[i]}.png", encode_png(votes))
    classes = {}
    for c, name in enumerate(rows.classes):
        chosen = [n for n, i in enumerate(order) if rows.labels[i] == c]
        if not chosen:
            continue
        sheet = heat.contact_sheet(
            [images[n] for n in chosen],
            [found["heat"][n] for n in chosen],
            None if masks is None else [masks[n] for n in chosen],
            [captions[n] for n in chosen],
            title=f"True class {name}: Grad-CAM of the {experiment.config.explain.of} class. Research use only",
        )
        folder.write_bytes(f"{FOLDER}/sheet_{name}.png", plots.to_png(sheet))
        classes[name] = {
            "images": len(chosen),
            "heat_in_lungs": _mean([inside[n] for n in chosen]),
            "lung_area": _mean([area[n] for n in chosen]),
        }
    index = {
        "note": "Research use only. Not for diagnosis.",
        "settings": experiment.config.explain.to_dict(),
        "classes": classes,
        "images": entries,
    }
    folder.write_json(f"{FOLDER}/index.json", index)
    return index


def _mean(values: list[float | None]) -> float | None:
    """Over the images that have heat."""
    known = [v for v in values if v is not None]
    return float(np.mean(known)) if known else None


def _table(index: dict) -> str:
    lines = [f"{'true class':20} {'images':>6} {'heat in lungs':>14} {'lungs in image':>15}"]
    for name, row in index["classes"].items():
        shares = [f"{row[key]:.3f}" if row[key] is not None else "-" for key in ("heat_in_lungs", "lung_area")]
        lines.append(f"{name:20} {row['images']:>6} {shares[0]:>14} {shares[1]:>15}")
    return "\n".join(lines)
