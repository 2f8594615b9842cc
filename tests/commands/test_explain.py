"""`--config.run=explain` on a trained run."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from jaxcxr.commands import explain, explain_album, train
from jaxcxr.errors import InputError
from jaxcxr.explain.occlusion import corners
from jaxcxr.report import saliency_overlays
from jaxcxr.report.plots import to_array  # itself: runs are tested without drawing
from jaxcxr.storage.files import read_json
from jaxcxr.storage.predictions import Predictions
from tests import tiny

SIDE = 48


@pytest.fixture(scope="module", params=[True, False], ids=["patches", "whole image"])
def trained(request, tmp_path_factory):
    """(fields of the config, its run folder)."""
    fields = {"patched": request.param, "explain__per_class": 2}
    folder = tmp_path_factory.mktemp("run")
    train.run(tiny.learner(**fields), folder)
    return fields, folder


def run(trained, **changes):
    """Explains; returns (index.json, the folder `explain/`)."""
    fields, folder = trained
    explain.run(tiny.learner(**{**fields, **changes}), folder)
    return read_json(folder / "explain" / "index.json"), folder / "explain"


@pytest.fixture
def drawn(monkeypatch):
    """(panels, captions) of every X-ray's own picture, in their order."""
    seen = []
    draw = saliency_overlays.picture

    def spy(panels, captions, **options):
        seen.append((panels, captions))
        return draw(panels, captions, **options)

    monkeypatch.setattr(saliency_overlays, "picture", spy)
    return seen


@pytest.mark.smoke
def test_heat_maps_of_some_test_images_of_each_class(trained, capsys):
    fields, folder = trained
    finished = read_json(folder / "finished.json")
    index, written = run(trained)
    assert read_json(folder / "finished.json") == finished
    predictions = Predictions.load(folder / "predictions.npz").select("test")
    row_of = {name: n for n, name in enumerate(predictions.ids.tolist())}
    assert index["images"]
    for entry in index["images"]:
        assert entry["picture"] == f"{entry['id']}.png"
        row = row_of[entry["id"]]
        seen = entry["inputs"]["original"]
        assert entry["label"] == predictions.classes[predictions.labels[row]]
        assert entry["explained"] == predictions.classes[predictions.probabilities[row].argmax()]
        np.testing.assert_allclose(
            seen["probability"], predictions.probabilities[row].max(), atol=1e-5
        )
        # The predicted class is explained.
        assert seen["right"] == float(entry["explained"] == entry["label"])
        assert seen["heat_in_lungs"] is None or 0 <= seen["heat_in_lungs"] <= 1
        assert (seen["heat_on_text"] is None) or entry["text_area"] > 0
        assert 0.05 < entry["lung_area"] < 0.6
        with Image.open(written / f"{entry['id']}.png") as picture:
            assert picture.mode == "RGB"
        assert (written / "votes" / f"{entry['id']}.png").exists() == fields["patched"]
    for name, row in index["classes"].items():
        of_class = [entry for entry in index["images"] if entry["label"] == name]
        assert (
            row["images"]
            == len(of_class)
            == min(2, (predictions.labels == predictions.classes.index(name)).sum())
        )
        shares = [entry["inputs"]["original"]["heat_in_lungs"] for entry in of_class]
        hot = [entry["inputs"]["original"]["with_heat"] for entry in of_class]
        assert hot == [float(share is not None) for share in shares]
        assert row["inputs"]["original"]["with_heat"] == pytest.approx(np.mean(hot))
        known = [share for share in shares if share is not None]
        assert row["inputs"]["original"]["heat_in_lungs"] == (
            pytest.approx(np.mean(known)) if known else None
        )
        assert (written / f"sheet_{name}.png").exists()
    # One block of a ResNet on 32 pixels: its only maps of 4 x 4 places or more.
    assert index["layer"] == {"name": "layer1", "height": 8, "width": 8, "channels": 6}
    printed = capsys.readouterr().out
    assert "Grad-CAM, plain, on layer1: feature map of 8 x 8" in printed
    assert "fractions of the saliency in lungs" in printed
    assert printed.endswith("Research use only. Not for diagnosis.\n")
    assert f"{len(index['classes'])} contact sheets" in printed


@pytest.mark.parametrize("masks", ["as the run", "none"])
def test_every_picture_has_the_outline_of_the_lungs_where_there_are_masks(
    trained, monkeypatch, masks
):
    """Also that of the votes; a whole-image run whose masks are none draws nothing."""
    changes = {}
    if masks == "none":
        if trained[0]["patched"]:
            pytest.skip("patches need masks")
        changes = {"masks__source": "none", "explain__masks__source": "none"}
    outlined = []
    draw = saliency_overlays.picture

    def spy(panels, captions, **options):
        figure = draw(panels, captions, **options)
        pixels = to_array(figure).astype(int)[100:500, 20:420]  # inside the panel
        # The line's colour is blue; those of saliency and X-rays are not.
        blue = (pixels[..., 2] - pixels[..., 0] > 80).sum()
        outlined.append((blue, bool(options["lungs"].any())))
        return figure

    monkeypatch.setattr(saliency_overlays, "picture", spy)
    index, _ = run(trained, explain__per_class=1, **changes)
    assert len(outlined) == len(index["images"]) * (1 + trained[0]["patched"])
    for blue, known in outlined:
        assert known == (not changes)
        assert (blue > 300) == known


def test_images_need_not_be_square(tmp_path, drawn):
    """V7's are cut by 10 pixels on three sides."""
    fields = {
        "patched": False,
        "data__cut": (4, 4, 0, 12),
        "patches__size": 0,
        "explain__per_class": 1,
    }
    train.run(tiny.learner(**fields), tmp_path)
    for method in ("gradcam", "occlusion", "lime"):
        index, written = run((fields, tmp_path), explain__method=method, explain__lime__samples=8)
        assert index["settings"]["method"] == method
        assert len(index["images"]) == 4
        for entry in index["images"]:
            assert (written / f"{entry['id']}.png").exists()
        assert len(drawn) == 4
        assert {panels[0].shape for panels, _ in drawn} == {(SIDE - 4, SIDE - 16, 3)}
        drawn.clear()


def test_inputs_stand_side_by_side(trained, drawn):
    names = ("original", "text_masked", "lung_masked")
    alone, _ = run(trained)
    drawn.clear()
    index, written = run(trained, explain__inputs=names)
    for before, entry in zip(alone["images"], index["images"], strict=True):
        assert list(entry["inputs"]) == list(names)
        assert entry["explained"] == before["explained"]
        found, expected = entry["inputs"]["original"], before["inputs"]["original"]
        assert found["probability"] == pytest.approx(expected["probability"], abs=1e-5)
        if entry["text_area"] == 0:
            assert entry["inputs"]["text_masked"]["probability"] == pytest.approx(
                found["probability"], abs=1e-5
            )
        assert (written / f"{entry['id']}.png").exists()
    # Votes have pictures of their own.
    for panels, captions in drawn:
        assert [panel.shape for panel in panels] == [(SIDE, SIDE, 3)] * 3
        assert [c.partition(" p = ")[0] for c in captions] == [n.replace("_", " ") for n in names]
    lung_masked = [e["inputs"]["lung_masked"]["probability"] for e in index["images"]]
    original = [e["inputs"]["original"]["probability"] for e in index["images"]]
    if trained[0]["patched"]:  # its patches are masked already
        np.testing.assert_allclose(lung_masked, original, atol=1e-5)
    else:
        assert np.abs(np.subtract(lung_masked, original)).max() > 1e-3
    for row in index["classes"].values():
        assert list(row["inputs"]) == list(names)


@pytest.mark.parametrize("of", ["predicted", "true"])
def test_occlusion_covers_squares_of_the_image(trained, of):
    index, written = run(
        trained, explain__method="occlusion", explain__of=of, explain__per_class=1,
        explain__occlusion__size=0.25, explain__occlusion__stride=0.25,
    )  # fmt: skip
    patches = 2 if trained[0]["patched"] else 1
    images, squares = len(index["images"]), len(corners((SIDE, SIDE), size=12, stride=12))
    assert index["forward_passes"] == images * (squares + 2) * patches
    assert index["layer"] is None
    predictions = Predictions.load(trained[1] / "predictions.npz").select("test")
    for entry in index["images"]:
        row = predictions.ids.tolist().index(entry["id"])
        wanted = (
            predictions.labels[row] if of == "true" else predictions.probabilities[row].argmax()
        )
        assert entry["explained"] == predictions.classes[wanted]
        found = entry["inputs"]["original"]["probability"]
        np.testing.assert_allclose(found, predictions.probabilities[row, wanted], atol=1e-5)
    assert not (written / "votes").exists()


def test_lime_shows_superpixels(trained, drawn, capsys):
    index, _ = run(
        trained, explain__method="lime", explain__per_class=1, explain__patches=1,
        explain__lime__samples=40, explain__lime__segments="slic", explain__lime__superpixels=9,
        explain__lime__positive_only=False,
    )  # fmt: skip
    images = len(index["images"])
    assert index["forward_passes"] == images * 41
    assert (
        f"LIME\n{images} images, {images * 41} predictions: {images * 41} forward passes"
        in capsys.readouterr().out
    )
    assert len(drawn) == images
    colours = {tuple(c) for panels, _ in drawn for c in panels[0].reshape(-1, 3).tolist()}
    assert colours & {(0, 255, 0), (255, 0, 0)}


def test_what_an_earlier_call_left_is_replaced_as_a_whole(trained, monkeypatch):
    index, written = run(trained)
    (written / "old.png").write_bytes(b"of another checkpoint")
    with monkeypatch.context() as patch:
        patch.setattr(explain_album.plots, "to_png", lambda figure: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(trained, explain__per_class=1)
    assert (written / "old.png").exists()  # a call that fails leaves everything
    assert read_json(written / "index.json") == index
    written.rename(written.with_name(".explain-old"))  # as if killed between the two renames
    with pytest.raises(
        InputError, match=r"explain\.layer='layer3' is no feature map of this network; near: layer1"
    ):
        run(trained, explain__layer="layer3")
    run(trained, explain__per_class=1)
    left = {entry["id"] for entry in read_json(written / "index.json")["images"]}
    assert {
        path.stem for path in written.glob("*.png") if not path.stem.startswith("sheet_")
    } == left
    assert [path.name for path in written.parent.glob(".explain*")] == []


@pytest.mark.parametrize("channels", [(), (3,)])
def test_the_inputs_of_images_whose_lungs_are_known_and_are_not(channels):
    images = np.full((2, 8, 8, *channels), 50, np.uint8)
    images[:, 0, 1:4] = 200
    lungs, text = np.zeros((2, 2, 8, 8), bool)
    lungs[0, 3:6, 2:5] = True
    text[:, 0, 1:4] = True
    xrays = explain.Xrays(np.arange(2), images, lungs, text, labels=np.zeros(2), ids=np.arange(2))
    assert xrays.changed("original") is images
    concealed = np.full_like(images, 50)
    np.testing.assert_array_equal(xrays.changed("text_masked"), concealed)
    masked = images.copy()
    masked[0][~lungs[0]] = 0  # the other's are unknown: it stays
    np.testing.assert_array_equal(xrays.changed("lung_masked"), masked)


def test_mistakes_are_named_before_anything_is_read(tmp_path):
    with pytest.raises(
        InputError, match="only classifiers are explained, and this config's task is 'segment'"
    ):
        explain.run(tiny.load("fc_densenet103"), tmp_path / "a")
    for fields, message in [
        ({"of": "truth"}, r"explain\.of='truth' is unknown; known: predicted, true"),
        ({"method": "shap"}, r"explain\.method='shap' is unknown; known: gradcam, lime, occlusion"),
        ({"form": "Guided"}, r"explain\.form='Guided' is unknown; known: plain, guided"),
        ({"inputs": ("text_masked",)}, r"explain\.inputs=\('text_masked',\): give 'original'"),
        ({"inputs": ("original", "lungs")}, r"explain\.inputs='lungs' is unknown; known: original"),
        (
            {"method": "occlusion", "occlusion__size": 2.0},
            r"explain\.occlusion\.size=2\.0: give above 0, at most 1",
        ),
        (
            {"method": "lime", "lime__segments": "slick"},
            r"explain\.lime\.segments='slick' is unknown",
        ),
        ({"method": "lime", "lime__samples": 1}, r"give at least 2 samples and 1 feature"),
    ]:
        config = tiny.learner(**{f"explain__{name}": value for name, value in fields.items()})
        with pytest.raises(InputError, match=message):
            explain.run(config, tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_mistakes_are_named_before_the_checkpoint_is_read(tmp_path):
    with pytest.raises(
        InputError, match=r"explain\.split='tset' is unknown; known: train, valid, oof, test"
    ):
        explain.run(tiny.learner(explain__split="tset"), tmp_path / "c")
    with pytest.raises(
        InputError, match=r"explain\.layer='layer9' is no feature map of this network"
    ):
        explain.run(tiny.learner(explain__layer="layer9"), tmp_path / "d")
    config = tiny.learner(
        patched=False, explain__inputs=("original", "lung_masked"), explain__masks__source="none"
    )
    with pytest.raises(
        InputError,
        match=r"lung_masked, which needs lung masks: set --config\.explain\.masks\.source",
    ):
        explain.run(config, tmp_path / "e")
    with pytest.raises(InputError, match="holds no finished training"):
        explain.run(tiny.learner(), tmp_path / "f")


def test_the_table_says_what_it_lacks():
    seen = {"probability": 0.5, "right": 1.0, "with_heat": 1.0}
    row = {
        "images": 2, "with_text": 0, "lung_area": None, "text_area": 0.0,
        "inputs": {"original": {**seen, "heat_in_lungs": None, "heat_on_text": None}},
    }  # fmt: skip
    table = explain._table({"classes": {"ground_glass": row}})
    assert "Ground glass " in table and "no text found" in table
    assert table.count("--config.explain.masks.source=ready") == 1
    known = {**row, "lung_area": 0.3}
    assert "masks.source" not in explain._table({"classes": {"viral": known}})
