"""`--config.run=check_data`: before any training, of any config with config."""

import json

import numpy as np
import pytest
from PIL import Image

from jaxcxr import data
from jaxcxr.cli import dispatch
from jaxcxr.commands import check_data, train
from jaxcxr.errors import InputError
from jaxcxr.storage import files
from jaxcxr.storage.files import read_json
from tests import tiny
from tests.data.fakes import make_dataset


def checked(config, folder, capsys):
    config.run = "check_data"
    dispatch.start(config, folder)
    return read_json(folder / "data_checks" / "report.json"), capsys.readouterr().out


@pytest.mark.parametrize("name", ["patched_densenet", "fc_densenet103", "flannel"])
def test_it_looks_at_the_data_of_any_config_and_the_folder_can_be_trained(name, tmp_path, capsys):
    found, out = checked(tiny.shrink(tiny.load(name)), tmp_path / "run", capsys)
    facts = found["data_checks"]
    assert facts["patients_in_two_splits"] == {} and facts["copies"]["of_two_patients"] == 0
    assert "Research use only" in out and "images of" in out
    assert not (tmp_path / "run" / "config.json").exists()
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_an_ensemble_has_no_images(tmp_path):
    config = tiny.shrink(tiny.load("flannel")).ensemble
    config.run = "check_data"
    with pytest.raises(InputError, match="has no images of its own"):
        check_data.run(config, tmp_path)


@pytest.fixture
def config(monkeypatch):
    """Of a learner, whose data are 25 X-rays; that of patient p99 is one of patient p3."""
    draws = np.random.default_rng(0)
    y, x = np.mgrid[:96, :96] / 96
    pictures = [
        np.uint8(
            128
            + 12
            * sum(
                np.sin(draws.uniform(5, 30) * x + draws.uniform(5, 30) * y + draws.uniform(0, 6))
                for _ in range(8)
            )
        )
        for _ in range(24)
    ]
    dark = Image.fromarray(pictures[3]).resize((64, 64)).point(lambda v: int(v * v / 255))
    examples = [{"image": files.encode_png(picture)} for picture in (*pictures, np.asarray(dark))]
    labels = [n % 2 for n in range(24)] + [1]
    dataset = make_dataset(examples, labels=labels, patients=[*(f"p{n}" for n in range(24)), "p99"])
    monkeypatch.setattr(data, "open_dataset", lambda section: dataset)
    config = tiny.shrink(tiny.load("densenet"))
    config.data.classes = dataset.classes
    return config


def test_a_copy_of_another_patient_is_found_shown_and_kept_together(config, tmp_path, capsys):
    found, out = checked(config, tmp_path / "run", capsys)
    [pair] = found["data_checks"]["copies"]["listed"]
    assert {pair["first"]["patient"], pair["second"]["patient"]} == {"p3", "p99"}
    assert pair["first"]["split"] == pair["second"]["split"]
    assert "p99" in out and "1 of two patients" in out
    assert (tmp_path / "run/data_checks/plots/copies.png").exists()
    text = (tmp_path / "run/data_checks/report.md").read_text(encoding="utf-8")
    assert "plots/copies.png" in text and text.count("Checks of the data") == 1


def test_parted_copies_are_a_leak_that_training_warns_of_and_reports(config, tmp_path, capsys):
    config.split.duplicates = "apart"
    config.split.group_by = "image"
    for seed in range(20):  # until the split parts them
        config.split.seed = seed
        found, _ = checked(config.copy_and_resolve_references(), tmp_path / f"c{seed}", capsys)
        if found["data_checks"]["copies"]["of_two_splits"]:
            break
    assert any("Leak" in text for text in found["warnings"])
    config.run = "train"
    train.run(config, tmp_path / "run")
    assert "WARNING: Leak" in capsys.readouterr().out
    manifest = read_json(tmp_path / "run" / "manifest.json")
    assert manifest["data_checks"]["copies"]["of_two_splits"] == 1
    report = json.loads((tmp_path / "run" / "report.json").read_text(encoding="utf-8"))
    assert any("Leak" in text for text in report["warnings"])
    shown = (tmp_path / "run" / "report.md").read_text(encoding="utf-8")
    assert "### Checks of the data" in shown and "plots/copies.png" in shown
