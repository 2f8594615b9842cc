"""Rejected rows and files of a builder, with reasons: excluded on purpose, or at fault."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable

from tfds_builders import attributes

NAMES = 3  # shown of each reason

# Views and kinds of images that a study of frontal X-rays leaves out on purpose. What is spelt
# otherwise is at fault: it may be a frontal X-ray.
_OTHER_VIEWS = frozenset(
    {"l", "ll", "rl", "lat", "lateral", "left lateral", "right lateral", "lateral left",
     "lateral right"}
    | {"axial", "coronal", "sagittal", "oblique", "lao", "rao", "lpo", "rpo", "lordotic",
       "decubitus"}
    | {"axial ct", "coronal ct", "ct"}
)  # fmt: skip
_X_RAYS = ("cr", "dx", "dr", "rg", "cxr", "radiograph", "radiography")
_OTHER_MODALITIES = frozenset({"ct", "cta", "hrct", "mr", "mri", "us", "ultrasound", "pt", "pet"})


@dataclasses.dataclass(frozen=True)
class Reason:
    """The reason why a row or file is not used. is_fault: it should have been usable."""

    text: str
    is_fault: bool = True


class Rejected:
    """Rejected names by reason, in the order of addition."""

    def __init__(self):
        self._names: dict[str, list[str]] = collections.defaultdict(list)
        self._faults: set[str] = set()

    def add(self, reason: Reason, names: Iterable[str]) -> None:
        for name in names:
            # A name of the file system need not be text.
            shown = name.encode(errors="backslashreplace").decode() or "(blank)"
            self._names[reason.text].append(shown)
            if reason.is_fault:
                self._faults.add(reason.text)

    def names(self, reason: Reason) -> list[str]:
        """All names of one reason."""
        return list(self._names.get(reason.text, ()))

    @property
    def counts(self) -> dict[str, int]:
        """Reason -> number, by reason."""
        return {reason: len(self._names[reason]) for reason in sorted(self._names)}

    @property
    def first_names(self) -> dict[str, list[str]]:
        """Reason -> the first names."""
        return {reason: self._names[reason][:NAMES] for reason in sorted(self._names)}

    @property
    def faults(self) -> list[str]:
        """The reasons that are faults."""
        return sorted(self._faults)

    def __str__(self) -> str:
        """'missing file: 5 (a.png, b.png, c.png, ...); view L: 1 (d.png)'."""
        parts = []
        for reason, count in self.counts.items():
            names = ", ".join(self.first_names[reason]) + (", ..." if count > NAMES else "")
            parts.append(f"{reason}: {count} ({names})")
        return "; ".join(parts) or "nothing"


def view_reason(view: str) -> Reason | None:
    """The reason to reject an image of a view; None if it is frontal."""
    if attributes.frontal_view(view) is not None:
        return None
    return Reason(
        f"view {view or 'blank'}", is_fault=attributes.same_spelling(view) not in _OTHER_VIEWS
    )


def modality_reason(modality: str) -> Reason | None:
    """The reason to reject an image of a modality; None if it is an X-ray."""
    name = modality.strip().lower()
    if "ray" in name or name in _X_RAYS:
        return None
    return Reason(f"modality {modality or 'blank'}", is_fault=name not in _OTHER_MODALITIES)


MISSING = Reason("missing file")
NO_PATIENT = Reason("no patient id")
