"""Lung masks of a data set by the ready-made segmenter: found once, kept, and their origin said."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from jaxcxr import data, shipped, weights
from jaxcxr.commands import predict, train
from jaxcxr.data import store as store_code
from jaxcxr.errors import InputError
from jaxcxr.inference import MaskProvider, Predictor, dataset_masks
from jaxcxr.storage.files import read_json
from jaxcxr.storage.run_folder import RunFolder
from jaxcxr.storage.run_identity import OTHER_LUNGS
from jaxcxr.weights.catalog import LUNGS
from tests import tiny


@pytest.fixture(scope="module")
def learner(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    return tiny.learner(
        masks__source="ready", masks__on_empty="whole_image", data__data_dir=str(folder)
    )


@pytest.fixture(scope="module")
def ready(learner):
    return dataset_masks.ready(Predictor.ready(), learner.data)


def test_they_are_what_predict_of_the_segmenter_writes(
    learner, ready, tmp_path, monkeypatch, capsys
):
    config = shipped.config("lungs")
    config.run, config.predict.data = "predict", learner.data.copy_and_resolve_references()
    # As if every image had lost a piece, which is then said.
    monkeypatch.setattr("jaxcxr.data.mask_folder.REPORTED_SHARE", -1.0)
    predict.run(config, tmp_path)
    names = read_json(tmp_path / "masks" / "index.json")["files"]
    said = f"in {len(names)} images the pieces left out (predict.largest_pieces=2) hold more than"
    assert said in capsys.readouterr().out
    assert names == read_json(ready / "masks" / "index.json")["files"]
    for name in names:
        one, other = (np.asarray(Image.open(f / "masks" / name)) for f in (ready, tmp_path))
        np.testing.assert_array_equal(one, other)


def test_they_are_found_once(learner, ready, monkeypatch, capsys):
    def never(*_: object, **__: object) -> None:
        raise AssertionError("lungs were found again")

    monkeypatch.setattr(Predictor, "rows", never)
    assert dataset_masks.ready(Predictor.ready(), learner.data) == ready
    assert f"by {LUNGS}: found in {ready}" in capsys.readouterr().out


def test_a_damaged_mask_is_found_again(learner, ready):
    file = sorted((ready / "masks").rglob("*.png"))[0]
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    assert dataset_masks.ready(Predictor.ready(), learner.data) == ready
    assert file.read_bytes() == whole


def test_other_images_are_other_masks_and_other_labels_are_not(learner, ready):
    section = learner.data.copy_and_resolve_references()
    section.relabel, section.patient_key = ("interstitial=normal",), "strict_patient_id"
    assert dataset_masks.ready(Predictor.ready(), section) == ready
    section.options.phantom_cxr.seed = 3
    assert dataset_masks.ready(Predictor.ready(), section) != ready


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.predict.update(threshold=0.4),
        lambda c: c.predict.update(structure="lung_field"),
        lambda c: c.data.update(equalise=True),
        lambda c: c.model.update(width=0.5),
    ],
)
def test_what_finds_other_lungs_is_part_of_the_key(learner, change):
    segmenter = Predictor.ready()
    store = dataset_masks.open_images(segmenter, learner.data, field="data")
    before = dataset_masks._made_of(segmenter, store)
    change(segmenter.config)
    assert dataset_masks._made_of(segmenter, store) != before


def test_so_are_the_weights_and_the_code(learner, monkeypatch):
    segmenter = Predictor.ready()
    store = dataset_masks.open_images(segmenter, learner.data, field="data")
    made_of = dataset_masks._made_of(segmenter, store)
    assert weights.CATALOG[LUNGS].sha256 == made_of["weights"]
    for module in (dataset_masks, store_code):
        with monkeypatch.context() as patch:
            patch.setattr(module, "CODE_VERSION", module.CODE_VERSION + 1)
            assert dataset_masks._made_of(segmenter, store) != made_of


def test_a_run_says_whose_masks_it_was_trained_with(learner, ready, tmp_path):
    train.run(learner.copy_and_resolve_references().unlock(), tmp_path)
    manifest = read_json(tmp_path / "manifest.json")
    assert manifest["masks"]["found_by"] == LUNGS
    index = ready / "masks" / "index.json"
    assert [entry["path"] for entry in manifest["upstream"]] == [str(index)]
    assert f"found by {LUNGS}" in (tmp_path / "report.md").read_text()
    # Other X-rays, and external data, get their lungs from the same segmenter.
    for labelled in (False, True):
        masks = MaskProvider.for_others(learner, RunFolder(tmp_path), labelled=labelled)
        assert masks.stored is None and masks.segmenter is not None
        assert masks.segmenter.origin == LUNGS and masks.as_trained


@pytest.mark.parametrize(
    ("recorded", "expected"),
    [
        ({"found_by": LUNGS, "found_by_sha256": "0" * 64}, False),
        ({"found_by": LUNGS}, False),  # of a version that did not say
        ({}, None),
    ],
)
def test_other_lungs_than_those_of_the_training_are_said(
    learner, tmp_path, capsys, recorded, expected
):
    folder = RunFolder(tmp_path)
    folder.write_json("manifest.json", {"masks": recorded})
    masks = MaskProvider.for_others(learner, folder, labelled=False)
    assert masks.as_trained is expected
    told = "trained with lungs of another version of that segmenter" in capsys.readouterr().out
    assert told == (expected is False)


def test_masks_of_the_data_set_are_taken_where_it_has_some(learner, tmp_path):
    own = tiny.change(learner.copy_and_resolve_references().unlock(), masks__source="dataset")
    masks = MaskProvider.for_others(own, RunFolder(tmp_path), labelled=True)
    assert isinstance(masks.stored, data.DatasetMasks) and masks.segmenter is None
    assert MaskProvider.for_run(own).found_by == ""


def test_two_segmenters_are_refused(learner):
    both = tiny.change(learner.copy_and_resolve_references().unlock(), masks__workdir="runs/lungs")
    with pytest.raises(InputError, match=r"masks.workdir='runs/lungs' .* masks.source='ready'"):
        MaskProvider.for_run(both)


def test_a_run_keeps_the_segmenter_that_it_was_trained_with(learner, tmp_path):
    """Also where the experiment file says `ready` by now."""
    run = tiny.change(
        learner.copy_and_resolve_references().unlock(),
        masks__source="workdir",
        masks__workdir=str(tmp_path / "gone"),
    )
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    folder.write_json("config.json", run.to_dict())
    for labelled in (False, True):
        with pytest.raises(InputError, match="gone' is not the folder of a finished segment run"):
            MaskProvider.for_others(learner, folder, labelled=labelled)
    with (
        pytest.raises(InputError, match=r"masks\.source = 'workdir'"),
        RunFolder.open(folder.path, learner.to_dict(), volatile=OTHER_LUNGS),
    ):
        pass
