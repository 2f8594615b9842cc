"""What keeps runs fast here."""

from tests.quick_runs import _networks, _no_drawing

__all__ = ["_networks", "_no_drawing"]
