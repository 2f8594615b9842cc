"""The folder `explain/` of a run: pictures of the saliency, contact sheets and the index."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from PIL import Image

from jaxcxr.report import plots, saliency_overlays
from jaxcxr.report.tables import class_title
from jaxcxr.storage.names import PictureNames, on_disk
from jaxcxr.storage.run_folder import RunFolder

FOLDER = "explain"
_NEW, _OLD = f".{FOLDER}-new", f".{FOLDER}-old"
_THUMBNAIL = 320  # pixels of a picture's height on a sheet
_ON_A_SHEET = 100


class Album:
    """Collects the pictures in a folder of their own.

    It takes the place of `explain/` when they are complete.

    Until `finish`, what an earlier call left in `explain/` stays; a call that fails leaves it
    alone.
    """

    def __init__(self, folder: RunFolder, *, title: str, classes: Sequence[str]):
        """Starts an empty album.

        Args:
            folder: of the run.
            title: of the sheets, after the name of the class.
            classes: of which there are sheets, in their order.
        """
        self._folder, self._title = folder, title
        self._classes = tuple(classes)
        sheets = PictureNames(reserved=("index.json", "votes"))
        self._sheet_names = {name: sheets.of(f"sheet_{name}") for name in classes}
        self._names = PictureNames(reserved=("index.json", "votes", *self._sheet_names.values()))
        self._superpixels = False
        self._images: list[dict[str, Any]] = []
        self._sheets: dict[str, list[tuple[np.ndarray, np.ndarray, str]]] = {}

    def __enter__(self) -> Self:
        if self._folder.active:
            new, old, current = (self._folder.path / name for name in (_NEW, _OLD, FOLDER))
            # Killed while the new one took the place of the old one.
            if old.exists() and not current.exists():
                os.replace(old, current)
            for leftover in (new, old):
                shutil.rmtree(leftover, ignore_errors=True)
            if current.exists():
                print(
                    f"replaces the saliency in {current} when this one is complete; copy the "
                    "folder first to keep it",
                    flush=True,
                )
        return self

    def __exit__(self, *_: object) -> None:
        if self._folder.active:
            shutil.rmtree(self._folder.path / _NEW, ignore_errors=True)

    def add(
        self,
        entry: Mapping[str, Any],
        *,
        images: Sequence[np.ndarray],
        heats: Sequence[np.ndarray],
        votes: Sequence[np.ndarray],
        lungs: np.ndarray,
        superpixels: bool,
    ) -> None:
        """Adds an X-ray with the saliency on each of its inputs.

        Args:
            entry: what `index.json` says of it: "id", "label", "explained", "lung_area",
                "text_area", and "inputs", a dict of dicts of numbers, None where there is none.
            images: [H, W] uint8 of each input.
            heats: [H, W] of each.
            votes: [H, W] of each, or none.
            lungs: [H, W] bool, outlined in every picture; empty: unknown.
            superpixels: whether the heat is one of superpixels, drawn green and red.
        """
        if not self._folder.active:
            return
        draw = saliency_overlays.for_and_against if superpixels else saliency_overlays.overlay
        panels = [draw(image, values) for image, values in zip(images, heats, strict=True)]
        uniform = [not superpixels and saliency_overlays.nearly_uniform(values) for values in heats]
        picture = saliency_overlays.side_by_side(panels)
        name = self._names.of(entry["id"])
        captions = _captions(entry, uniform)
        title = (
            f"{entry['id']}. Reference standard: {class_title(entry['label'])}. {self._title}: "
            f"{class_title(entry['explained'])}. Research use only"
        )
        figure = saliency_overlays.picture(
            panels, captions, title=title, lungs=lungs, superpixels=superpixels
        )
        self._folder.write_bytes(f"{_NEW}/{on_disk(name)}", plots.to_png(figure))
        if votes:
            shown = [
                saliency_overlays.overlay(i, np.nan_to_num(v))
                for i, v in zip(images, votes, strict=True)
            ]
            title = (
                f"{entry['id']}. Fraction of a pixel's patches that chose "
                f"{class_title(entry['explained'])}. Research use only"
            )
            figure = saliency_overlays.picture(shown, captions, title=title, lungs=lungs)
            self._folder.write_bytes(f"{_NEW}/votes/{on_disk(name)}", plots.to_png(figure))
        self._images.append({**entry, "picture": name})
        sheet = self._sheets.setdefault(entry["label"], [])
        if len(sheet) < _ON_A_SHEET:
            step = max(1, len(picture) // _THUMBNAIL)
            small = np.asarray(Image.fromarray(picture).reduce(step))
            outline = saliency_overlays.side_by_side([lungs] * len(images))[::step, ::step]
            explained = f"{entry['id']}: {class_title(entry['explained'])}"
            sheet.append((small, outline, "\n".join([explained, *captions])))
        self._superpixels = superpixels

    def finish(self, header: Mapping[str, Any]) -> dict[str, Any]:
        """Writes the sheets and `index.json`, and puts the folder in its place.

        Args:
            header: what `index.json` says besides.

        Returns:
            What is in `index.json`: the header, "classes" with the means of each true class, and
            "images".
        """
        for name, sheet in self._sheets.items():
            pictures, masks, captions = zip(*sheet, strict=True)
            figure = saliency_overlays.contact_sheet(
                pictures,
                masks,
                captions,
                title=f"Reference standard {class_title(name)}: {self._title}. Research use only",
                superpixels=self._superpixels,
            )
            self._folder.write_bytes(f"{_NEW}/{self._sheet_names[name]}", plots.to_png(figure))
        of_class = {
            name: [entry for entry in self._images if entry["label"] == name]
            for name in self._classes
        }
        index = {
            **header,
            "classes": {name: _means(entries) for name, entries in of_class.items() if entries},
            "images": self._images,
        }
        self._folder.write_json(f"{_NEW}/index.json", index)
        if self._folder.active:
            new, old, current = (self._folder.path / name for name in (_NEW, _OLD, FOLDER))
            if current.exists():
                os.replace(current, old)
            os.replace(new, current)
            shutil.rmtree(old, ignore_errors=True)
        return index


def _means(entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means over the images that have the number."""
    inputs = {
        name: {key: _mean([entry["inputs"][name][key] for entry in entries]) for key in row}
        for name, row in entries[0]["inputs"].items()
    }
    areas = {key: _mean([entry[key] for entry in entries]) for key in ("lung_area", "text_area")}
    with_text = sum(entry["text_area"] > 0 for entry in entries)
    return {"images": len(entries), "with_text": with_text, **areas, "inputs": inputs}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _captions(entry: Mapping[str, Any], uniform: Sequence[bool]) -> list[str]:
    """What is said of each input; `uniform`: whether its saliency is nearly so."""
    lines = []
    for (name, row), is_uniform in zip(entry["inputs"].items(), uniform, strict=True):
        # One input has the width of a thumbnail.
        line = (
            f"{name.replace('_', ' ')} " * (len(entry["inputs"]) > 1)
            + f"p = {row['probability']:.2f}"
        )
        if row["heat_in_lungs"] is not None:
            line += f", {100 * row['heat_in_lungs']:.0f} % in lungs"
        if row["heat_on_text"] is not None:
            line += f", {100 * row['heat_on_text']:.0f} % on text"
        elif not entry["text_area"]:
            line += ", no text found"
        lines.append(line + ", nearly uniform" * is_uniform)
    return lines
