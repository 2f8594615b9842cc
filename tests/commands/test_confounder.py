"""Heat tells a network that reads the letter in the corner from one that looks at the lungs."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from jaxcxr import models
from jaxcxr.commands import explain, train
from jaxcxr.explain.measures import concentration
from jaxcxr.inference import saliency
from jaxcxr.inference.best import best_variables
from jaxcxr.models.resnet import BasicBlock, ResNet
from jaxcxr.storage.files import read_json
from jaxcxr.storage.run_folder import RunFolder
from jaxcxr.training.prepare import prepare
from tests import tiny
from tfds_builders.phantom_cxr import drawing

SIDE = 96  # letters are 6 to 8 pixels tall
TWO_BLOCKS = "two_blocks"


@pytest.fixture(scope="module", autouse=True)
def _network():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(
            models.MODELS, TWO_BLOCKS, functools.partial(ResNet, block=BasicBlock, blocks=(1, 1))
        )
        yield


def config(*, patched, confounder):
    """A learner that gets 8 or 9 of 10 phantoms right after 400 steps."""
    c = tiny.learner(
        patched=patched, model__width=0.25, split__folds=6, split__valid_fraction=0.15,
        train__batch_size=8, optim__learning_rate=5e-3, optim__schedule="cosine", optim__warmup=0.1,
        data__image_size=SIDE, patches__flip=False, explain__per_class=0,
    )  # fmt: skip
    c.data.options.phantom_cxr.update(size=SIDE, patients=100, confounder=confounder)
    if patched:
        tiny.change(
            c,
            train__epochs=20.0,
            patches__train_count=2,
            patches__eval_count=16,
            patches__valid_count=16,
        )
    else:  # the whole side: a crop would cut the letters off
        tiny.change(
            c, train__epochs=30.0, model__name=TWO_BLOCKS, patches__size=SIDE, data__equalise=False
        )
        c.explain.inputs = ("original", "text_masked")
    c.train.eval_every = c.train.epochs / 3
    return c


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Run folders of whole-image learners, trained with and without a letter that gives the class
    away.
    """

    def run(confounder):
        folder = tmp_path_factory.mktemp("run")
        train.run(config(patched=False, confounder=confounder), folder)
        return folder

    return {confounder: run(confounder) for confounder in (1.0, 0.0)}


def on_the_letter(folder, confounder):
    """[B] concentration of the heat on each test image's letter, which the phantoms' drawing
    knows.
    """
    c = config(patched=False, confounder=confounder)
    experiment = prepare(c)
    with RunFolder.open(folder, c.to_dict()) as run:
        variables = best_variables(experiment.task, run)
    layer = saliency.find_layer(experiment.task, experiment.config.explain.layer)
    rows = experiment.splits["test"]
    images = np.asarray(experiment.arrays["image"][rows])
    explainer = saliency.Explainer(
        experiment.predictor(variables), experiment.arrays, layer.name, lambda count: None
    )
    heat = saliency.explain(explainer, rows, images, None).heat
    letters = []
    for name, label in zip(
        experiment.examples.ids[rows], experiment.examples.labels[rows], strict=True
    ):
        patient, image = (int(number) for number in name.removeprefix("phantom-p").split("-"))
        marker = drawing.marker_of(
            seed=0,
            patient=patient,
            image=image,
            confounder=confounder,
            label=experiment.examples.classes[label],
        )
        letters.append(
            drawing._letter(marker, drawing._rng("letter", 0, patient, image), SIDE) > 0.4
        )
    letters = np.stack(letters)
    assert images[letters].min() >= 100  # that is where they are
    return np.asarray(concentration(heat, letters))


def test_a_network_that_was_trained_with_the_letter_is_caught_looking_at_it(trained):
    confounded, clean = (
        on_the_letter(trained[confounder], confounder) for confounder in (1.0, 0.0)
    )
    assert np.nanmean(confounded) > 2
    assert np.nanmean(clean) < 1
    assert np.nanmedian(confounded) > 3 * np.nanmedian(clean)


def test_explain_says_so(trained, capsys):
    """What a user sees: heat on text, and what concealing the text does to the class."""
    density, fall, inside = {}, {}, {}
    for confounder, folder in trained.items():
        explain.run(config(patched=False, confounder=confounder), folder)
        images = read_json(folder / "explain" / "index.json")["images"]
        found = [entry for entry in images if entry["text_area"] > 0]
        assert len(found) > 0.9 * len(images)
        seen, hidden = (
            [entry["inputs"][name] for entry in found] for name in ("original", "text_masked")
        )
        density[confounder] = np.mean(
            [s["heat_on_text"] / e["text_area"] for s, e in zip(seen, found, strict=True)]
        )
        fall[confounder] = np.mean(
            [s["probability"] - h["probability"] for s, h in zip(seen, hidden, strict=True)]
        )
        inside[confounder] = np.mean([s["heat_in_lungs"] for s in seen])
        assert "on text" in capsys.readouterr().out
    assert density[1.0] > 1.5 > 1 > density[0.0]
    assert fall[1.0] > 0.1 > 0.05 > fall[0.0]
    assert inside[1.0] < inside[0.0]


def test_a_patched_learner_has_60_percent_of_its_heat_in_the_lungs(tmp_path):
    """Of images whose lungs are less than a third: its patches are centred in the lungs and see
    beyond them.
    """
    c = config(patched=True, confounder=0.0)
    train.run(c, tmp_path)
    explain.run(c, tmp_path)
    index = read_json(tmp_path / "explain" / "index.json")
    shares = [entry["inputs"]["original"]["heat_in_lungs"] for entry in index["images"]]
    areas = [entry["lung_area"] for entry in index["images"]]
    assert np.mean(shares) >= 0.6
    assert np.mean(areas) < 0.33
