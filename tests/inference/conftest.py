"""What keeps runs fast here, as in tests/runs."""

from tests.runs.conftest import _networks, _no_drawing

__all__ = ["_networks", "_no_drawing"]
