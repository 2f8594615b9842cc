"""CheXNet's findings become one score: closed forms, and the bounds that hold for any
dependence.
"""

from __future__ import annotations

import jax
import numpy as np
import pytest

from jaxcxr.errors import InputError
from jaxcxr.weights.catalog import CHESTXRAY14, TXRV_PATHOLOGIES
from jaxcxr.weights.finding_scores import COMBINATIONS, pneumonia_score

OPACITIES = ("Infiltration", "Pneumonia", "Consolidation")


@pytest.fixture
def probabilities():
    """[5, 14]."""
    return np.random.default_rng(0).uniform(size=(5, 14)).astype(np.float32)


@pytest.mark.parametrize("combination", COMBINATIONS)
def test_one_finding_is_its_own_probability(probabilities, combination):
    score = pneumonia_score(probabilities, CHESTXRAY14, combination=combination)
    np.testing.assert_allclose(score, probabilities[:, 6], rtol=1e-6)


def test_combinations_of_several(probabilities):
    p = probabilities[:, [3, 6, 8]]
    expected = {
        "max": p.max(1),
        "mean": p.mean(1),
        "any": 1 - (1 - p[:, 0]) * (1 - p[:, 1]) * (1 - p[:, 2]),
    }
    for combination, value in expected.items():
        found = pneumonia_score(
            probabilities, CHESTXRAY14, findings=OPACITIES, combination=combination
        )
        np.testing.assert_allclose(found, value, rtol=1e-5, err_msg=combination)


def test_what_they_mean_where_findings_are_independent_and_where_they_are_one():
    """Drawn: max never exceeds the share of images with at least one finding, mean is the share of
    findings.
    """
    rng = np.random.default_rng(0)
    p = np.array([0.2, 0.5, 0.3], np.float32)
    alone = rng.uniform(size=(200_000, 3)) < p
    together = rng.uniform(size=(200_000, 1)) < p
    score = {
        name: float(pneumonia_score(p, OPACITIES, findings=OPACITIES, combination=name))
        for name in COMBINATIONS
    }
    for drawn in (alone, together):
        assert score["max"] <= drawn.any(1).mean() + 0.005
        assert score["mean"] == pytest.approx(drawn.mean(), abs=0.005)
    assert score["any"] == pytest.approx(alone.any(1).mean(), abs=0.005)
    assert score["any"] > together.any(1).mean() + 0.2


def test_extremes_stay_in_range_and_a_finding_named_twice_counts_once():
    p = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 1]], np.float32)
    for combination in ("max", "any"):
        score = pneumonia_score(p, OPACITIES, findings=OPACITIES, combination=combination)
        np.testing.assert_array_equal(score, [0, 1, 1])
    score = pneumonia_score(
        p, OPACITIES, findings=("Infiltration", "Pneumonia", "Infiltration"), combination="mean"
    )
    np.testing.assert_array_equal(score, [0, 0.5, 1])


def test_other_networks_and_shapes_and_under_jit():
    p = np.random.default_rng(1).uniform(size=(2, 3, 18)).astype(np.float32)
    score = jax.jit(lambda p: pneumonia_score(p, TXRV_PATHOLOGIES))(p)
    np.testing.assert_array_equal(score, p[..., 8])


def test_mistakes_are_named(probabilities):
    with pytest.raises(InputError, match="choose some of Atelectasis, .*Hernia"):
        pneumonia_score(probabilities, CHESTXRAY14, findings=("COVID-19",))
    with pytest.raises(InputError, match="choose some of"):
        pneumonia_score(probabilities, CHESTXRAY14, findings=())
    with pytest.raises(InputError, match="'sum' is unknown; known: max, mean, any"):
        pneumonia_score(probabilities, CHESTXRAY14, combination="sum")
    with pytest.raises(AssertionError):
        pneumonia_score(probabilities, TXRV_PATHOLOGIES)
