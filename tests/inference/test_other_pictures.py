"""Which pictures the ready-made lungs are warned of: those that are no frontal chest X-rays, and
few of those that are.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from jaxcxr import shipped
from jaxcxr.data import lung_doubts, xray_files
from jaxcxr.data.xray_files import XRay
from jaxcxr.inference import MaskProvider, Predictor, mask_confidence, xray_predictions
from jaxcxr.inference.xray_predictions import Result, Source
from tests.inference import other_pictures

ABOUT_LUNGS = {
    *(text for name, text in vars(lung_doubts).items() if name.isupper()),
    mask_confidence.UNSURE,
}
REAL = {"ccx": "ccx/images", "kcx": "kcx/chest_xray", "nlm": "lungs/cxr"}


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    config = shipped.config("lungs")
    config.evaluate.batch_size = 16
    return Predictor.of_weights(config)


def flagged(predictor: Predictor, sources: Iterable[Source]) -> dict[str, list[bool]]:
    """Kind, which an id begins with -> whether each picture has a warning about its lungs."""
    found = collections.defaultdict(list)
    for result in xray_predictions.predict(predictor, MaskProvider(), sources):
        assert result.error is None
        found[result.id.partition("/")[0]].append(is_flagged(result))
    return found


def is_flagged(result: Result) -> bool:
    return not ABOUT_LUNGS.isdisjoint(result.warnings)


def test_pictures_of_anything_else_have_no_lungs_or_a_warning(predictor):
    """The numbers of these and of five more seeds are on the card of the weights."""
    sources = [
        Source(f"{kind}/{number}", lambda pixels=pixels: XRay(pixels, ()))
        for kind, drawn in other_pictures.pictures().items()
        for number, pixels in enumerate(drawn)
    ]
    kinds = flagged(predictor, sources)
    assert {kind: len(found) for kind, found in kinds.items()} == {
        "blank": 12, "noise": 24, "page": 20, "photograph": 40, "hand": 20, "lateral": 26,
        "abdomen": 26,
    }  # fmt: skip
    for kind, found in kinds.items():
        assert np.mean(found) >= 0.95, kind


def test_frontal_x_rays_are_rarely_warned_of(predictor, real_data):
    """Measured on all 1,357: 23, which are 17 of 497, 4 of 630 and 2 of 230."""
    files = {name: images(real_data / folder) for name, folder in REAL.items()}
    every = [(name, path) for name, paths in files.items() for path in paths]
    chosen = np.random.default_rng(0).permutation(len(every))[:500]
    sources = []
    for name, path in (every[n] for n in sorted(chosen.tolist())):
        file = xray_files.XRayFile(f"{name}/{path.name}", path)
        sources.append(Source.of_file(file))
    kinds = flagged(predictor, sources)
    assert sum(map(len, kinds.values())) == 500
    assert sum(map(sum, kinds.values())) <= 10
    for name, most in (("ccx", 0.05), ("kcx", 0.02), ("nlm", 0.03)):
        assert len(kinds[name]) > 70 and np.mean(kinds[name]) <= most, name


def images(folder: Path) -> list[Path]:
    found = [path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png")]
    return sorted(found)
