"""Prediction on a user's own X-rays: pictures and DICOM files in, a table of probabilities and warnings out."""

from __future__ import annotations

import collections
import dataclasses
import functools
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict
from PIL import Image
from tqdm import tqdm

from jaxcxr import data, parallel
from jaxcxr.artifacts import CONFIG, VOLATILE, RunFolder, encode_png
from jaxcxr.data import decoding, preprocessing, xray_files
from jaxcxr.data.preprocessing import Prepared
from jaxcxr.data.store import REFERENCE
from jaxcxr.data.xray_files import XRayFile
from jaxcxr.report import plots
from jaxcxr.runs import predict, steps
from jaxcxr.runs.explaining import grey
from jaxcxr.runs.xray_results import MASKS, OVERLAYS, Results, Row
from jaxcxr.state import Variables
from jaxcxr.types import InputError

FOLDER = "xrays"
# The learner stays what it is, whoever finds the lungs for it.
_VOLATILE = (*VOLATILE, "masks.workdir", "masks.on_empty")
_THREADS = 4
_TYPES = {"index": np.int32, "label": np.int32}


def run(config: ConfigDict, workdir: Path) -> None:
    """`--config.run=predict --config.predict.inputs=...` with the best checkpoint of a trained workdir.

    Writes `xrays/predictions.csv` and `.jsonl` below the run folder: of a classifier the class probabilities, of a
    segmenter the share of the lungs, and their masks as `xrays/masks/<id>.png`. The data that the run was trained on
    is not needed.

    Raises:
      InputError: there is nothing to predict, or with; after everything else is done, also if files could not be used.
    """
    if config.task not in ("classify", "segment"):
        known = [f"{name}/fold{config.split.fold}" for name in config.inputs.learners]
        raise InputError(
            f"predict.inputs goes with a run that looks at X-rays; {config.task!r} reads its learners' predictions. "
            f"Give the --config and --workdir of one of them{': ' if known else ''}{', '.join(known)}"
        )
    parallel.check_batch_size(config.evaluate.batch_size, field="evaluate.batch_size")
    started = time.monotonic()
    with RunFolder.open(
        workdir, config.to_dict(), active=parallel.is_main(), volatile=_VOLATILE
    ) as folder:
        found = xray_files.find(config.predict.inputs, leave_out=folder.path / FOLDER)
        networks = _networks(config, folder)
        classes = data.learned_classes(config.data) if networks.learner else ()
        with (
            Results(folder.path / FOLDER, classes, active=parallel.is_main()) as results,
            tqdm(
                total=len(found), desc="X-rays", unit="image", disable=not parallel.is_main()
            ) as bar,
        ):
            _predict(networks, found, results, bar)
        count = results.predicted
        patches = config.patches.eval_count if "patches" in config and config.patches.enabled else 0
        folder.add_timing(
            FOLDER, seconds=time.monotonic() - started, images=count, patches=count * patches
        )
        segmenter = networks.lungs.folder if networks.lungs else None
        results.finish(
            {"model": config.model.name, "patches_an_image": patches, "lungs_from": segmenter}
        )


@dataclasses.dataclass(frozen=True)
class _Network:
    """A trained run, ready to predict; reference: what it matches histograms to, if it does."""

    config: ConfigDict
    folder: Path
    compiled: steps.Compiled
    variables: Variables
    settings: data.Preprocessing
    reference: np.ndarray | None

    @classmethod
    def open(cls, config: ConfigDict, folder: RunFolder) -> _Network:
        extras = {}
        if config.task == "classify":  # the weights of the loss play no part here
            extras["class_weights"] = np.ones(len(data.learned_classes(config.data)), np.float32)
        compiled = steps.compile_for(config, **extras)
        settings = data.Preprocessing.of(config.data)
        reference = None
        if settings.match != "none":
            path = folder.path / REFERENCE
            if not path.exists():
                raise InputError(
                    f"data.match={settings.match!r} gives all images the histogram of one training image, and "
                    f"{path}, which keeps it, does not exist: predict with the run's own data once "
                    f"(--config.run=predict --workdir={folder.path})"
                )
            reference = decoding.decode_grey(path.read_bytes(), str(path))
        variables = predict.restore_best(compiled.task, folder)
        return cls(config, folder.path, compiled, variables, settings, reference)

    @property
    def needs_lungs(self) -> bool:
        """Whether a classifier cannot do without a lung mask."""
        return self.config.patches.enabled or self.settings.lungs != "whole"

    def can_use(self, seen: Prepared) -> bool:
        """Whether a classifier is to predict this X-ray, by `masks.on_empty`."""
        return not (seen.empty and self.needs_lungs) or self.config.masks.on_empty == "whole_image"

    def view(self, pixels: np.ndarray, mask: np.ndarray | None, name: str) -> Prepared:
        """An X-ray as this network sees it; mask: [H, W] uint8, 1 in the lungs."""
        fill = self.config.masks.on_empty == "whole_image"
        return preprocessing.prepare(
            pixels, mask, self.settings, name=name, fill_empty=fill, reference=self.reference
        )

    def predict(self, seen: Sequence[Prepared], *, count: int, size: int) -> dict[str, np.ndarray]:
        """The task's prediction for up to `size` images, always by the same program.

        The patches of an image follow from its own pixels: which other files there are changes nothing.
        """
        rows = np.minimum(np.arange(size), len(seen) - 1)
        arrays: dict[str, list[Any]] = {"image": [one.image for one in seen]}
        arrays["index"] = [_hash31(one.image) for one in seen]
        if self.config.task == "classify":
            arrays["label"] = [0] * len(seen)
            if "mask" in self.compiled.task.inputs:
                arrays["mask"] = [one.mask for one in seen]
        batch = {
            name: np.asarray(values, _TYPES.get(name))[rows] for name, values in arrays.items()
        }
        batch["weight"] = (np.arange(size) < len(seen)).astype(np.float32)
        local = size // parallel.process_count()
        part = slice(parallel.process_index() * local, (parallel.process_index() + 1) * local)
        batch = {name: value[part] for name, value in batch.items()}
        key = jax.random.fold_in(jax.random.key(self.config.seed), 1)  # `Experiment.predict`'s
        program = self.compiled.predict(count)
        [prediction] = steps.predict_rows(program, self.variables, [batch], key)
        return prediction

    def find_lungs(self, seen: Sequence[Prepared], *, size: int) -> list[np.ndarray]:
        """Of a segmenter: masks [S, S] bool of so many images."""
        lungs = data.lung_ids(self.config.masks.structures)
        return [np.isin(mask, lungs) for mask in self.predict(seen, count=0, size=size)["mask"]]


@dataclasses.dataclass(frozen=True)
class _Networks:
    """learner: None where only lungs are asked for. lungs: the segmenter, None where nobody needs one."""

    config: ConfigDict
    learner: _Network | None
    lungs: _Network | None


@dataclasses.dataclass(frozen=True)
class _Loaded:
    """A file: its pixels [H, W], what the next network sees of it, what is known of it; or what is wrong with it."""

    file: XRayFile
    seen: Any = None
    pixels: Any = None
    warnings: tuple[str, ...] = ()
    lung_area: float | None = None
    error: str = ""

    def row(self) -> Row:
        return Row(id=self.file.id, lung_area_share=self.lung_area, warnings=self.warnings)


def _networks(config: ConfigDict, folder: RunFolder) -> _Networks:
    own = _Network.open(config, folder)
    if config.task == "segment":
        return _Networks(config, None, own)
    # A run that was trained with a segmenter's masks knows that segmenter.
    given = config.masks.workdir or folder.read_json(CONFIG, {}).get("masks", {}).get("workdir", "")
    if given:
        return _Networks(config, own, _segmenter(Path(given)))
    if own.needs_lungs:
        raise InputError(
            "this learner looks at lungs, and nothing says where these are in your X-rays: give it a finished segment "
            "run, --config.masks.workdir=SEGMENTER. Make one with\n"
            "  python main.py --config=configs/fc_densenet103.py --workdir=SEGMENTER\n"
            "for phantoms, or for real X-rays\n"
            "  python main.py --config=configs/fc_densenet103.py:small --config.data.manual_dir=... --workdir=SEGMENTER"
        )
    return _Networks(config, own, None)


def _segmenter(path: Path) -> _Network:
    folder = RunFolder(path)
    saved = folder.read_json(CONFIG)
    if not saved or saved.get("task") != "segment" or not folder.is_finished("train"):
        raise InputError(
            f"masks.workdir={str(path)!r} is not the folder of a finished segment run; make one with\n"
            f"  python main.py --config=configs/fc_densenet103.py --workdir={path}"
        )
    return _Network.open(ConfigDict(saved), folder)


def _predict(networks: _Networks, found: Sequence[XRayFile], results: Results, bar: Any) -> None:
    """Streams the files through the networks in batches."""
    size = networks.config.evaluate.batch_size
    waiting: list[_Loaded] = []
    with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool:
        for loaded in _in_order(pool, functools.partial(_load, networks), found):
            if loaded.error:
                results.fail(loaded.file.id, loaded.error)
                bar.update()
                continue
            waiting.append(loaded)
            if len(waiting) == size:
                _predict_batch(networks, waiting, results, pool)
                bar.update(len(waiting))
                waiting = []
        if waiting:
            _predict_batch(networks, waiting, results, pool)
            bar.update(len(waiting))


def _load(networks: _Networks, file: XRayFile) -> _Loaded:
    first = networks.lungs or networks.learner
    assert first is not None
    try:
        xray = xray_files.read_file(file)
        pixels = (
            xray.pixels if networks.lungs else None
        )  # of which masks and the learner's view are made
        return _Loaded(file, first.view(xray.pixels, None, file.id), pixels, xray.warnings)
    except InputError as error:
        return _Loaded(file, error=str(error))


def _predict_batch(
    networks: _Networks, batch: list[_Loaded], results: Results, pool: ThreadPoolExecutor
) -> None:
    """Lungs, then classes, of at most a batch of X-rays."""
    size = networks.config.evaluate.batch_size
    if networks.lungs is not None:
        batch = _with_lungs(networks, networks.lungs, batch, results, pool)
    if networks.learner is None:
        for one in batch:
            results.add(one.row())
    elif batch:
        _classify(networks.learner, batch, results, size)
    for one in batch:
        _draw(networks.config, results, one)


def _with_lungs(
    networks: _Networks,
    segmenter: _Network,
    batch: list[_Loaded],
    results: Results,
    pool: ThreadPoolExecutor,
) -> list[_Loaded]:
    """Adds the lungs; leaves out what the learner cannot use without any, and says so."""
    lungs = segmenter.find_lungs(
        [one.seen for one in batch], size=networks.config.evaluate.batch_size
    )
    learner = networks.learner

    def add(one: _Loaded, lung: np.ndarray) -> _Loaded:
        mask = _enlarged(lung, one.pixels.shape)
        if learner is None:
            results.picture(MASKS, one.file.id, encode_png(mask * np.uint8(255)))
            seen = dataclasses.replace(one.seen, mask=lung)
        else:
            seen = learner.view(one.pixels, mask, one.file.id)
        warnings = (*one.warnings, *xray_files.look_at_lungs(lung))
        return dataclasses.replace(
            one, seen=seen, pixels=None, warnings=warnings, lung_area=float(lung.mean())
        )

    usable = []
    for one in pool.map(add, batch, lungs):
        if learner is None or learner.can_use(one.seen):
            usable.append(one)
        else:
            reason = f"{xray_files.NO_LUNGS} (masks.on_empty={learner.config.masks.on_empty!r})"
            results.fail(one.file.id, reason)
    return usable


def _classify(learner: _Network, batch: list[_Loaded], results: Results, size: int) -> None:
    count = learner.config.patches.eval_count
    prediction = learner.predict([one.seen for one in batch], count=count, size=size)
    for n, one in enumerate(batch):
        probabilities = prediction["probabilities"][n].astype(np.float64)
        row = one.row()
        row.probabilities = probabilities / probabilities.sum()
        if learner.config.patches.enabled:
            row.vote_share = prediction["vote_fraction"][n]
        results.add(row)


def _draw(config: ConfigDict, results: Results, one: _Loaded) -> None:
    """The X-ray as the network sees it, with its lungs outlined, where `predict.overlays` asks for it."""
    if config.predict.overlays and results.active:
        name = one.file.id.replace("$", r"\$")  # between dollars Matplotlib reads formulas
        figure = plots.mask_overlay(grey(one.seen.image[None])[0], one.seen.mask, title=f"{name}\nResearch use only")
        results.picture(OVERLAYS, one.file.id, plots.to_png(figure))


def _enlarged(lung: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A mask [S, S] bool at its image's size [H, W], uint8 0 or 1: as `predict.write_masks` keeps it."""
    size = (shape[1], shape[0])
    return np.asarray(Image.fromarray(lung.astype(np.uint8)).resize(size, Image.Resampling.NEAREST))


def _in_order(
    pool: Executor, load: Callable[[XRayFile], _Loaded], found: Sequence[XRayFile]
) -> Iterator[_Loaded]:
    """The files in their order, loaded a few ahead: memory holds only these."""
    ahead: collections.deque[Future[_Loaded]] = collections.deque()
    for file in found:
        ahead.append(pool.submit(load, file))
        if len(ahead) > 2 * _THREADS:
            yield ahead.popleft().result()
    while ahead:
        yield ahead.popleft().result()


def _hash31(image: np.ndarray) -> int:
    """A number in [0, 2^31) from an image's pixels, the same everywhere."""
    return int.from_bytes(hashlib.sha256(np.ascontiguousarray(image).data).digest()[:4], "big") >> 1
