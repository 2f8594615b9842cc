"""The skeleton of every builder: select the images of a source, then say what is known of each."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds
from absl import logging

from tfds_builders import choices, image_files, manual_folder, rejection

SPLIT = "main"  # TFDS reserves "all", which reads every split there is: both names read this one


@dataclasses.dataclass(frozen=True, kw_only=True)
class Example:
    """An X-ray, its masks, and what is known of it.

    Attributes:
        id: of the image; stable, and unique in the data set.
        image: an encoded file, which is stored untouched.
        patient_id: of whom the source says that the image is.
        strict_patient_id: never tells apart two images that may be of one patient.
        label: a class of the studies, or '' (no class: see `finding`).
        finding: in the source's own words.
        view: 'PA', 'AP Supine', ... or '' where the source does not say.
        source: the collection that the image is of.
        age_group: 'adult', 'paediatric' or ''.
        masks: name ('mask_lung', ...) -> [H, W] bool, or uint8 of 0 to 255.
        own_texts: those that only this data set has, by name.
    """

    id: str
    image: bytes
    patient_id: str
    strict_patient_id: str
    label: str
    finding: str
    view: str
    source: str
    age_group: str
    masks: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    own_texts: Mapping[str, str] = dataclasses.field(default_factory=dict)


TEXTS = tuple(
    field.name
    for field in dataclasses.fields(Example)
    if field.name not in ("image", "masks", "own_texts")
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Selection:
    """The images of a source that a builder uses, and what it says of the others.

    Attributes:
        images: what the builder's `examples` takes.
        count: number of used images.
        rejected: the rejected rows and files, by reason.
        notices: assumptions made while reading, for users of the data.
        unknown_findings: findings that this data set is not known to have; their images have no
            class by fault and not on purpose.
        known_findings: those that it may have, for the message about the others.
        more: further counts.
    """

    images: Any
    count: int
    rejected: rejection.Rejected
    notices: Iterable[str] = ()
    unknown_findings: Iterable[str] = ()
    known_findings: Iterable[str] = ()
    more: Mapping[str, Any] = dataclasses.field(default_factory=dict)


class XrayBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A data set of X-rays with one split, "main".

    A data set gives VERSION, BUILDER_CONFIGS, MANUAL_DOWNLOAD_INSTRUCTIONS (TFDS' own), what is
    below, `select` and `examples`.

    Attributes:
        HOMEPAGE: address of the data set.
        LICENSE: in short, None where LICENSE.md says more.
        MASKS: names of the masks that every example has.
        OWN_TEXTS: names of the texts that only this data set has.
    """

    HOMEPAGE: ClassVar[str | None] = None
    LICENSE: ClassVar[str | None] = None
    MASKS: ClassVar[tuple[str, ...]] = ()
    OWN_TEXTS: ClassVar[tuple[str, ...]] = ()

    @abc.abstractmethod
    def select(self, dl_manager: tfds.download.DownloadManager) -> Selection:
        """Finds the source and chooses among its images; decodes none.

        Raises:
            FileNotFoundError: the source is missing or not whole; shows the tree that is expected.
            ValueError: something in it contradicts itself; names the file.
        """

    @abc.abstractmethod
    def examples(self, images: Any) -> Iterator[Example]:
        """Reads the images of a `Selection`, one after the other.

        Raises:
            ValueError: a file is damaged; names it.
        """

    @classmethod
    def configure(cls, **chosen: Any) -> tfds.core.BuilderConfig:
        """The config with these options, which the class describes; the others are as in the first.

        Raises:
            TypeError: an option is unknown; names the known ones.
            ValueError: a value is not among the choices.
        """
        return choices.find_config(cls.BUILDER_CONFIGS, **chosen)

    @property
    def options(self) -> dict[str, str]:
        """What was chosen.

        Raises:
            TypeError: the config is not one of `choices.all_configs`.
        """
        config = self.builder_config
        if not isinstance(config, choices.ChoiceConfig):
            raise TypeError(f"{self.name}: {config!r} is not a config of this builder")
        return config.options

    def mask_names(self) -> tuple[str, ...]:
        """The masks of this config."""
        return self.MASKS

    def manual_root(self, dl_manager: tfds.download.DownloadManager, *paths: str) -> Any:
        """The manual folder, checked to have every one of `paths`.

        Raises:
            FileNotFoundError: shows what is missing and the tree that is expected.
        """
        return manual_folder.require(
            dl_manager,
            name=self.name,
            paths=paths,
            instructions=self.MANUAL_DOWNLOAD_INSTRUCTIONS or "",
        )

    def _info(self) -> tfds.core.DatasetInfo:
        # TFDS cannot decode grey without a fixed number of channels: read `image` with
        # `tfds.decode.SkipDecoding()`.
        image = tfds.features.Image(shape=(None, None, None))
        mask = tfds.features.Image(shape=(None, None, 1))
        texts = (*TEXTS, *self.OWN_TEXTS)
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(
                {
                    "image": image,
                    **{name: tfds.features.Text() for name in texts},
                    **dict.fromkeys(self.mask_names(), mask),
                }
            ),
            metadata=tfds.core.MetadataDict(),
            homepage=self.HOMEPAGE,
            license=self.LICENSE,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        selection = self.select(dl_manager)
        self._record(selection)
        return {SPLIT: self._generate_examples(selection.images)}

    def _record(self, selection: Selection) -> None:
        """Writes the counts of used and rejected images to the metadata, beside the data.

        Raises:
            ValueError: no image is used.
        """
        if not selection.count:
            raise ValueError(f"{self.name}: no usable image; rejected: {selection.rejected}")
        unknown = sorted(selection.unknown_findings)
        assert self.info.metadata is not None  # `_info` gives one
        self.info.metadata.update(
            kept=selection.count,
            rejected=selection.rejected.counts,
            rejected_names=selection.rejected.first_names,
            faults=selection.rejected.faults,
            notices=list(selection.notices),
            unknown_findings=unknown,
            known_findings=sorted(selection.known_findings) if unknown else [],
            **selection.more,
        )
        logging.info(
            "%s: kept %d images, rejected %s", self.name, selection.count, selection.rejected
        )

    def _generate_examples(self, images: Any) -> Iterator[tuple[str, dict[str, Any]]]:
        for example in self.examples(images):
            yield (
                example.id,
                {
                    "image": example.image,
                    **{name: getattr(example, name) for name in TEXTS},
                    **{name: image_files.png(mask) for name, mask in example.masks.items()},
                    **example.own_texts,
                },
            )
