"""Rejected rows and files of a builder, with reasons: excluded on purpose, or at fault."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable

import tensorflow_datasets as tfds
from absl import logging

from tfds_builders import common

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
    if common.frontal_view(view) is not None:
        return None
    return Reason(
        f"view {view or 'blank'}", is_fault=common.same_spelling(view) not in _OTHER_VIEWS
    )


def modality_reason(modality: str) -> Reason | None:
    """The reason to reject an image of a modality; None if it is an X-ray."""
    name = modality.strip().lower()
    if "ray" in name or name in _X_RAYS:
        return None
    return Reason(f"modality {modality or 'blank'}", is_fault=name not in _OTHER_MODALITIES)


MISSING = Reason("missing file")
NO_PATIENT = Reason("no patient id")


def record_counts(
    builder: tfds.core.DatasetBuilder,
    *,
    kept: int,
    rejected: Rejected,
    notices: Iterable[str] = (),
    unknown_findings: Iterable[str] = (),
    known_findings: Iterable[str] = (),
    **more,
) -> None:
    """Writes the counts of used and rejected images to `builder.info.metadata`, beside the data.

    Args:
        builder: the owner of the metadata.
        kept: number of used images.
        rejected: the rejected rows and files.
        notices: assumptions made while reading, for users of the data.
        unknown_findings: findings that this data set is not known to have; their images have no
            class by fault and not on purpose.
        known_findings: those that it may have, for the message about the others.
        **more: further counts.

    Raises:
        ValueError: no image is used.
        TypeError: the builder's info has no place for metadata.
    """
    if not kept:
        raise ValueError(f"{builder.name}: no usable image; rejected: {rejected}")
    metadata = builder.info.metadata
    if metadata is None:
        raise TypeError(f"{builder.name}: its _info gives no MetadataDict")
    unknown = sorted(unknown_findings)
    metadata.update(
        kept=kept,
        rejected=rejected.counts,
        rejected_names=rejected.first_names,
        faults=rejected.faults,
        notices=list(notices),
        unknown_findings=unknown,
        known_findings=sorted(known_findings) if unknown else [],
        **more,
    )
    logging.info("%s: kept %d images, rejected %s", builder.name, kept, rejected)
