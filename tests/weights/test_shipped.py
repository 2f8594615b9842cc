"""The ready-made lungs: the file, and what it finds in drawn and in real X-rays."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from PIL import Image

from jaxcxr import shipped, weights
from jaxcxr.data.lung_doubts import ON_ITS_SIDE, UPSIDE_DOWN, look_at_lungs
from jaxcxr.errors import InputError
from jaxcxr.inference.predictor import Predictor
from jaxcxr.weights import fetch
from jaxcxr.weights.catalog import CATALOG, LUNGS
from tfds_builders.phantom_cxr import drawing


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    config = shipped.config("lungs")
    config.evaluate.batch_size = 8
    return Predictor.of_weights(config)


def lungs_of(predictor: Predictor, images: list[np.ndarray], structure: str) -> np.ndarray:
    config = predictor.config.copy_and_resolve_references()
    config.predict.structure = structure
    prepared = [predictor.prepare(image, None, "x") for image in images]
    prepared += [prepared[0]] * (-len(prepared) % 8)  # one program
    parts = [predictor.images(prepared[i : i + 8]) for i in range(0, len(prepared), 8)]
    whole = jax.tree.map(lambda *a: np.concatenate(a), *parts)
    one = Predictor(config, predictor.programs, predictor.variables)
    return np.stack([lungs.mask for lungs in one.lungs(whole)])[: len(images)]


def dice(found: np.ndarray, truth: np.ndarray) -> float:
    small = Image.fromarray(truth).resize(found.shape[::-1], Image.Resampling.NEAREST)
    truth = np.asarray(small)
    return 2 * (found & truth).sum() / (found.sum() + truth.sum())


def test_the_file_is_the_catalogues_and_small():
    entry = CATALOG[LUNGS]
    path = fetch.fetch(entry)
    assert path.parent == fetch.SHIPPED and fetch.problem_with(path, entry) is None
    assert path.stat().st_size < 4_000_000
    assert path.with_suffix(".md").is_file()  # its card
    assert weights.find(LUNGS).entry is entry


def test_a_damaged_or_missing_file_says_that_it_comes_with_jaxcxr(tmp_path, monkeypatch):
    entry = CATALOG[LUNGS]
    content = bytearray(fetch.place(entry).read_bytes())
    monkeypatch.setattr(fetch, "SHIPPED", tmp_path)
    with pytest.raises(InputError, match="could not be fetched.\\nIt comes with jaxcxr: "):
        weights.find(LUNGS)
    content[-100] ^= 1
    (tmp_path / entry.file).write_bytes(content)
    with pytest.raises(InputError, match=r"damaged or another file\. Install jaxcxr again\."):
        weights.find(LUNGS)


@pytest.mark.parametrize("structures", [("lung", "lung_field"), ("lung",)])
def test_outputs_of_other_structures_are_refused(structures):
    config = shipped.config("lungs")
    config.masks.structures, config.masks.within = structures, ()
    config.masks.hull_margin = 0.0
    config.masks.by_source = ("phantom=lung",)
    with pytest.raises(InputError, match="lung_field, lung, and masks.structures has lung|not fit"):
        Predictor.of_weights(config)


def test_phantoms_have_lungs_and_turned_ones_are_told(predictor):
    drawn = [drawing.draw(seed=0, patient=number, image=0, size=256) for number in range(4)]
    images = [phantom.image for phantom in drawn]
    found = lungs_of(predictor, [*images, images[0][::-1], np.rot90(images[0])], "lung")
    assert np.mean([dice(a, b.masks["lung"]) for a, b in zip(found, drawn, strict=False)]) > 0.85
    assert UPSIDE_DOWN in look_at_lungs(found[4])
    assert ON_ITS_SIDE in look_at_lungs(found[5])


def test_real_lungs_of_both_conventions(predictor, real_data):
    for structure, folder, pattern, least in (
        ("lung_field", "lungs", "MCUCXR_00[0-4]*", 0.965),
        ("lung_field", "lungs", "CHNCXR_00[0-4]*", 0.895),  # none was trained on
    ):
        paths = sorted((real_data / folder / "cxr").glob(f"{pattern}.jpg"))[:16]
        images = [np.asarray(Image.open(path).convert("L")) for path in paths]
        masks = [
            np.asarray(Image.open(real_data / folder / "masks" / f"{path.stem}.png").convert("L"))
            for path in paths
        ]
        found = lungs_of(predictor, images, structure)
        scores = [dice(a, b > 127) for a, b in zip(found, masks, strict=True)]
        assert len(scores) >= 8 and np.mean(scores) > least
        assert not any(look_at_lungs(lungs) for lungs in found)
