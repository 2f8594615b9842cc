"""Lung masks of every image of a data set, found by a segmenter.

`predict` of a segment run keeps them in its folder. Those of the ready-made segmenter lie beside
the prepared images, for every run that reads the data set.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict
from tqdm import tqdm

from jaxcxr import data, parallel, weights
from jaxcxr.data import derived
from jaxcxr.data import store as store_code
from jaxcxr.inference.image_store import open_store
from jaxcxr.inference.predictor import Lungs, Predictor
from jaxcxr.tasks import segment

# Part of the cache key: raise it whenever the ready-made segmenter finds other lungs in the same
# images with the same weights.
CODE_VERSION = 1
MADE_WITH = ("structure", "threshold", "largest_pieces")  # of `predict`


def open_images(
    segmenter: Predictor, section: ConfigDict, *, field: str, dataset: data.Dataset | None = None
) -> data.Store:
    """The images of a data section, prepared as the segmenter's own.

    `field` is its name; `dataset` has the images where not all of it are wanted.
    """
    section = section.copy_and_resolve_references()
    for name in data.Preprocessing.fields():
        section[name] = segmenter.config.data[name]
    return open_store(section, masks=None, dataset=dataset, field=field)


def find(segmenter: Predictor, store: data.Store) -> Iterator[tuple[int, Lungs]]:
    """Row of each image and its lungs; the predictions of all processes together."""
    rows = np.arange(len(store))
    with tqdm(
        total=len(store), desc="masks", unit="image", disable=not parallel.is_main()
    ) as progress:
        for prediction in segmenter.rows({"image": store.images}, rows):
            lungs = segmenter.lungs(prediction)
            yield from zip(prediction["index"].tolist(), lungs, strict=True)
            progress.update(len(lungs))


def made_with(segmenter: Predictor) -> dict[str, Any]:
    """The fields that make masks of a segmenter's output, with the structure that '' stands for."""
    fields = {name: segmenter.config.predict[name] for name in MADE_WITH}
    return fields | {"structure": segment.wanted_structure(segmenter.config)}


def left_out_note(names: Sequence[str], segmenter: Predictor) -> str:
    """A sentence on the images of which pieces were left out."""
    shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    count = segmenter.config.predict.largest_pieces
    return (
        f"in {len(names)} images the pieces left out (predict.largest_pieces={count}) hold more "
        f"than {data.REPORTED_SHARE:.0%} of the lung pixels found: {shown}"
    )


def ready(segmenter: Predictor, section: ConfigDict) -> Path:
    """The folder of the ready-made segmenter's masks of a data section, as `FolderMasks` reads it.

    They are found once for a set of images, and kept beside the prepared ones under a hash of
    these, weights and settings. Which version of JAX found them is no part of it: a run that is
    resumed after an upgrade of JAX keeps the masks that it began with.

    Args:
        segmenter: `Predictor.ready()`.
        section: the data section.

    Raises:
        InputError: an image cannot be read, the weights are damaged, or the disk is full.
    """
    store = open_images(segmenter, section, field="data")
    key = derived.key(_made_of(segmenter, store))
    folder, shared = (
        place(section).with_name("lungs") / key for place in (data.cache_dir, data.shared_cache_dir)
    )
    if shared != folder and derived.is_intact(shared):  # where only others can write
        folder = shared
    # All processes predict together, so they must want it together.
    if parallel.agree(not derived.is_intact(folder)):
        if parallel.is_main():
            print(
                f"finding the lungs of {len(store)} images with {segmenter.origin}, the ready-made "
                "segmenter",
                flush=True,
            )
        # As bits, since all are found before the first is written: one process alone writes, and
        # may find that another run has been faster.
        found = [
            (row, np.packbits(lungs.mask), lungs.left_out_share)
            for row, lungs in find(segmenter, store)
        ]
        shape = store.images.shape[1:3]

        def write(temporary: Path) -> Mapping[str, Any]:
            with data.writing_masks(
                temporary,
                store.dataset,
                masked_images=False,
                bad_images=list(store.bad_ids),
                made_with=made_with(segmenter),
            ) as writer:
                for row, bits, left_out_share in found:
                    lungs = np.unpackbits(bits, count=shape[0] * shape[1])
                    mask = lungs.reshape(shape).astype(bool)
                    writer.write(row, mask, left_out_share=left_out_share)
            if writer.left_out:
                print(left_out_note(writer.left_out, segmenter), flush=True)
            return {"segmenter": segmenter.origin, "empty": writer.empty}

        try:
            if parallel.is_main():
                derived.make(folder, write, what="lung masks")
        finally:
            # Also after an error, which the others then meet themselves.
            parallel.barrier("lungs")
        if not parallel.is_main():  # on another disk; else they are there
            derived.make(folder, write, what="lung masks")
    elif parallel.is_main():
        print(f"lungs of {len(store)} images by {segmenter.origin}: found in {folder}", flush=True)
    return folder


def fingerprint(segmenter: Predictor) -> str:
    """SHA-256 of what the ready-made segmenter's lungs follow from, the images left out."""
    return derived.key(_identity(segmenter))


def _made_of(segmenter: Predictor, store: data.Store) -> dict[str, Any]:
    """What the masks follow from; no labels or patients, which other runs may read otherwise."""
    images = [store.dataset.ids.tolist(), store.dataset.image_hashes.tolist()]
    return {"images": images, **_identity(segmenter)}


def _identity(segmenter: Predictor) -> dict[str, Any]:
    """What else the segmenter's config has is of its training, or raises CODE_VERSION."""
    c = segmenter.config
    return {
        "code_version": [CODE_VERSION, store_code.CODE_VERSION],
        "preprocessing": data.Preprocessing.of(c.data).to_json(),
        "weights": weights.CATALOG[c.model.pretrained].sha256,
        "network": [c.model.name, c.model.width, c.model.depth],
        "structures": list(c.masks.structures),
        "made_with": made_with(segmenter),
    }
