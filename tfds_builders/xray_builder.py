"""The skeleton of every builder: select the images of a source, then say what is known of each."""

from __future__ import annotations

import abc
import dataclasses
import reprlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds
from absl import logging

from tfds_builders import choices, image_files, manual_folder, patient_ids, rejection

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

    def manual_root(self, dl_manager: tfds.download.DownloadManager, *paths: str) -> Path:
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
        self._check_names()
        selection = self.select(dl_manager)
        self._record(selection)
        return {SPLIT: self._generate_examples(selection)}

    def _check_names(self) -> None:
        """Raises ValueError where MASKS and OWN_TEXTS cannot be features beside those of all."""
        own = (*self.mask_names(), *self.OWN_TEXTS)
        for name in own:
            if name in ("image", *TEXTS):
                raise ValueError(
                    f"{self.name}: {name!r} in MASKS or OWN_TEXTS is a field of every example: "
                    "choose another name"
                )
            if own.count(name) > 1:
                raise ValueError(f"{self.name}: {name!r} is twice in MASKS and OWN_TEXTS")
            if name.startswith("mask_") != (name in self.mask_names()):
                raise ValueError(
                    f"{self.name}: {name!r}: masks, and they alone, are named mask_<structure>"
                )

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

    def _generate_examples(self, selection: Selection) -> Iterator[tuple[str, dict[str, Any]]]:
        seen: set[str] = set()
        for example in self.examples(selection.images):
            self._check(example)
            if example.id in seen:
                raise ValueError(f"{self.name}: two images have the id {example.id!r}")
            seen.add(example.id)
            yield (
                example.id,
                {
                    "image": example.image,
                    **{name: getattr(example, name) for name in TEXTS},
                    **{name: image_files.png(mask) for name, mask in example.masks.items()},
                    **example.own_texts,
                },
            )
        if len(seen) != selection.count:
            raise ValueError(
                f"{self.name}: `select` counts {selection.count} images, but `examples` gives "
                f"{len(seen)}: what is not used belongs to `rejected`"
            )

    def _check(self, example: Example) -> None:
        """Raises ValueError where an example is not as `Example` says; names image and field."""
        if not isinstance(example.id, str) or not example.id.strip():
            raise ValueError(f"{self.name}: an image has the id {example.id!r}: give it a name")
        problem = _image_problem(example) or _text_problem(example, self.OWN_TEXTS)
        if problem := problem or _mask_problem(example, self.mask_names()):
            raise ValueError(f"{self.name}: {example.id}: {problem}")


def _image_problem(example: Example) -> str:
    if isinstance(example.image, bytes) and example.image:
        return ""
    kind = "empty" if isinstance(example.image, bytes) else f"a {type(example.image).__name__}"
    return f"image is {kind}: must be the bytes of an image file, as path.read_bytes() gives them"


def _text_problem(example: Example, own: Iterable[str]) -> str:
    if problem := _other_names(example.own_texts, own, "own_texts", "OWN_TEXTS"):
        return problem
    texts = {name: getattr(example, name) for name in TEXTS} | dict(example.own_texts)
    for name, text in texts.items():
        if not isinstance(text, str):
            return f"{name} is {reprlib.repr(text)}: must be a text"
    for name in ("patient_id", "strict_patient_id"):
        if not patient_ids.key(texts[name]):
            return f"{name} is {texts[name]!r}, which names no patient: reject the image"
    return ""


def _mask_problem(example: Example, own: Iterable[str]) -> str:
    if problem := _other_names(example.masks, own, "masks", "MASKS"):
        return problem
    for name, mask in example.masks.items():
        if not isinstance(mask, np.ndarray):
            return f"{name} is a {type(mask).__name__}: must be an array [H, W]"
        if mask.ndim != 2 or mask.dtype not in (np.bool_, np.uint8):
            return f"{name} is {mask.dtype}{list(mask.shape)}: must be bool or uint8 [H, W]"
    return ""


def _other_names(given: Mapping[str, Any], declared: Iterable[str], field: str, where: str) -> str:
    declared = set(declared)
    if missing := sorted(declared - set(given)):
        return f"{field} lacks {', '.join(missing)}, which {where} declares"
    if more := sorted(set(given) - declared):
        return f"{field} has {', '.join(more)}, which {where} does not declare"
    return ""
