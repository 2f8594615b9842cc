"""The same image gets the same bits, whoever asks: training, predict, own X-rays, external sets,
explanations.
"""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pytest

from jaxcxr import data, exported, parallel
from jaxcxr.commands import predict, train
from jaxcxr.data import lung_doubts
from jaxcxr.data.xray_files import XRay
from jaxcxr.errors import InputError
from jaxcxr.inference import MaskProvider, Predictor, saliency, xray_predictions
from jaxcxr.inference.mask_provider import load_segmenter
from jaxcxr.inference.programs import COMPILING, announce_compiling, programs_of
from jaxcxr.inference.xray_predictions import NoLungs, Source
from jaxcxr.ops.pieces import largest_pieces
from jaxcxr.storage.files import read_json, write_json
from jaxcxr.storage.predictions import Predictions
from jaxcxr.training.prepare import prepare
from tests import tiny
from tests.commands.test_own_xrays import segmenter

KINDS = ["patched", "whole"]


def config(kind: str, seed: int = 0):
    return tiny.learner(
        patched=kind == "patched",
        seed=seed,
        patches__chunk=3,
        loss__class_weights="inverse_frequency",
    )


@pytest.fixture(scope="module", params=KINDS)
def trained(request, tmp_path_factory):
    """(the run's experiment, its folder)."""
    folder = tmp_path_factory.mktemp("run")
    train.run(config(request.param), folder)
    return prepare(config(request.param)), folder


@pytest.fixture(
    scope="module", params=[(kind, seed) for kind in KINDS for seed in (0, 1, 2)], ids=str
)
def untrained(request):
    """(experiment, a predictor with its first variables)."""
    experiment = prepare(config(*request.param))
    variables = parallel.place(experiment.task.init(experiment.config.seed))
    return experiment, experiment.predictor(variables)


def whole(parts) -> dict[str, np.ndarray]:
    parts = list(parts)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def test_what_stands_still_at_first_says_once_that_it_compiles(untrained, capsys):
    experiment, predictor = untrained
    announce_compiling.cache_clear()
    for _ in range(2):
        whole(predictor.rows(experiment.arrays, experiment.splits["test"][:2]))
    assert capsys.readouterr().err.count(f"{COMPILING}\n") == 1


def test_a_run_that_is_loaded_predicts_what_training_left(trained):
    experiment, folder = trained
    known = Predictions.load(folder / "predictions.npz").select("test")
    found = whole(Predictor.load(folder).rows(experiment.inputs, experiment.splits["test"]))
    probabilities = found["probabilities"] / found["probabilities"].sum(axis=1, keepdims=True)
    np.testing.assert_array_equal(probabilities, known.probabilities)
    np.testing.assert_array_equal(found["vote_fraction"], known.extra["vote_fraction"])


def test_evaluation_in_training_is_a_predictor_of_the_moment(untrained):
    experiment, predictor = untrained
    rows = experiment.splits["test"]
    expected = whole(experiment.predict(predictor.variables, rows, count=2))
    # Of its own programs, which know nothing of the loss.
    alone = Predictor(experiment.config, programs_of(experiment.config), predictor.variables)
    found = whole(alone.rows(experiment.inputs, rows))
    assert expected.keys() == found.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def test_an_x_ray_of_no_data_set_is_a_row_numbered_by_its_pixels(untrained):
    experiment, predictor = untrained
    section = experiment.config.data
    dataset, masks = data.open_dataset(section), MaskProvider.for_run(experiment.config).stored
    rows = np.arange(7)
    seeds = np.array(
        [exported.seed_of(image) for image in experiment.arrays["image"][rows]], np.int32
    )
    expected = whole(predictor.rows(experiment.inputs, rows, numbers=seeds))

    def source(row: int) -> Source:
        mask = (lambda: masks.read(dataset, row)) if masks else None
        return Source(str(row), lambda: XRay(dataset.image(row), ("odd",)), mask)

    results = list(
        xray_predictions.predict(predictor, MaskProvider(stored=masks), map(source, rows.tolist()))
    )
    assert [result.id for result in results] == [str(row) for row in rows]
    for n, result in enumerate(results):
        assert result.error is None and result.warnings[0] == "odd"
        for name, array in expected.items():
            np.testing.assert_array_equal(result.prediction[name], array[n], err_msg=name)
        assert result.probabilities is not None and result.probabilities.sum() == pytest.approx(1)
        votes = result.vote_share
        assert (votes is not None) == experiment.config.patches.enabled


def test_explanations_judge_the_patches_of_the_predictions(untrained):
    experiment, predictor = untrained
    rows = experiment.splits["test"][:3]
    expected = whole(predictor.rows(experiment.inputs, rows))["probabilities"]
    done = []
    layer = saliency.find_layer(experiment.task, "").name
    explainer = saliency.Explainer(predictor, experiment.arrays, layer, done.append)
    images = np.asarray(experiment.arrays["image"][rows])
    np.testing.assert_array_equal(explainer.predict(rows, images), expected)
    found = explainer.grad_cam(rows, images, None)
    np.testing.assert_allclose(found["probabilities"], expected, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(found["explained"], expected.argmax(axis=1))
    assert sum(done) == 6


def test_what_goes_wrong_with_one_x_ray_stops_no_other():
    predictor = prepare(config("patched"))
    predictor = predictor.predictor(parallel.place(predictor.task.init(0)))
    pixels = np.arange(48 * 48, dtype=np.uint8).reshape(48, 48)

    def broken() -> XRay:
        raise InputError("torn")

    lungs, none = np.ones((48, 48), np.uint8), np.zeros((48, 48), np.uint8)
    sources = [
        Source("a", broken),
        Source("b", lambda: XRay(pixels, ()), lambda: lungs),
        Source("c", lambda: XRay(pixels, ()), lambda: none),
        Source("d", lambda: XRay(pixels, ()), lambda: lungs[:, :9]),
    ]
    found = {
        result.id: result for result in xray_predictions.predict(predictor, MaskProvider(), sources)
    }
    assert found["b"].error is None and found["b"].shape == (48, 48)
    assert str(found["a"].error) == "torn" and found["a"].shape is None
    assert isinstance(found["c"].error, NoLungs)
    assert "must have the same shape" in str(found["d"].error) and found["d"].shape == (48, 48)


def test_a_segment_run_gives_masks_to_its_data_set_and_finds_lungs_in_other_x_rays(tmp_path):
    train.run(segmenter(train__epochs=1.0, train__eval_every=1.0), tmp_path / "segmenter")
    predictor = Predictor.load(tmp_path / "segmenter")
    assert predictor.is_segmenter and predictor.classes == ()
    own = prepare(segmenter())
    rows = np.arange(5)
    prediction = whole(predictor.rows({"image": own.arrays["image"]}, rows))
    expected = np.stack([lungs.mask for lungs in predictor.lungs(prediction)])
    dataset = data.open_dataset(own.config.data)
    sources = [
        Source(str(row), lambda row=row: XRay(dataset.image(row), ())) for row in rows.tolist()
    ]
    results = list(xray_predictions.predict(predictor, MaskProvider(), sources))
    np.testing.assert_array_equal(np.stack([result.lungs for result in results]), expected)
    assert all(result.left_out_share == 0 for result in results)
    sure = [result.mask_confidence for result in results]
    [alone] = xray_predictions.predict(predictor, MaskProvider(), sources[2:3])
    assert alone.mask_confidence == sure[2] and 0 < sure[2] < 1
    largest = largest_pieces(prediction["mask"], 1) > 0  # of the left lung and of the right one
    one_piece = dataclasses.replace(predictor, config=segmenter(predict__largest_pieces=1))
    for result in xray_predictions.predict(one_piece, MaskProvider(), sources):
        before = expected[int(result.id)]
        np.testing.assert_array_equal(result.lungs, largest[int(result.id)])
        assert 0 < result.left_out_share < 1
        assert result.left_out_share == pytest.approx(1 - result.lungs.sum() / before.sum())
        assert set(lung_doubts.look_at_lungs(before)) <= set(result.warnings)
        said = {lung_doubts.IN_PIECES, lung_doubts.LEFT_OUT} & set(result.warnings)
        assert bool(said) == (result.left_out_share > 0.05)
    learner = prepare(config("patched"))
    learner = learner.predictor(parallel.place(learner.task.init(0)))
    learner.config.masks.on_empty = "whole_image"
    for result in xray_predictions.predict(learner, MaskProvider(segmenter=predictor), sources):
        np.testing.assert_array_equal(result.lungs, expected[int(result.id)])
        assert result.lung_area_share == expected[int(result.id)].mean()
        assert result.mask_confidence == sure[int(result.id)]
        assert result.prediction["probabilities"].shape == (4,)


def test_other_x_rays_get_lungs_made_as_the_masks_that_are_stored(tmp_path):
    """By the fields of the `predict` that wrote them, not those of the training."""
    short = {"train__epochs": 0.5, "train__eval_every": 0.5}
    train.run(segmenter(**short), tmp_path)
    assert load_segmenter(tmp_path).config.predict.largest_pieces == 0
    predict.run(segmenter(predict__largest_pieces=1, **short), tmp_path)
    loaded = load_segmenter(tmp_path).config.predict
    assert loaded.largest_pieces == 1


def test_folders_that_cannot_predict_are_named(trained, tmp_path):
    with pytest.raises(InputError, match="is no run folder: it has no config.json"):
        Predictor.load(tmp_path)
    old = shutil.copytree(trained[1], tmp_path / "old")
    (old / "checksums.json").unlink()  # earlier versions wrote none
    marks = read_json(old / "finished.json")
    del marks["checksums"]
    write_json(old / "finished.json", marks)
    saved = read_json(old / "config.json")
    del saved["patches"]
    write_json(old / "config.json", saved)
    with pytest.raises(
        InputError, match="lacks the field patches, which this version of jaxcxr reads"
    ):
        Predictor.load(old)
    write_json(old / "config.json", {**saved, "task": "ensemble"})
    with pytest.raises(InputError, match="'ensemble', which looks at no X-rays"):
        Predictor.load(old)
