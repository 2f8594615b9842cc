"""The largest connected pieces of each structure in a mask.

Lungs are two pieces unless disease divides one; a segmenter that takes gas in the bowel for lung
draws more. Pixels are connected where they share an edge and a structure. Of equally large pieces
the one that begins further above is kept.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from scipy import ndimage


def largest_pieces(ids: np.ndarray, count: int) -> np.ndarray:
    """Masks with the largest pieces of each structure alone, found on the host.

    Args:
        ids: [B, H, W] integers, 0 background.
        count: of each structure, as many pieces as are kept, at least 1.

    Returns:
        [B, H, W] of the type of `ids`, 0 in the other pieces.
    """
    result = ids.copy()
    for mask, kept in zip(ids, result, strict=True):
        for number in np.unique(mask[mask > 0]):
            labels, found = ndimage.label(mask == number)  # pyright: ignore[reportGeneralTypeIssues]
            if found > count:
                areas = np.bincount(labels.ravel())[1:]
                largest = np.argsort(-areas, kind="stable")[:count] + 1
                kept[(labels > 0) & ~np.isin(labels, largest)] = 0
    return result


def largest_pieces_in_program(ids: jax.Array, count: int, *, structures: int) -> jax.Array:
    """`largest_pieces` of one mask [H, W] within a program, slower; `structures`: their number."""
    labels = _labels(ids)
    areas = jnp.zeros(ids.size, jnp.int32).at[labels.ravel()].add(1)
    keep = ids == 0
    for number in range(1, structures + 1):
        # A piece's label is the place of its first pixel, which says its structure.
        sizes = jnp.where(ids.ravel() == number, areas, 0)
        largest = jax.lax.top_k(sizes, min(count, ids.size))[1]
        keep |= (ids == number) & jnp.isin(labels, largest)
    return jnp.where(keep, ids, 0)


def _labels(ids: jax.Array) -> jax.Array:
    """[H, W], the place of the first pixel, row by row, of each pixel's piece."""
    labels = jnp.arange(ids.size).reshape(ids.shape)

    def spread(labels: jax.Array) -> jax.Array:
        for axis in (0, 1):
            differs = jnp.diff(ids, axis=axis) != 0
            for reverse in (False, True):
                sides = [(0, 0), (0, 0)]
                sides[axis] = (0, 1) if reverse else (1, 0)
                begins = jnp.pad(differs, sides, constant_values=True)
                labels = jax.lax.associative_scan(
                    _least_of_a_run, (labels, begins), axis=axis, reverse=reverse
                )[0]
        return labels

    def go_on(state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        return spread(state[0]), state[0]

    first = (spread(labels), labels)
    return jax.lax.while_loop(lambda s: (s[0] != s[1]).any(), go_on, first)[0]


def _least_of_a_run(
    before: tuple[jax.Array, jax.Array], here: tuple[jax.Array, jax.Array]
) -> tuple[jax.Array, jax.Array]:
    """The running minimum, which restarts where the second is true."""
    (a, a_begins), (b, b_begins) = before, here
    return jnp.where(b_begins, b, jnp.minimum(a, b)), a_begins | b_begins
