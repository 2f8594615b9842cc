"""The warnings of phantoms: X-rays of a run are drawn, and a network has seen no others."""

from __future__ import annotations

from collections.abc import Iterable

DRAWN = (
    "The X-rays are drawn (phantoms), of no patients: the numbers show that the program works and "
    "say nothing about people. What a network that has seen no others says of real X-rays means "
    "nothing."
)
# Of whatever X-rays it is shown.
TRAINED_ON_DRAWN = (
    "A network that made these predictions, or found the lungs for them, was trained on drawn "
    "X-rays (phantoms) only: what it says of real X-rays means nothing."
)
# What every prediction says that such a network has part in, also one that finds its lungs.
NOTE = "made with a network that its run trained on drawn X-rays only"


def of_builders(modules: Iterable[str]) -> list[str]:
    """The warning that all data are drawn; none where some are not."""
    names = {str(module).rpartition(".")[2] for module in modules}
    return [DRAWN] if names == {"phantom_cxr"} else []


def of_sources(sources: Iterable[str]) -> list[str]:
    """The same of the sources of the images, as predictions have them."""
    return [DRAWN] if set(sources) == {"phantom"} else []
