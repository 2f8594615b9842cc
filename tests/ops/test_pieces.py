"""The largest pieces of masks: by hand, and on the host as within a program."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from jaxcxr.ops.pieces import largest_pieces, largest_pieces_in_program
from tests.models.variables import quick_jit

TEXT = """
11..2
.1.2.
3...1
22..1
"""
IDS = np.array([[".123".index(c) for c in row] for row in TEXT.split()], np.uint8)[None]


def drawn(ids):
    return "\n".join("".join(".123"[c] for c in row) for row in ids)


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        # Corners connect nothing; of the single pixels of 2 the first is kept, if any.
        (1, "11...\n.1...\n3....\n22..."),
        (2, "11..2\n.1...\n3...1\n22..1"),
        (3, "11..2\n.1.2.\n3...1\n22..1"),
        (9, "11..2\n.1.2.\n3...1\n22..1"),
    ],
)
def test_the_largest_pieces_of_each_structure_stay(count, expected):
    before = IDS.copy()
    assert drawn(largest_pieces(IDS, count)[0]) == expected
    np.testing.assert_array_equal(IDS, before)


@pytest.mark.parametrize("count", [1, 2])
def test_a_program_finds_the_same_pieces(count):
    rng = np.random.default_rng(0)
    ids = rng.choice(np.array([0, 1, 2], np.uint8), (60, 12, 9), p=[0.4, 0.4, 0.2])
    ids[0], ids[1] = 0, 1
    # A snake, along which a label has far to go.
    ids[2] = 1
    ids[2, 1::4, :-1] = ids[2, 3::4, 1:] = 0
    expected = largest_pieces(ids, count)
    assert (expected != ids).any(axis=(1, 2)).sum() > 50
    found = quick_jit(jax.vmap(lambda m: largest_pieces_in_program(m, count, structures=2)))(ids)
    np.testing.assert_array_equal(found, expected)


def test_masks_of_lungs_lose_the_pieces_that_are_none():
    lungs = np.zeros((1, 64, 64), np.uint8)
    lungs[0, 10:50, 8:28] = lungs[0, 10:50, 36:56] = 1
    stray = lungs.copy()
    stray[0, 58:62, 20:40] = 1
    np.testing.assert_array_equal(largest_pieces(stray, 2), lungs)
