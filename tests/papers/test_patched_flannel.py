"""Table 3 as it is printed."""

from __future__ import annotations

import numpy as np
import pytest

from jaxcxr.papers.patched_flannel import CLASSES, TABLE_3


@pytest.mark.parametrize(
    ("variant", "learner"), [(v, name) for v, rows in TABLE_3.items() for name in rows]
)
def test_macro_f1_is_the_mean_of_the_classes(variant: str, learner: str) -> None:
    row = TABLE_3[variant][learner]
    mean = np.mean([row[name][0] for name in CLASSES])
    assert row["macro_f1"][0] == pytest.approx(mean, abs=1.01e-4)


def test_all_thirteen_rows_are_there() -> None:
    assert {v: len(rows) for v, rows in TABLE_3.items()} == {"whole_image": 6, "patched": 7}
    assert TABLE_3["whole_image"]["flannel"]["covid19"] == (0.9239, 0.01)
    assert TABLE_3["patched"]["flannel"]["macro_f1"] == (0.8180, 0.01)
