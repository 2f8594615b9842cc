"""How far the source of an image gives its class away."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from jaxcxr.data.drawn import DRAWN
from jaxcxr.report.confounding import confounding, normalised_mutual_information, too_few
from tests.report import fakes


def test_one_where_one_determines_the_other_zero_where_independent() -> None:
    assert normalised_mutual_information([0, 0, 1, 2], ["a", "a", "b", "b"]) == pytest.approx(1.0)
    assert normalised_mutual_information([0, 1, 0, 1], ["a", "a", "b", "b"]) == pytest.approx(0.0)
    assert normalised_mutual_information([0, 1], ["a", "a"]) is None


def test_the_papers_own_table_2_is_confounded() -> None:
    counts = np.array([[478, 16, 42, 18], [0, 1493, 2780, 1583]])  # CCX, KCX
    sources, classes = np.repeat(np.indices((2, 4)).reshape(2, -1), counts.ravel(), axis=1)
    assert normalised_mutual_information(classes, sources) == pytest.approx(0.785, abs=5e-4)


def test_drawn_x_rays_are_called_so_first_and_real_ones_beside_them_are_not() -> None:
    made = fakes.predictions()
    drawn = dataclasses.replace(made, extra={**made.extra, "source": np.full(len(made), "phantom")})
    assert confounding([drawn])[1][0] == DRAWN
    some = np.where(np.arange(len(made)) % 2, "phantom", "ccx")
    mixed = dataclasses.replace(made, extra={**made.extra, "source": some})
    assert DRAWN not in confounding([mixed])[1]


def test_a_confounded_source_is_warned_of_and_counted() -> None:
    found, warnings, left_out = confounding([fakes.predictions(confounded=True)])
    assert found["source"]["normalised_mutual_information"] == pytest.approx(1.0)
    assert found["source"]["counts"]["ccx"] == {
        "covid19": 20,
        "viral": 0,
        "bacterial": 0,
        "normal": 0,
    }
    assert len(warnings) == 1
    assert "Class and source are confounded" in warnings[0]
    assert "COVID-19 only from ccx" in warnings[0]
    assert left_out == []


def test_balanced_sources_are_no_warning_and_images_count_once_over_folds() -> None:
    found, warnings, _ = confounding([fakes.predictions(fold=k) for k in range(3)])
    assert warnings == []
    assert found["source"]["images"] == 3 * 40 + 40


def test_missing_sources_are_said_not_guessed() -> None:
    found, warnings, left_out = confounding([fakes.predictions(sources=False)])
    assert (found, warnings) == ({}, [])
    assert [line.split(":")[0] for line in left_out] == [
        "Confounding of class and source",
        "Confounding of class and age group",
    ]


def test_the_counts_of_a_run_take_the_place_of_its_predicted_images() -> None:
    counts = {
        "ccx": {"covid19": 200, "viral": 0, "bacterial": 0, "normal": 0},
        "kcx": {"covid19": 0, "viral": 100, "bacterial": 90, "normal": 80},
        "": {"covid19": 5, "viral": 0, "bacterial": 0, "normal": 0},
    }
    found, [warning], _ = confounding([fakes.predictions()], {"source": counts})
    assert (found["source"]["images"], found["source"]["images_without"]) == (470, 5)
    assert found["source"]["coverage"]["covid19"] == {"known": 200, "images": 205}
    assert "" not in found["source"]["counts"]
    assert "470 of 475 images have a known source." in warning


def test_no_warning_rests_on_a_class_of_which_next_to_nothing_is_known() -> None:
    row = {"bacterial": 0, "normal": 0}
    counts = {
        "adult": {"covid19": 3, "viral": 0, **row},
        "paediatric": {"covid19": 0, "viral": 45, **row},
        "": {"covid19": 42, "viral": 0, "bacterial": 0, "normal": 45},
    }
    found, warnings, _ = confounding([fakes.predictions()], {"age_group": counts})
    facts = found["age_group"]
    assert facts["normalised_mutual_information"] == pytest.approx(1.0)
    assert warnings == []
    assert too_few(facts) == {"covid19": (3, 45), "normal": (0, 45)}
    counts[""]["covid19"] = counts[""]["normal"] = 0  # all there are is not too few
    found, warnings, _ = confounding([fakes.predictions()], {"age_group": counts})
    assert too_few(found["age_group"]) == {}
    assert len(warnings) == 1
