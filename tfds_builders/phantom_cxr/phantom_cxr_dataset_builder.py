"""TFDS builder of drawn chest X-rays: four classes that differ inside the lungs only."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterator
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from tfds_builders import image_files, rejection, xray_builder
from tfds_builders.phantom_cxr import drawing

_OPTIONS = ("size", "patients", "seed", "confounder")


@dataclasses.dataclass(eq=False, kw_only=True)
class PhantomConfig(tfds.core.BuilderConfig):
    """Everything that the pictures depend on; see `Builder.configure`."""

    size: int
    patients: int
    seed: int
    confounder: float


def make_config(
    *, size: int = 256, patients: int = 120, seed: int = 0, confounder: float = 0.0
) -> PhantomConfig:
    """A config whose name spells out its options; see `Builder.configure`."""
    for name, value, lowest in (
        ("size", size, drawing.MIN_SIZE),
        ("patients", patients, 1),
        ("seed", seed, 0),
    ):
        if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
            raise ValueError(f"phantom_cxr: {name}={value!r} must be an int of {lowest} or more.")
    if not 0 <= confounder <= 1 or round(confounder, 2) != confounder:
        raise ValueError(
            f"phantom_cxr: confounder={confounder!r} must be a probability in steps of 0.01."
        )
    return PhantomConfig(
        name=f"s{size}_p{patients}_seed{seed}_c{confounder:.2f}",
        size=size,
        patients=patients,
        seed=seed,
        confounder=float(confounder),
    )


class Builder(xray_builder.XrayBuilder):
    """Phantom chest X-rays with masks of lungs and heart.

    Options:
        size: side of the square pictures in pixels, 256.
        patients: how many, 120; each has 1 to 3 images, every four hold each class once.
        seed: other seeds give other patients, 0.
        confounder: probability in [0, 1] that the marker in the corner is the one of the class
            (`drawing.CLASS_MARKERS`) and not a random one, 0.0.
    """

    VERSION = tfds.core.Version("1.1.0")
    BUILDER_CONFIGS: ClassVar = [make_config()]
    LICENSE = "Apache-2.0"
    MASKS = ("mask_lung", "mask_left_lung", "mask_right_lung", "mask_heart")

    @classmethod
    def configure(cls, **chosen: Any) -> PhantomConfig:
        """The config with these options; what is not given is as in the default config.

        Raises:
            TypeError: an option is unknown; names the known ones.
            ValueError: a value is out of range.
        """
        for name in chosen:
            if name not in _OPTIONS:
                raise TypeError(f"unknown option {name!r}; known options: {', '.join(_OPTIONS)}")
        config = make_config(**chosen)
        default = cls.BUILDER_CONFIGS[0]
        # TFDS wants the very object that the class lists, not an equal one.
        return default if config.name == default.name else config

    def select(self, dl_manager: tfds.download.DownloadManager) -> xray_builder.Selection:
        config = self.builder_config
        counts = collections.Counter()
        for patient in range(config.patients):
            label = drawing.patient_label(config.seed, patient)
            counts[label] += drawing.image_count(config.seed, patient)
        return xray_builder.Selection(
            images=range(config.patients),
            count=counts.total(),
            rejected=rejection.Rejected(),
            more={"images_by_label": dict(sorted(counts.items()))},
        )

    def examples(self, images: range) -> Iterator[xray_builder.Example]:
        config = self.builder_config
        for patient in images:
            # Who is another patient has another name.
            seed = f"s{config.seed}-" if config.seed else ""
            patient_id = f"phantom-{seed}p{patient:04d}"
            for number in range(drawing.image_count(config.seed, patient)):
                phantom = drawing.draw(
                    seed=config.seed,
                    patient=patient,
                    image=number,
                    size=config.size,
                    confounder=config.confounder,
                )
                yield xray_builder.Example(
                    id=f"{patient_id}-{number}",
                    image=image_files.png(phantom.image),
                    patient_id=patient_id,
                    strict_patient_id=patient_id,
                    label=phantom.label,
                    finding=phantom.label,
                    view=phantom.view,
                    source="phantom",
                    age_group="adult",
                    masks={name: phantom.masks[name.removeprefix("mask_")] for name in self.MASKS},
                )
