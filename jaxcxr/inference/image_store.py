"""The preprocessed images of a data section, opened by all processes of a run."""

from __future__ import annotations

from ml_collections import ConfigDict

from jaxcxr import data, parallel
from jaxcxr.data import dropped


def open_store(section: ConfigDict, *, masks: data.MaskSource | None) -> data.Store:
    """The preprocessed images of a data section.

    Only process 0 prepares, the others wait for it.
    """

    def build() -> data.Store:
        dataset = data.open_dataset(section)
        if parallel.is_main():
            dropped.print_once(dataset.dropped, dataset.notices)
        return data.build_store(
            dataset,
            data.Preprocessing.of(section),
            masks=masks,
            cache_dir=data.cache_dir(section),
            shared_dir=data.shared_cache_dir(section),
            max_bad_images=section.max_bad_images,
        )

    if not parallel.is_main():
        parallel.barrier("store")
        return build()
    try:
        return build()
    finally:
        # Also after an error, which the others then meet themselves instead of waiting forever.
        parallel.barrier("store")
