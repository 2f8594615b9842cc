"""Explanations of a trained classifier.

Saliency of its images, and how much of it is inside the lungs and on written marks.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict
from tqdm import tqdm

from jaxcxr import parallel, schema
from jaxcxr.commands.explain_album import FOLDER, Album
from jaxcxr.errors import InputError
from jaxcxr.explain.measures import share_inside
from jaxcxr.inference import saliency
from jaxcxr.inference.best import best_variables
from jaxcxr.inference.saliency import Explainer, grey
from jaxcxr.ops.masks import IGNORE
from jaxcxr.ops.text import conceal, find_text
from jaxcxr.report.tables import class_title
from jaxcxr.storage.run_folder import RunFolder
from jaxcxr.tasks import is_classifier
from jaxcxr.training.experiment import Experiment
from jaxcxr.training.prepare import prepare

# explain.of -> what readers call it
_OF = {"predicted": "predicted", "true": "reference"}


@schema.checked
def run(config: ConfigDict, workdir: Path) -> None:
    """`--config.run=explain` with the best checkpoint of a trained classifier's workdir.

    Writes below `explain/`: `<id>.png` with the saliency over the image, a contact sheet of each
    class, and `index.json` with every image's class, and of each of `explain.inputs` the
    probability, whether the likeliest class is the right one, and the fractions of the saliency
    inside the lungs and on written marks; prints the means, and how many images are right. What an
    earlier call left there is replaced at the end.
    """
    _check(config)
    with RunFolder.open(workdir, config.to_dict(), active=parallel.is_main()) as folder:
        experiment = prepare(_with_lungs(config))
        e = experiment.config.explain
        if "lung_masked" in e.inputs and "mask" not in experiment.arrays:
            raise InputError(
                "explain.inputs has lung_masked, which needs lung masks: set "
                "--config.explain.masks.source=ready"
            )
        rows = _chosen(experiment)
        layer = saliency.find_layer(experiment.task, e.layer) if e.method == "gradcam" else None
        variables = best_variables(experiment.task, folder)
        folder.claim()
        shape = experiment.arrays["image"].shape[1:3]
        predictions = len(rows) * len(e.inputs) * saliency.predictions(experiment.config, shape)
        if parallel.is_main():
            print(_announcement(experiment.config, layer, len(rows), predictions))
        started = time.monotonic()
        progress = {
            "desc": "explain",
            # Occlusion and LIME predict many changed copies of each image.
            "unit": "prediction",
            "mininterval": 1.0,
            "disable": not parallel.is_main(),
        }
        with (
            tqdm(total=predictions, **progress) as bar,
            Album(
                folder,
                title=f"{saliency.TITLES[e.method]} of the {_OF[e.of]} class",
                classes=experiment.examples.classes,
            ) as album,
        ):
            explainer = Explainer(
                experiment.predictor(variables),
                experiment.arrays,
                layer.name if layer else "",
                bar.update,
            )
            for start in range(0, len(rows), experiment.config.evaluate.batch_size):
                some = rows[start : start + experiment.config.evaluate.batch_size]
                _explain(explainer, experiment.examples.classes, Xrays.of(experiment, some), album)
            index = album.finish(
                {
                    "note": "Research use only. Not for diagnosis.",
                    "settings": e.to_dict(),
                    "layer": dataclasses.asdict(layer) if layer else None,
                    "forward_passes": saliency.forward_passes(experiment.config, predictions),
                },
            )
        patches = predictions * saliency.patches(experiment.config)
        folder.add_timing(
            FOLDER, seconds=time.monotonic() - started, images=len(rows), patches=patches
        )
    if parallel.is_main():
        print(_table(index))
        print(
            f"wrote {len(rows)} saliency maps and {len(index['classes'])} contact sheets to "
            f"{workdir / FOLDER}\nResearch use only. Not for diagnosis."
        )


@dataclasses.dataclass(frozen=True)
class Xrays:
    """B images that are explained.

    Attributes:
        rows: [B] of the data set.
        images: [B, H, W] or [B, H, W, C] uint8, as the classifier gets them.
        lungs: [B, H, W] bool; empty where they are unknown.
        text: [B, H, W] bool, written marks, see `ops.text.find_text`.
        labels, ids: [B] true class and id.
    """

    rows: np.ndarray
    images: np.ndarray
    lungs: np.ndarray
    text: np.ndarray
    labels: np.ndarray
    ids: np.ndarray

    @classmethod
    def of(cls, experiment: Experiment, rows: np.ndarray) -> Xrays:
        """Those of some rows of the data set."""
        images = np.asarray(experiment.arrays["image"][rows])
        lungs = np.zeros(images.shape[:3], bool)
        if "mask" in experiment.arrays:
            masks = np.asarray(experiment.arrays["mask"][rows])
            lungs = (masks > 0) & (masks != IGNORE)
            # The stand-in of `masks.on_empty` = whole_image.
            lungs &= ~lungs.all((1, 2), keepdims=True)
        saliencies = [
            find_text(i, known if known.any() else None)
            for i, known in zip(grey(images), lungs, strict=True)
        ]
        return cls(
            rows,
            images,
            lungs,
            np.stack(saliencies),
            experiment.examples.labels[rows],
            experiment.examples.ids[rows],
        )

    def changed(self, name: str) -> np.ndarray:
        """The images as one of `explain.inputs`."""
        if name == "text_masked":
            return np.stack(
                [conceal(image, text) for image, text in zip(self.images, self.text, strict=True)]
            )
        if name == "lung_masked":
            shown = self.lungs | ~self.lungs.any((1, 2), keepdims=True)
            shown = shown.reshape(*shown.shape, *(1 for _ in self.images.shape[3:]))
            return np.where(shown, self.images, 0)
        return self.images


def _check(config: ConfigDict) -> None:
    """What can be refused before data are read."""
    if not is_classifier(config):
        raise InputError(
            f"only classifiers are explained, and this config's task is {config.task!r}: what a "
            "segmenter finds is outlined on your own X-rays (docs/GUIDE.md, Your own X-rays)"
        )
    e = config.explain
    if e.inputs[:1] != ("original",) or len(set(e.inputs)) < len(e.inputs):
        raise InputError(
            f"explain.inputs={tuple(e.inputs)}: give 'original', whose class is explained, and "
            "after it any of text_masked, lung_masked"
        )
    masks = e.masks
    if masks.workdir and masks.source not in ("workdir", "none"):
        raise InputError(
            f"explain.masks.workdir={masks.workdir!r} is a segment run's, and explain.masks.source "
            f"is {masks.source!r}: add --config.explain.masks.source=workdir, or leave "
            "explain.masks.workdir out"
        )
    if masks.source == "workdir" and not masks.workdir:
        raise InputError(
            "explain.masks.source='workdir' needs explain.masks.workdir, the folder of a segment "
            "run that has predicted these images; --config.explain.masks.source=ready takes the "
            "ready-made segmenter"
        )
    saliency.check(config)


def _with_lungs(config: ConfigDict) -> ConfigDict:
    """A whole-image learner sees no lung masks, but its saliency can be measured with some."""
    config = config.copy_and_resolve_references()
    if not config.patches.enabled and config.masks.source == "none":
        config.masks.update(config.explain.masks)
        config.masks.on_empty = "whole_image"
    return config


def _chosen(experiment: Experiment) -> np.ndarray:
    """Rows of `explain.split`, the first `explain.per_class` of each class."""
    config = experiment.config.explain
    rows = experiment.splits[config.split]
    if not len(rows):
        raise InputError(f"explain.split={config.split!r} has no images: choose another split")
    labels = experiment.examples.labels[rows]
    limit = config.per_class or len(rows)
    return np.concatenate(
        [rows[labels == c][:limit] for c in range(len(experiment.examples.classes))]
    )


def _explain(explainer: Explainer, class_names: Sequence[str], xrays: Xrays, album: Album) -> None:
    """Adds the saliency on every input of these images to the album."""
    names = explainer.config.explain.inputs
    classes: np.ndarray | None = None
    variants, saliencies = [], []
    for name in names:
        variants.append(xrays.changed(name))
        saliencies.append(saliency.explain(explainer, xrays.rows, variants[-1], classes))
        # On every input the saliency of one class: that of the original.
        classes = saliencies[-1].explained
    explained = saliencies[0].explained
    inputs = []
    for heat in saliencies:
        shares = {
            # What follows is of these images.
            "with_heat": (heat.heat > 0).any((1, 2)).astype(np.float32),
            "heat_in_lungs": _share(heat.heat, xrays.lungs),
            "heat_on_text": _share(heat.heat, xrays.text),
        }
        right = (heat.probabilities.argmax(1) == xrays.labels).astype(np.float32)
        probability = heat.probabilities[np.arange(len(explained)), explained]
        inputs.append({"probability": probability, "right": right, **shares})
    shown = [grey(images) for images in variants]
    lung_area, text_area = (region.mean((1, 2)) for region in (xrays.lungs, xrays.text))
    for n in range(len(xrays.rows)):
        album.add(
            {
                "id": str(xrays.ids[n]),
                "label": class_names[xrays.labels[n]],
                "explained": class_names[explained[n]],
                "lung_area": float(lung_area[n]) if lung_area[n] else None,
                "text_area": float(text_area[n]),
                "inputs": {
                    name: {key: _number(values[n]) for key, values in of_input.items()}
                    for name, of_input in zip(names, inputs, strict=True)
                },
            },
            images=[images[n] for images in shown],
            heats=[heat.heat[n] for heat in saliencies],
            votes=[heat.votes[n] for heat in saliencies if heat.votes is not None],
            lungs=xrays.lungs[n],
            superpixels=explainer.config.explain.method == "lime",
        )


def _share(heat: np.ndarray, region: np.ndarray) -> np.ndarray:
    """[B] share of the heat inside a region; NaN where there is no heat, or no region."""
    return np.where(region.any((1, 2)), np.asarray(share_inside(heat, region)), np.nan)


def _number(value: np.floating) -> float | None:
    return float(value) if np.isfinite(value) else None


def _announcement(
    config: ConfigDict, layer: saliency.Layer | None, images: int, predictions: int
) -> str:
    """What is about to be done, and what it costs."""
    e, patches = config.explain, saliency.patches(config)
    line = saliency.TITLES[e.method]
    if layer:
        line += f", {e.form}, on {layer.name}: feature map of {layer.height} x {layer.width}"
    line += f"\n{images} images, {predictions:,} predictions"
    if patches > 1:
        line += f" of {patches} patches"
    return f"{line}: {saliency.forward_passes(config, predictions):,} forward passes"


def _table(index: dict) -> str:
    lines = [
        "fractions of the saliency in lungs and on text, beside those of the image",
        (
            f"{'reference standard':20} {'input':>12} {'images':>6} {'correctly classified':>20} "
            f"{'images with saliency':>20} {'probability':>11} {'in lungs':>14} "
            f"{'lungs in image':>15} {'on text':>13} {'text in image':>14}"
        ),
    ]
    for label, of_class in index["classes"].items():
        for name, row in of_class["inputs"].items():
            shares = [
                row["probability"],
                row["heat_in_lungs"],
                of_class["lung_area"],
                row["heat_on_text"],
            ]
            shown = [
                f"{share:.3f}" if share is not None else "-"
                for share in (*shares, of_class["text_area"])
            ]
            if not of_class["with_text"]:
                shown[3] = "no text found"
            right, hot = (round(row[key] * of_class["images"]) for key in ("right", "with_heat"))
            lines.append(
                f"{class_title(label):20} {name.replace('_', ' '):>12} {of_class['images']:>6} "
                f"{right:>20} {hot:>20} "
                f"{shown[0]:>11} {shown[1]:>14} {shown[2]:>15} {shown[3]:>13} {shown[4]:>14}"
            )
    if all(of_class["lung_area"] is None for of_class in index["classes"].values()):
        lines.append(
            "in lungs is empty, for no lung masks are known: "
            "--config.explain.masks.source=ready finds the lungs of all images of the data set"
        )
    return "\n".join(lines)
