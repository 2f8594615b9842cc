"""What the header of an export's weights says of the run they came from, beside another run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from jaxcxr.errors import InputError


def check_classes(path: Path, header: Mapping[str, str], classes: Sequence[str]) -> None:
    """Raises InputError where a head is kept whose outputs are other classes, or in other order.

    Args:
        path: of the weights.
        header: name -> text; one that names no classes fits all.
        classes: of the run, in order.
    """
    named, own = header.get("classes", ""), ",".join(classes)
    if not named or named == own:
        return
    same = sorted(named.split(",")) == sorted(own.split(","))
    difference = "in another order" if same else "others"
    raise InputError(
        f"{path}: its head has the classes {named}, and this run's are {difference}: {own}. Give "
        "data.classes (or data.targets) as the file has them, or add --config.model.head=new"
    )


def check_structures(path: Path, named: Sequence[str], structures: Sequence[str]) -> None:
    """Raises InputError where a segmenter keeps outputs of other structures, or in other order.

    Args:
        path: of the weights.
        named: what the catalogue says that the outputs are; () fits all.
        structures: of the run, in order.
    """
    if named and tuple(named) != tuple(structures):
        raise InputError(
            f"{path}: its outputs are {', '.join(named)}, and masks.structures has "
            f"{', '.join(structures)}: give these as the weights have them, or add "
            "--config.model.head=new and train"
        )


def other_normalisation(
    source: str, header: Mapping[str, str], *, mean: Sequence[float], std: Sequence[float]
) -> list[str]:
    """Warnings where a run normalises its input otherwise than the weights were trained with.

    Args:
        source: what says how they were: "the header of FILE".
        header: "mean" and "std" as that has them, numbers with commas.
        mean: of the run, one for all channels or one each.
        std: the same.
    """
    warnings = []
    for name, own in (("mean", mean), ("std", std)):
        try:
            named = [float(value) for value in header.get(name, "").split(",")]
        except ValueError:  # none, or not ours
            continue
        one_each = len(named) == len(own) or 1 in (len(named), len(own))
        # A network of one channel has the sum of the kernels, and takes the mean.
        is_mean = len(own) == 1 and np.isclose(np.mean(named), own[0], rtol=1e-5, atol=1e-7)
        if not is_mean and not (one_each and np.allclose(named, own, rtol=1e-5, atol=1e-7)):
            warnings.append(
                f"model.{name} is {_shown(own)}, and {source} says that its weights "
                f"were trained with {_shown(named)}: set model.{name} to that"
            )
    return warnings


def _shown(values: Sequence[float]) -> str:
    return f"({', '.join(f'{value:g}' for value in values)})"
