"""Data sets in memory: what `open_dataset` would give, without a builder."""

from __future__ import annotations

import hashlib
import io

import ml_collections
import numpy as np
from PIL import Image

from jaxcxr.data import Dataset


def encode(pixels: np.ndarray, file_format: str = "PNG", **options) -> bytes:
    """[H, W] uint8 or uint16, or [H, W, C] uint8, as an image file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, file_format, **options)
    return buffer.getvalue()


def data_config(folder, **changes) -> ml_collections.ConfigDict:
    """The data section of a config, for the fake builder."""
    fields = {
        "builders": ("tests.data.fake_cxr",),
        "options": {"fake_cxr": {}},
        "data_dir": str(folder),
        "manual_dir": "",
        "classes": ("normal", "covid19"),
        "relabel": (),
        "targets": (),
        "sources": (),
        "patient_key": "patient_id",
        "limit": 0,
        "max_dropped": 0.2,
    }
    return ml_collections.ConfigDict({**fields, **changes})


def make_dataset(
    examples: list[dict[str, bytes]],
    *,
    labels: list[int] | None = None,
    classes: tuple[str, ...] = ("normal", "covid19"),
    patients: list[str] | None = None,
    source: str = "fake",
) -> Dataset:
    """A Dataset of the given encoded examples; ids are x0, x1, ..., one patient each by default."""
    count = len(examples)

    def hashes(name: str) -> np.ndarray:
        return np.array([hashlib.sha256(example[name]).hexdigest() for example in examples])

    masks = [name for name in examples[0] if name.startswith("mask_")]
    ids = np.array([f"x{i}" for i in range(count)])
    return Dataset(
        ids=ids,
        patient_ids=np.array(patients) if patients else ids,
        labels=np.array(labels if labels else [0] * count, np.int32),
        findings=np.array([""] * count),
        views=np.array(["PA"] * count),
        sources=np.array([source] * count),
        age_groups=np.array(["adult"] * count),
        classes=classes,
        image_hashes=hashes("image"),
        mask_hashes={name.removeprefix("mask_"): hashes(name) for name in masks},
        examples=examples,
        rows=np.arange(count),
    )
