"""The one way from pixels to a result: a network with its preprocessing, patches and batches."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from jaxcxr import data, hints, parallel, shipped
from jaxcxr import weights as pretrained
from jaxcxr.data import decoding, drawn, preprocessing
from jaxcxr.data.preprocessing import Prepared
from jaxcxr.errors import InputError
from jaxcxr.exported import seed_of
from jaxcxr.inference.best import best_variables, has_begun
from jaxcxr.inference.programs import Program, Programs, predict_rows, programs_of
from jaxcxr.state import Variables
from jaxcxr.storage import run_checksums, run_config
from jaxcxr.storage.run_files import CONFIG, PRETRAINED, REFERENCE
from jaxcxr.storage.run_folder import RunFolder
from jaxcxr.tasks import Task, needs_lungs, segment, task_of


def patch_key(seed: int) -> jax.Array:
    """The key of all predictions of a run with this `config.seed`.

    `Task.predict` folds each image's number into it: that is the row in the run's own data set. Of
    any other X-ray it follows from the pixels (`exported.seed_of`), so that neither a file's name
    nor the other files matter.
    """
    return jax.random.fold_in(jax.random.key(seed), 1)


def eval_count(config: ConfigDict) -> int:
    """Patches per image in predictions; 0 where the task draws none."""
    return config.patches.eval_count if "patches" in config else 0


@dataclasses.dataclass(frozen=True)
class Lungs:
    """The lungs that a segmenter found in one image.

    Attributes:
        mask: [S, S] bool.
        every_piece: [S, S] bool, with the pieces that `predict.largest_pieces` leaves out.
        log_odds: [S, S] float, of lung in each pixel.
        structure: which convention of a lung they follow, see `segment.shown_structure`.
    """

    mask: np.ndarray
    every_piece: np.ndarray
    log_odds: np.ndarray
    structure: str

    @property
    def left_out_share(self) -> float:
        """The fraction of the pixels of every piece that the mask leaves out; 0 without any."""
        return (
            float(1 - self.mask.sum() / self.every_piece.sum()) if self.every_piece.any() else 0.0
        )


@dataclasses.dataclass(frozen=True)
class Predictor:
    """A network with all that leads from X-rays to its predictions.

    Attributes:
        config: of its run.
        programs: compiled predictions.
        variables: of the network, on the devices.
        reference: [S, S] uint8 picture whose histogram every image gets, where `data.match` asks
            for it.
        folder: of its run, where it is read from one.
        weights: the name of weights that it has as they are, without training; '' else.
        knows_drawn_only: whether all X-rays of its training were phantoms; what weights that the
            training began with have seen besides does not count. Of weights as they are, and of a
            run that only measured them, what their file says.
    """

    config: ConfigDict
    programs: Programs
    variables: Variables
    reference: np.ndarray | None = None
    folder: Path | None = None
    weights: str = ""
    knows_drawn_only: bool = False

    @classmethod
    def load(cls, run: RunFolder | Path | str, config: ConfigDict | None = None) -> Predictor:
        """The best checkpoint of a finished training; the run's data are not needed.

        Where no training has begun and the config takes weights with their head
        (`model.head=pretrained`), these as they are.

        Args:
            run: its folder.
            config: the run's own with other settings of prediction; None: as config.json has it.

        Raises:
            InputError: training has not finished, a file is missing or damaged, or the run looks at
                no X-rays.
        """
        folder = run if isinstance(run, RunFolder) else RunFolder(run)
        if config is None:
            run_checksums.check(folder, CONFIG)
            config = run_config.read(folder.path)
        with run_config.complete(folder.path):
            kind = task_of(config)
            if not kind.reads_xrays:
                raise InputError(
                    f"{folder.path} is of a run of the task {config.task!r}, which looks at no "
                    "X-rays: name one that classifies or segments them, such as one of its "
                    "learners"
                )
            kind.check_prediction(config)
            programs, reference = programs_of(config), None
            if uses_weights_alone(config, folder):
                return cls.of_weights(config, programs)
            if config.data.match != "none":
                path = reference_file(config, folder)
                run_checksums.check(folder, REFERENCE)
                reference = decoding.decode_grey(path.read_bytes(), str(path))
            # A run that only measured weights with their head has not changed them: what they were
            # trained on is said by themselves, not by the data that measured them.
            untouched = config.model.head == "pretrained" and not config.train.epochs
            if untouched:
                said = folder.read_json(PRETRAINED, {}).get("note", "")
                drawn_only = drawn.NOTE in said
            else:
                drawn_only = bool(drawn.of_builders(config.data.builders))
            return cls(
                config,
                programs,
                best_variables(programs.task, folder),
                reference,
                folder.path,
                weights=config.model.pretrained if untouched else "",
                knows_drawn_only=drawn_only,
            )

    @classmethod
    def of_weights(cls, config: ConfigDict, programs: Programs | None = None) -> Predictor:
        """The network of a config with `model.pretrained` and its head, without any training.

        Raises:
            InputError: no weights are named, they cannot be had, or do not fit; or the images need
                the histogram of a training image.
        """
        c = config.model
        if not c.pretrained:
            raise InputError("model.head=pretrained needs weights, and model.pretrained names none")
        if config.data.match != "none":
            raise InputError(
                f"data.match={config.data.match!r} gives all images the histogram of one training "
                "image, and nothing was trained here: train first"
            )
        programs = programs or programs_of(config)
        with pretrained.from_config(c.pretrained):
            source = pretrained.find(c.pretrained)
            loaded = pretrained.load(source, programs.task.init(None), arch=c.name, new_head=False)
            check_kept_head(config, source, loaded.header)
        return cls(
            config,
            programs,
            parallel.place(loaded.variables),
            weights=c.pretrained,
            knows_drawn_only=drawn.NOTE in loaded.header.get("note", ""),
        )

    @classmethod
    def ready(cls) -> Predictor:
        """The ready-made segmenter: `configs/lungs.py` with the weights that come with jaxcxr."""
        config = shipped.config("lungs")
        devices = parallel.device_count()
        config.evaluate.batch_size = -(-config.evaluate.batch_size // devices) * devices
        return cls.of_weights(config)

    @property
    def origin(self) -> str:
        """What it is of: its run's folder, or its weights as they are."""
        return self.weights or str(self.folder or "")

    @property
    def task(self) -> Task:
        """The pure functions of the network."""
        return self.programs.task

    @property
    def is_segmenter(self) -> bool:
        """Whether it finds structures; else it is a classifier."""
        return not self.task.has_classes

    @property
    def draws_patches(self) -> bool:
        """Whether a classifier sees patches of the lungs, not the whole image."""
        return not self.is_segmenter and self.config.patches.enabled

    @property
    def classes(self) -> tuple[str, ...]:
        """Of the probabilities; a segmenter has none."""
        return () if self.is_segmenter else data.output_classes(self.config.data)

    @functools.cached_property
    def preprocessing(self) -> data.Preprocessing:
        """What happens to the pixels before the network."""
        return data.Preprocessing.of(self.config.data)

    def rows(
        self,
        arrays: Mapping[str, Any],
        index: np.ndarray,
        *,
        count: int | None = None,
        numbers: np.ndarray | None = None,
        program: Program | None = None,
        batch_size: int | None = None,
        resident: Mapping[str, jax.Array] | None = None,
    ) -> Iterator[dict[str, np.ndarray]]:
        """Predictions of rows of prepared arrays, a batch at a time, in their order.

        Args:
            arrays: name -> [N, ...], of `Task.inputs`.
            index: [M] rows of them.
            count: patches per image; None: `patches.eval_count`.
            numbers: [N], which draw each row's patches, see `patch_key`; None: the rows are the
                data set's own.
            program: another one of `programs` than `predict`.
            batch_size: of all devices together; None: `evaluate.batch_size`.
            resident: the arrays, where the devices hold them already.

        Yields:
            The task's arrays [B, ...] on the host, and "index" [B], the rows' numbers.
        """
        count = eval_count(self.config) if count is None else count
        key: Any = patch_key(self.config.seed)
        if resident is not None:
            program, arrays, key = (
                self.programs.predict_resident(count),
                {},
                {"key": key, "arrays": resident},
            )
        batches = data.eval_batches(
            arrays,
            index,
            batch_size=batch_size or self.config.evaluate.batch_size,
            process_index=parallel.process_index(),
            process_count=parallel.process_count(),
        )
        if numbers is not None:
            numbered = numbers.astype(np.int32)
            batches = ({**batch, "index": numbered[batch["index"]]} for batch in batches)
        return predict_rows(program or self.programs.predict(count), self.variables, batches, key)

    def images(
        self, prepared: Sequence[Prepared], *, batch_size: int | None = None
    ) -> dict[str, np.ndarray]:
        """The task's prediction of up to a batch of X-rays, of `prepare`, by one program."""
        names = ["image"] + ["mask"] * self.draws_patches
        arrays = {name: np.stack([getattr(one, name) for one in prepared]) for name in names}
        numbers = np.array([seed_of(one.image) for one in prepared])
        index = np.arange(len(prepared))
        [prediction] = self.rows(arrays, index, numbers=numbers, batch_size=batch_size)
        return prediction

    def prepare(
        self,
        pixels: np.ndarray,
        mask: np.ndarray | None,
        name: str,
        *,
        structures: tuple[str, ...] = ("lung",),
    ) -> Prepared:
        """An X-ray as this network takes it: see `data.preprocessing.prepare`."""
        return preprocessing.prepare(
            pixels,
            mask,
            self.preprocessing,
            name=name,
            structures=structures,
            fill_empty=self.config.masks.on_empty == "whole_image",
            reference=self.reference,
        )

    def can_use(self, prepared: Prepared) -> bool:
        """Whether a classifier is to predict this X-ray, by `masks.on_empty`."""
        is_useless = prepared.empty and needs_lungs(self.config)
        return not is_useless or self.config.masks.on_empty == "whole_image"

    def lungs(self, prediction: dict[str, np.ndarray]) -> list[Lungs]:
        """Of a segmenter's prediction: the lungs of each image."""
        prediction = self._of_wanted_structure(prediction)
        c, structures = self.config.predict, tuple(self.config.masks.structures)
        ids = data.lung_ids(structures)
        masks, every_piece = (
            np.isin(segment.masks_at(prediction, c.threshold, largest=pieces), ids)
            for pieces in (c.largest_pieces, 0)
        )
        log_odds = segment.lung_log_odds(prediction, structures)
        shown = segment.shown_structure(self.config)
        return [Lungs(*one, shown) for one in zip(masks, every_piece, log_odds, strict=True)]

    def _of_wanted_structure(self, prediction: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        if not (wanted := segment.wanted_structure(self.config)):
            return prediction
        structures = tuple(self.config.masks.structures)
        return segment.structure_alone(prediction, structures.index(wanted))


def uses_weights_alone(config: ConfigDict, folder: RunFolder) -> bool:
    """Whether a run predicts with published weights and their head, for no training has begun."""
    return config.model.head == "pretrained" and not has_begun(folder)


def check_kept_head(
    config: ConfigDict, source: pretrained.Source, header: Mapping[str, str]
) -> None:
    """Raises InputError where a run keeps the head of weights whose outputs are not its own."""
    if task_of(config).has_classes:
        classes = data.output_classes(config.data)
        pretrained.header.check_classes(source.path, header, classes)
    else:
        named = source.entry.labels if source.entry else ()
        pretrained.header.check_structures(source.path, named, config.masks.structures)


def reference_file(config: ConfigDict, folder: RunFolder) -> Path:
    """The picture in a run folder whose histogram all images get; InputError without one."""
    path = folder.path / REFERENCE
    if not path.exists():
        raise InputError(
            f"data.match={config.data.match!r} gives all images the histogram of one training "
            f"image, and {path}, which keeps it, does not exist: predict with the run's own data "
            f"once (--config.run=predict {hints.in_folder(folder.path)})"
        )
    return path
