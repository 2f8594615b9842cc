"""Lung masks of a data set by the ready-made segmenter: found once, kept, and their origin said."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from jaxcxr import data, shipped
from jaxcxr.commands import predict, train
from jaxcxr.errors import InputError
from jaxcxr.inference import MaskProvider, Predictor, dataset_masks
from jaxcxr.storage.files import read_json
from jaxcxr.storage.run_folder import RunFolder
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
    return dataset_masks.ready(learner.data)


def test_they_are_what_predict_of_the_segmenter_writes(learner, ready, tmp_path):
    config = shipped.config("lungs")
    config.run, config.predict.data = "predict", learner.data.copy_and_resolve_references()
    predict.run(config, tmp_path)
    names = read_json(tmp_path / "masks" / "index.json")["files"]
    assert names == read_json(ready / "masks" / "index.json")["files"]
    for name in names:
        one, other = (np.asarray(Image.open(f / "masks" / name)) for f in (ready, tmp_path))
        np.testing.assert_array_equal(one, other)


def test_they_are_found_once(learner, ready, monkeypatch, capsys):
    def never(*_: object, **__: object) -> None:
        raise AssertionError("lungs were found again")

    monkeypatch.setattr(Predictor, "rows", never)
    assert dataset_masks.ready(learner.data) == ready
    assert f"by {LUNGS}: found in {ready}" in capsys.readouterr().out


def test_a_damaged_mask_is_found_again(learner, ready):
    file = sorted((ready / "masks").rglob("*.png"))[0]
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    assert dataset_masks.ready(learner.data) == ready
    assert file.read_bytes() == whole


def test_other_images_other_settings_or_other_weights_are_other_masks(learner, ready, monkeypatch):
    other = learner.data.copy_and_resolve_references()
    other.options.phantom_cxr.seed = 3
    assert dataset_masks.ready(other) != ready
    monkeypatch.setattr(dataset_masks, "CODE_VERSION", dataset_masks.CODE_VERSION + 1)
    assert dataset_masks.ready(learner.data) != ready


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
        assert masks.segmenter.origin == LUNGS


def test_masks_of_the_data_set_are_taken_where_it_has_some(learner, tmp_path):
    own = tiny.change(learner.copy_and_resolve_references().unlock(), masks__source="dataset")
    masks = MaskProvider.for_others(own, RunFolder(tmp_path), labelled=True)
    assert isinstance(masks.stored, data.DatasetMasks) and masks.segmenter is None
    assert MaskProvider.for_run(own).found_by == ""


def test_two_segmenters_are_refused(learner):
    both = tiny.change(learner.copy_and_resolve_references().unlock(), masks__workdir="runs/lungs")
    with pytest.raises(InputError, match=r"masks.workdir='runs/lungs' .* masks.source='ready'"):
        MaskProvider.for_run(both)


def test_a_run_of_another_segmenter_can_be_given_the_ready_one(learner, tmp_path):
    run = tiny.change(
        learner.copy_and_resolve_references().unlock(),
        masks__source="workdir",
        masks__workdir=str(tmp_path / "gone"),
    )
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    folder.write_json("config.json", run.to_dict())
    with pytest.raises(InputError, match="gone' is not the folder of a finished segment run"):
        MaskProvider.for_others(run, folder, labelled=False)
    for workdir in (str(tmp_path / "gone"), ""):
        asked = run.copy_and_resolve_references().unlock()
        asked.masks.update(source="ready", workdir=workdir)
        masks = MaskProvider.for_others(asked, folder, labelled=False)
        assert masks.segmenter is not None and masks.segmenter.origin == LUNGS
