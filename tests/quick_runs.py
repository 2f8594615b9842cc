"""What keeps runs fast here: a network of one block, and reports without drawing."""

from __future__ import annotations

import numpy as np
import pytest

from jaxcxr.report import plots
from jaxcxr.storage.files import encode_png
from tests import tiny


@pytest.fixture(scope="package", autouse=True)
def _networks():
    with pytest.MonkeyPatch.context() as patch:
        tiny.add_networks(patch)
        yield


@pytest.fixture(scope="package", autouse=True)
def _no_drawing():
    """Matplotlib would take most of the time; tests/report and test_shipped_configs draw."""
    pixel = np.zeros((1, 1, 3), np.uint8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "to_png", lambda figure: encode_png(pixel))
        patch.setattr(plots, "to_array", lambda figure: pixel)
        yield
