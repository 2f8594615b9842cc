"""Which training images are drawn before a training."""

from __future__ import annotations

import numpy as np
import pytest

from jaxcxr.commands.training_pictures import spread


@pytest.mark.parametrize(
    ("rows", "count", "chosen"),
    [
        (range(10), 1, [5]),
        (range(12), 3, [2, 6, 10]),
        ([7, 3, 5], 6, [3, 5, 7]),
        ([], 6, []),
    ],
)
def test_rows_are_spread_over_all_that_there_are(rows, count, chosen):
    assert spread(np.array(list(rows), int), count=count).tolist() == chosen


def test_every_collection_has_its_share():
    source = np.repeat(["a", "b"], [20, 200])  # pooled one after the other
    drawn = source[spread(np.arange(220), count=6)]
    assert (drawn == "b").sum() >= 5
