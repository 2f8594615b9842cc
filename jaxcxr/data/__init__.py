"""Data: TFDS builders -> Dataset -> Store (preprocessed arrays) -> folds -> grain batches."""

from jaxcxr.data.builders import (
    PATIENT_KEYS,
    cache_dir,
    label_counts,
    learned_classes,
    open_dataset,
    relabelling,
    shared_cache_dir,
    targets,
    where_given,
)
from jaxcxr.data.dataset import Dataset, draw_patients, limit_patients
from jaxcxr.data.mask_folder import FolderMasks, MaskWriter, writing_masks
from jaxcxr.data.masks import DatasetMasks, MaskSource, lung_ids
from jaxcxr.data.pipeline import eval_batches, train_iterator
from jaxcxr.data.preprocessing import Preprocessing
from jaxcxr.data.splits import Folds, make_folds
from jaxcxr.data.store import Store, build_store

__all__ = [
    "PATIENT_KEYS",
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
    "draw_patients",
    "eval_batches",
    "label_counts",
    "learned_classes",
    "limit_patients",
    "lung_ids",
    "make_folds",
    "open_dataset",
    "relabelling",
    "shared_cache_dir",
    "targets",
    "train_iterator",
    "where_given",
    "writing_masks",
]
