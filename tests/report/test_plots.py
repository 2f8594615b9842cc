"""Every figure decodes to its size, and refuses what it cannot show."""

from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from jaxcxr.report import plots

ROWS = [
    {"step": 1, "train/loss": 1.4, "train/learning_rate": 1e-3},
    {"step": 2, "train/loss": 1.0, "valid/loss": 1.1, "valid/macro_f1": 0.5},
]


def disc() -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.mgrid[:64, :48]
    mask = (rows - 32) ** 2 + (columns - 24) ** 2 < 200
    return (rows * 3).astype(np.uint8), mask.astype(np.uint8)


FIGURES = {
    "confusion_matrix": lambda: plots.confusion_matrix(np.array([[5, 1], [0, 0]]), ["a", "b"]),
    "a long title": lambda: plots.confusion_matrix(
        np.array([[5, 1], [0, 0]]),
        ["a", "b"],
        title="covid_cxnet, fold 0: external test set qatar_radiography",
    ),
    "curves": lambda: plots.curves(ROWS),
    "class_counts": lambda: plots.class_counts(
        {"train": {"a": 5, "b": 3}, "test": {"a": 1, "b": 0}}
    ),
    "mask_overlay": lambda: plots.mask_overlay(
        *disc(), boxes=[(8, 4, 16), (30, 20, 16)], title="x"
    ),
    "class_samples": lambda: plots.class_samples(
        {"normal": np.random.default_rng(0).random((5, 8, 6)), "covid19": np.ones((2, 8, 6))}
    ),
    "learners": lambda: plots.learners(
        {"whole image": {"A": (0.8, 0.01)}, "patched": {"A": (0.7, None), "B": (0.6, 0.1)}},
        published={"patched": {"A": 0.75}},
    ),
}


@pytest.mark.parametrize("name", FIGURES)
def test_png_and_array_hold_the_same_picture(name: str) -> None:
    figure = FIGURES[name]()
    width, height = (figure.get_size_inches() * figure.dpi).astype(int)
    array = plots.to_array(figure)
    png = plots.to_png(figure)
    assert png == plots.to_png(FIGURES[name]())  # no date, no state
    picture = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
    assert picture.shape == array.shape == (height, width, 3)
    assert array.dtype == np.uint8
    np.testing.assert_array_equal(picture, array)
    assert array.std() > 5  # something is drawn
    assert (array[[0, -1]] == 255).all() and (array[:, [0, -1]] == 255).all()  # nothing is cut off


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_confusion_matrix_shows_counts_and_row_shares() -> None:
    figure = plots.confusion_matrix(np.array([[30, 10], [0, 1234]]), ["a", "b"])
    assert texts(figure) == ["30", "75 %", "10", "25 %", "0", "0 %", "1,234", "100 %"]


def test_curves_have_a_panel_for_each_kind_that_was_logged() -> None:
    assert [a.get_ylabel() for a in plots.curves(ROWS).axes] == ["Loss", "Score", "Learning rate"]
    assert [a.get_ylabel() for a in plots.curves(ROWS[:1]).axes] == ["Loss", "Learning rate"]
    many = [{"step": 1, **{f"valid/f1_{i}": 0.5 for i in range(10)}, "valid/macro_f1": 0.4}]
    (axes,) = plots.curves(many).axes
    assert axes.get_ylabel() == "Score (6 of 11 lines)"
    assert axes.lines[0].get_label() == "Validation macro-F1"
    with pytest.raises(ValueError, match="nothing to draw"):
        plots.curves([{"step": 1, "images_per_second": 3.0}])


def test_a_split_has_one_colour_in_all_panels_and_in_the_class_counts() -> None:
    figure = plots.curves(
        [{**ROWS[0], "valid/loss": 1.2, "valid/macro_f1": 0.4}, {**ROWS[1], "valid/accuracy": 0.4}],
        steps_per_epoch=5,
    )
    colours = {
        line.get_label(): to_hex(line.get_color()) for axes in figure.axes for line in axes.lines
    }
    assert colours["Training loss"] == plots.ORANGE.lower()
    assert colours["Validation loss"] == plots.BLUE.lower()
    assert colours["Validation accuracy"] == plots.BLUE.lower()
    assert {axes.get_xlabel() for axes in figure.axes} == {"Step (5 an epoch)"}
    assert [axes.get_xticks().tolist() for axes in figure.axes] == [[1, 2]] * 3  # evaluations
    counts = plots.class_counts({"training": {"a": 5, "b": 0}, "validation": {"a": 1, "b": 2}})
    bars = [to_hex(bars.patches[0].get_facecolor()) for bars in counts.axes[0].containers]
    assert bars == [plots.ORANGE.lower(), plots.BLUE.lower()]
    assert "0" not in texts(counts)


def test_the_loss_of_equal_probabilities_is_drawn_beside_a_classifiers() -> None:
    rows = [{"step": n, "train/loss": 2.0 / n, "valid/accuracy": 0.5} for n in (1, 2, 3)]
    loss, score = plots.curves(rows, classes=4).axes
    assert "equal probabilities: 1.39" in [line.get_label() for line in loss.get_lines()]
    assert not [line for line in score.get_lines() if "equal" in str(line.get_label())]
    [loss, _] = plots.curves(rows).axes
    assert not [line for line in loss.get_lines() if "equal" in str(line.get_label())]


def test_curves_draw_a_mean_over_one_class_once_and_lines_of_one_split_apart() -> None:
    rows = [
        {"step": s, "valid/jaccard": 0.1 * s, "valid/jaccard_lung": 0.1 * s, "valid/dice": 0.9}
        for s in (1, 2)
    ]
    (axes,) = plots.curves(rows).axes
    assert {line.get_label() for line in axes.lines} == {"Validation Dice", "Validation Jaccard"}
    assert len({(line.get_linestyle(), line.get_marker()) for line in axes.lines}) == 2
    other = [{**row, "valid/jaccard_lung": 0.3} for row in rows]
    assert len(plots.curves(other).axes[0].lines) == 3


def test_a_learning_rate_that_ends_at_zero_is_drawn_on_a_linear_axis() -> None:
    for last, scale in ((1e-9, "linear"), (1e-5, "log")):
        rows = [{"step": 1, "train/learning_rate": 1e-3}, {"step": 2, "train/learning_rate": last}]
        assert plots.curves(rows).axes[0].get_yscale() == scale


def test_overlay_draws_each_box_and_needs_no_mask() -> None:
    image, mask = disc()
    figure = plots.mask_overlay(image, mask, boxes=[(8, 4, 16), (30, 20, 16)])
    corners = [box.get_extents() for box in figure.axes[0].patches]
    in_pixels = [figure.axes[0].transData.inverted().transform(c.get_points()) for c in corners]
    np.testing.assert_allclose(in_pixels[0], [[3.5, 23.5], [19.5, 7.5]])
    np.testing.assert_allclose(in_pixels[1], [[19.5, 45.5], [35.5, 29.5]])
    assert not plots.mask_overlay(image, None).legends
    with pytest.raises(ValueError, match=r"\[H, W\]"):
        plots.mask_overlay(image, mask[1:])


def test_each_structure_has_its_own_outline_and_name() -> None:
    ids = np.zeros((64, 48), np.uint8)
    ids[8:30, 4:20], ids[20:40, 18:30] = 2, 1
    ids[50:, :] = 255  # ignored: neither
    figure = plots.mask_overlay(np.zeros(ids.shape), ids, structures=("heart", "lung", "left_lung"))
    [legend] = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["heart outline", "lung outline"]
    heart, lungs = figure.axes[0].collections
    assert heart.get_datalim(figure.axes[0].transData).y1 == 39.5
    assert lungs.get_datalim(figure.axes[0].transData).y1 == 29.5
    assert not np.array_equal(heart.get_edgecolor(), lungs.get_edgecolor())


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="2 classes"):
        plots.confusion_matrix(np.zeros((3, 3)), ["a", "b"])
    for images in ({}, {"a": np.zeros((0, 8, 8))}, {"a": np.zeros((8, 8))}):
        with pytest.raises(ValueError, match=r"\[n, H, W\]"):
            plots.class_samples(images)
    with pytest.raises(ValueError, match="one size"):
        plots.class_samples({"a": np.zeros((1, 8, 8)), "b": np.zeros((1, 8, 9))})


def test_each_class_has_its_row_of_images() -> None:
    images = {"a": np.stack([np.full((4, 4), v) for v in (1, 2, 3)]), "b": np.full((1, 4, 4), 9)}
    [axes] = plots.class_samples(images).axes
    sheet = np.asarray(axes.images[0].get_array())
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]
    assert sheet.shape == (4 + 1 + 4, 4 + 1 + 4 + 1 + 4)
    assert [sheet[0, 0], sheet[3, 5], sheet[0, 10], sheet[5, 3]] == [1, 2, 3, 9]
    assert np.ma.getmaskarray(axes.images[0].get_array())[5:, 5:].all()  # nothing to show there
