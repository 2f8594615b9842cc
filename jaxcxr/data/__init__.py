"""Data: TFDS builders -> Dataset -> Store (preprocessed arrays) -> folds -> grain batches."""

from jaxcxr.data.builders import cache_dir, open_dataset
from jaxcxr.data.dataset import Dataset, limit_patients
from jaxcxr.data.masks import DatasetMasks, FolderMasks, MaskSource
from jaxcxr.data.pipeline import eval_batches, train_iterator
from jaxcxr.data.splits import Folds, make_folds
from jaxcxr.data.store import Store, build_store, preprocess

__all__ = [
    "Dataset",
    "DatasetMasks",
    "FolderMasks",
    "Folds",
    "MaskSource",
    "Store",
    "build_store",
    "cache_dir",
    "eval_batches",
    "limit_patients",
    "make_folds",
    "open_dataset",
    "preprocess",
    "train_iterator",
]
