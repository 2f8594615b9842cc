"""The preprocessed images of a data section, opened by all processes of a run."""

from __future__ import annotations

from ml_collections import ConfigDict

from jaxcxr import data, parallel
from jaxcxr.data import dropped


def open_store(
    section: ConfigDict,
    *,
    masks: data.MaskSource | None,
    dataset: data.Dataset | None = None,
    field: str = "data",
) -> data.Store:
    """The preprocessed images of a data section.

    Only process 0 prepares, the others wait for it.

    Args:
        section: says which images, and what becomes of their pixels.
        masks: the source of masks; None: no masks.
        dataset: the images, where the section is open already or not all are wanted.
        field: the section's name, for messages.
    """

    def build() -> data.Store:
        images = data.open_dataset(section) if dataset is None else dataset
        if parallel.is_main():
            dropped.print_once(images.dropped, images.notices)
        return data.build_store(
            images,
            data.Preprocessing.of(section),
            masks=masks,
            cache_dir=data.cache_dir(section),
            shared_dir=data.shared_cache_dir(section),
            max_bad_images=section.max_bad_images,
            field=field,
        )

    if not parallel.is_main():
        parallel.barrier("store")
        return build()
    try:
        return build()
    finally:
        # Also after an error, which the others then meet themselves instead of waiting forever.
        parallel.barrier("store")
