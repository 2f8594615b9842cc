"""The bars of the findings stand where the probabilities are."""

from __future__ import annotations

import numpy as np
import pytest

from jaxcxr.report import finding_bars, plots
from jaxcxr.weights.catalog import CHESTXRAY14

VALUES = np.random.default_rng(0).uniform(size=(2, 14))
IMAGES = {"COVID-19": VALUES[0], "normal": VALUES[1]}


def test_a_panel_for_each_image_and_a_bar_for_each_finding():
    figure = finding_bars.findings(IMAGES, CHESTXRAY14, title="CheXNet")
    for axes, (name, values) in zip(figure.axes, IMAGES.items(), strict=True):
        assert axes.get_title() == name
        np.testing.assert_allclose([bar.get_width() for bar in axes.patches], values)
        assert [text.get_text() for text in axes.texts] == [f"{value:.3f}" for value in values]
        low, high = axes.get_ylim()
        assert low > 13 and high < 0  # the first finding is at the top
    shown = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert shown == [name.replace("_", " ") for name in CHESTXRAY14]


def test_highlighted_findings_have_another_colour():
    (axes, _) = finding_bars.findings(IMAGES, CHESTXRAY14, highlight=("Pneumonia", "Hernia")).axes
    colours = [bar.get_facecolor() for bar in axes.patches]
    assert colours[6] == colours[13] != colours[0]
    assert len(set(colours)) == 2


@pytest.mark.parametrize("images", [IMAGES, {"one": [1.0] * 14}], ids=["two", "one"])
def test_nothing_is_cut_off(images):
    array = plots.to_array(finding_bars.findings(images, CHESTXRAY14))
    assert array.std() > 5
    assert (array[[0, -1]] == 255).all() and (array[:, [0, -1]] == 255).all()


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="no image"):
        finding_bars.findings({}, CHESTXRAY14)
    with pytest.raises(ValueError, match=r"a has \(13,\) probabilities, but there are 14"):
        finding_bars.findings({"a": [0.5] * 13}, CHESTXRAY14)
    with pytest.raises(ValueError, match="probabilities, not logits"):
        finding_bars.findings({"a": [0.5] * 13 + [-2.0]}, CHESTXRAY14)
    with pytest.raises(ValueError, match=r"\['COVID-19'\] is none of the findings"):
        finding_bars.findings(IMAGES, CHESTXRAY14, highlight=("COVID-19",))
