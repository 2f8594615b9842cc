"""Data: TFDS builders -> Dataset -> Store (preprocessed arrays) -> folds -> grain batches."""

from jaxcxr.data.builders import (
    PATIENT_KEYS,
    cache_dir,
    label_counts,
    label_map,
    open_dataset,
    output_classes,
    pairs,
    shared_cache_dir,
    target_map,
    with_default_dirs,
)
from jaxcxr.data.dataset import Dataset, sample_patients, subsample_patients
from jaxcxr.data.mask_folder import REPORTED_SHARE, FolderMasks, MaskWriter, writing_masks
from jaxcxr.data.mask_sources import DatasetMasks, MaskSource, lung_ids
from jaxcxr.data.pipeline import eval_batches, train_iterator
from jaxcxr.data.preprocessing import Preprocessing
from jaxcxr.data.splits import Folds, make_folds
from jaxcxr.data.store import Store, build_store

__all__ = [
    "PATIENT_KEYS",
    "REPORTED_SHARE",
    "Dataset",
    "DatasetMasks",
    "FolderMasks",
    "Folds",
    "MaskSource",
    "MaskWriter",
    "Preprocessing",
    "Store",
    "build_store",
    "cache_dir",
    "eval_batches",
    "label_counts",
    "label_map",
    "lung_ids",
    "make_folds",
    "open_dataset",
    "output_classes",
    "pairs",
    "sample_patients",
    "shared_cache_dir",
    "subsample_patients",
    "target_map",
    "train_iterator",
    "with_default_dirs",
    "writing_masks",
]
