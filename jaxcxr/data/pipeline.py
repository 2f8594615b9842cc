"""Preprocessed arrays -> batches. One visible grain chain for training, plain slices for eval."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import grain
import numpy as np

from jaxcxr.errors import InputError

Batch = dict[str, np.ndarray]
# A batch of 16 images and masks at 1024 x 1024 takes 32 MB: grain's default of 500 would not fit.
_READ = grain.ReadOptions(num_threads=2, prefetch_buffer_size=4)


def train_iterator(
    arrays: Mapping[str, Any],
    indices: Sequence[int] | np.ndarray,
    *,
    batch_size: int,
    seed: int,
    balance: Literal["none", "class"] = "none",
    labels: np.ndarray | None = None,
    process_index: int = 0,
    process_count: int = 1,
) -> grain.DatasetIterator:
    """Endless batches of the rows `indices`, the same for the same seed.

    Args:
        arrays: name -> [N, ...] array or memmap, e.g. Store.arrays(). {}: batches hold index and
            weight alone, for arrays that are where the rows are gathered; the order and the saved
            position are the same.
        indices: [M] rows to draw from; M may be smaller than batch_size.
        batch_size: of all processes together.
        seed: of the order.
        balance: 'none': every row once per epoch, in a new order each epoch. 'class': each
            draw picks a class uniformly and then one of its rows, with replacement (the
            weighted sampler of Oh's published code).
        labels: [N] int, needed by 'class'.
        process_index: number of this process, which gets its slice of every batch, so that all
            processes together see what a single one would.
        process_count: number of processes.

    Returns:
        Iterator with get_state and set_state (a few bytes: position only, hence exact). Batches
        hold every array's rows plus index int32 [B], its rows, and weight float32 [B], all 1.
    """
    indices = _check(arrays, indices, batch_size, process_index, process_count)
    part = _process_slice(batch_size, process_index, process_count)
    rows = grain.MapDataset.source(indices.tolist()).seed(seed)
    if balance == "class":
        if labels is None:
            raise InputError("balance='class' needs the labels")
        rows = rows.repeat().random_map(_DrawByClass(indices, np.asarray(labels)))
    elif balance == "none":
        rows = rows.shuffle().repeat()
    else:
        raise InputError(f"balance is '{balance}': choose none or class")
    return iter(
        rows.batch(batch_size, drop_remainder=True)
        .map(lambda batch: batch[part])
        .map(lambda batch: gather(arrays, batch))
        .to_iter_dataset(_READ)
    )


class _DrawByClass(grain.transforms.RandomMap):
    """Replaces the element by a row drawn uniformly from a class drawn uniformly."""

    def __init__(self, indices: np.ndarray, labels: np.ndarray):
        classes = np.unique(labels[indices])
        self._rows_of_class = [indices[labels[indices] == number] for number in classes]

    def random_map(self, element: int, rng: np.random.Generator) -> int:  # pyright: ignore
        rows = self._rows_of_class[rng.integers(len(self._rows_of_class))]
        return int(rows[rng.integers(len(rows))])


@dataclasses.dataclass(frozen=True)
class EvalBatches:
    """Batches that can be counted, and read as often as needed; see `eval_batches`."""

    arrays: Mapping[str, Any]
    indices: np.ndarray
    batch_size: int
    part: slice

    def __len__(self) -> int:
        return -(-len(self.indices) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        for start in range(0, len(self.indices), self.batch_size):
            rows = self.indices[start : start + self.batch_size]
            padding = self.batch_size - len(rows)
            weight = np.pad(np.ones(len(rows), np.float32), (0, padding))
            rows = np.pad(rows, (0, padding), mode="edge")
            yield gather(self.arrays, rows[self.part]) | {"weight": weight[self.part]}


def eval_batches(
    arrays: Mapping[str, Any],
    indices: Sequence[int] | np.ndarray,
    *,
    batch_size: int,
    process_index: int = 0,
    process_count: int = 1,
) -> EvalBatches:
    """Every row of `indices` once, in order, in batches of one size.

    The last batch is filled by repeating the last row with weight 0. With several processes all
    get the same number of batches, and batch i of all processes together is batch i of one.
    Arguments and batches are as in `train_iterator`.
    """
    indices = _check(arrays, indices, batch_size, process_index, process_count)
    part = _process_slice(batch_size, process_index, process_count)
    return EvalBatches(arrays, indices, batch_size, part)


def gather(arrays: Mapping[str, Any], rows: np.ndarray) -> Batch:
    """The rows of every array, with index and weight 1."""
    batch = {name: np.asarray(array[rows]) for name, array in arrays.items()}
    return batch | {"index": rows.astype(np.int32), "weight": np.ones(len(rows), np.float32)}


def _process_slice(batch_size: int, process_index: int, process_count: int) -> slice:
    local = batch_size // process_count
    return slice(process_index * local, (process_index + 1) * local)


def _check(
    arrays: Mapping[str, Any],
    indices: Sequence[int] | np.ndarray,
    batch_size: int,
    process_index: int,
    process_count: int,
) -> np.ndarray:
    indices = np.asarray(indices, np.int64)
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise InputError(f"arrays must have one length, but have {lengths}")
    if not len(indices):
        raise InputError("there are no images to read: the split is empty")
    if indices.min() < 0 or any(indices.max() >= length for length in lengths.values()):
        raise InputError(f"indices reach outside the arrays' {lengths} rows")
    if batch_size < 1 or batch_size % process_count:
        raise InputError(
            f"batch_size {batch_size} must be positive and a multiple of the {process_count} "
            "processes"
        )
    if not 0 <= process_index < process_count:
        raise InputError(f"process_index {process_index} of {process_count} processes")
    return indices
