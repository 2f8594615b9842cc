"""Prediction on a user's own X-rays.

Pictures and DICOM files in, a table of probabilities and warnings out.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict
from tqdm import tqdm

from jaxcxr import data, hints, parallel
from jaxcxr.artifacts import VOLATILE, RunFolder, encode_png
from jaxcxr.data import xray_files
from jaxcxr.data.xray_files import XRayFile
from jaxcxr.report import plots
from jaxcxr.runs import trained
from jaxcxr.runs.explaining import grey
from jaxcxr.runs.xray_results import MASKS, OVERLAYS, Results, Row
from jaxcxr.types import InputError

FOLDER = "xrays"
# The learner stays what it is, whoever finds the lungs for it.
_VOLATILE = (*VOLATILE, "masks.workdir", "masks.on_empty")
_THREADS = 4


def run(config: ConfigDict, workdir: Path) -> None:
    """Predicts own X-rays with the best checkpoint of a trained workdir.

    `--config.run=predict --config.predict.inputs=...`

    Writes `xrays/predictions.csv` and `.jsonl` below the run folder: of a classifier the class
    probabilities, of a segmenter the share of the lungs, and their masks as `xrays/masks/<id>.png`.
    The data that the run was trained on is not needed.

    Raises:
        InputError: there is nothing to predict, or with; after everything else is done, also if
            files could not be used.
    """
    if config.task not in ("classify", "segment"):
        known = [f"{name}/fold{config.split.fold}" for name in config.inputs.learners]
        raise InputError(
            f"predict.inputs goes with a run that looks at X-rays; {config.task!r} reads its "
            "learners' predictions. Give the --config and --workdir of one of "
            f"them{': ' if known else ''}{', '.join(known)}"
        )
    parallel.check_batch_size(config.evaluate.batch_size, field="evaluate.batch_size")
    started = time.monotonic()
    with RunFolder.open(
        workdir, config.to_dict(), active=parallel.is_main(), volatile=_VOLATILE
    ) as folder:
        found = xray_files.find(config.predict.inputs, leave_out=folder.path / FOLDER)
        networks = _networks(config, folder)
        folder.claim()
        classes = data.learned_classes(config.data) if networks.learner else ()
        with (
            Results(
                folder.path / FOLDER, classes, active=parallel.is_main(), pictures=_pictures(config)
            ) as results,
            tqdm(
                total=len(found.files), desc="X-rays", unit="image", disable=not parallel.is_main()
            ) as bar,
        ):
            _predict(networks, found.files, results, bar)
        count = results.predicted
        patches = config.patches.eval_count if "patches" in config and config.patches.enabled else 0
        folder.add_timing(
            FOLDER, seconds=time.monotonic() - started, images=count, patches=count * patches
        )
        segmenter = networks.lungs.folder if networks.lungs else None
        results.finish(
            {"model": config.model.name, "patches_an_image": patches, "lungs_from": segmenter},
            hidden=found.hidden,
        )


@dataclasses.dataclass(frozen=True)
class _Networks:
    """learner: None where only lungs are asked for.

    lungs: the segmenter, None where nobody needs one.
    """

    config: ConfigDict
    learner: trained.Network | None
    lungs: trained.Network | None


@dataclasses.dataclass(frozen=True)
class _Loaded:
    """A file, read or refused.

    Its pixels [H, W], what the next network sees of it, what is known of it; or what is wrong with
    it.
    """

    file: XRayFile
    seen: Any = None
    pixels: Any = None
    warnings: tuple[str, ...] = ()
    lung_area: float | None = None
    error: str = ""

    def failed(self, error: Exception) -> _Loaded:
        """The same file after an error; its pixels are let go.

        Raises:
            InputError: the next file would meet the same error.
        """
        return _Loaded(self.file, error=xray_files.reason(self.file.name, error))

    def row(self) -> Row:
        return Row(id=self.file.id, lung_area_share=self.lung_area, warnings=self.warnings)


def _pictures(config: ConfigDict) -> list[str]:
    """The kinds of pictures that every X-ray gets."""
    return [MASKS] * (config.task == "segment") + [OVERLAYS] * bool(config.predict.overlays)


def _networks(config: ConfigDict, folder: RunFolder) -> _Networks:
    own = trained.Network.open(config, folder)
    if config.task == "segment":
        return _Networks(config, None, own)
    # A run that was trained with a segmenter's masks knows that segmenter.
    given = config.masks.workdir or folder.config().get("masks", {}).get("workdir", "")
    if given:
        return _Networks(config, own, trained.open_segmenter(Path(given)))
    if own.needs_lungs:
        raise InputError(
            "this learner looks at lungs, and nothing says where these are in your X-rays: give "
            "it a finished segment run, --config.masks.workdir=SEGMENTER. Make one with\n"
            f"{hints.any_segmenter('SEGMENTER')}"
        )
    return _Networks(config, own, None)


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
    loaded = _Loaded(file)
    try:
        xray = xray_files.read_file(file)
        # Of its pixels the masks and the learner's view are made.
        pixels = xray.pixels if networks.lungs else None
        seen = first.view(xray.pixels, None, file.name)
        warnings = (*xray.warnings, *xray_files.look_at_view(seen, xray.warnings))
        return dataclasses.replace(loaded, seen=seen, pixels=pixels, warnings=warnings)
    except Exception as error:
        return loaded.failed(error)


def _predict_batch(
    networks: _Networks, batch: list[_Loaded], results: Results, pool: ThreadPoolExecutor
) -> None:
    """Lungs, then classes, of at most a batch of X-rays."""
    size = networks.config.evaluate.batch_size
    if networks.lungs is not None:
        batch = _usable(_with_lungs(networks, networks.lungs, batch, results, pool), results)
    rows = [one.row() for one in batch]
    if networks.learner is not None and batch:
        rows = _classified(networks.learner, batch, size)
    for one, row in zip(batch, rows, strict=True):
        try:
            _draw(networks.config, results, one)
            if row.probabilities is not None and not np.isfinite(row.probabilities).all():
                raise InputError(f"{one.file.name}: the network's output is not a number")
        except Exception as error:
            results.fail(one.file.id, one.failed(error).error)
        else:
            results.add(row)


def _usable(batch: list[_Loaded], results: Results) -> list[_Loaded]:
    for one in batch:
        if one.error:
            results.fail(one.file.id, one.error)
    return [one for one in batch if not one.error]


def _with_lungs(
    networks: _Networks,
    segmenter: trained.Network,
    batch: list[_Loaded],
    results: Results,
    pool: ThreadPoolExecutor,
) -> list[_Loaded]:
    """Adds the lungs, or an error to what the learner cannot use without any."""
    lungs = segmenter.find_lungs(
        [one.seen for one in batch], size=networks.config.evaluate.batch_size
    )
    learner = networks.learner

    def add(one: _Loaded, lung: np.ndarray) -> _Loaded:
        mask = trained.enlarged(lung, one.pixels.shape)
        if learner is None:
            results.picture(MASKS, one.file.id, encode_png(mask * np.uint8(255)))
            seen = dataclasses.replace(one.seen, mask=lung)
        else:
            seen = learner.view(one.pixels, mask, one.file.name)
            if not learner.can_use(seen):
                reason = f"{xray_files.NO_LUNGS} (masks.on_empty={learner.config.masks.on_empty!r})"
                return _Loaded(one.file, error=reason)
        known = dict.fromkeys((*one.warnings, *xray_files.look_at_view(seen, one.warnings)))
        warnings = (*known, *xray_files.look_at_lungs(lung))
        return dataclasses.replace(
            one, seen=seen, pixels=None, warnings=warnings, lung_area=float(lung.mean())
        )

    def add_or_fail(one: _Loaded, lung: np.ndarray) -> _Loaded:
        try:
            return add(one, lung)
        except Exception as error:
            return one.failed(error)

    return list(pool.map(add_or_fail, batch, lungs))


def _classified(learner: trained.Network, batch: list[_Loaded], size: int) -> list[Row]:
    count = learner.config.patches.eval_count
    prediction = learner.predict([one.seen for one in batch], count=count, size=size)
    rows = []
    for n, one in enumerate(batch):
        probabilities = prediction["probabilities"][n].astype(np.float64)
        row = one.row()
        row.probabilities = probabilities / probabilities.sum()
        if learner.config.patches.enabled:
            row.vote_share = prediction["vote_fraction"][n]
        rows.append(row)
    return rows


def _draw(config: ConfigDict, results: Results, one: _Loaded) -> None:
    """The X-ray as the network sees it, with its lungs outlined.

    Where `predict.overlays` asks for it.
    """
    if config.predict.overlays and results.active:
        title = f"{one.file.name}\nResearch use only"
        figure = plots.mask_overlay(grey(one.seen.image[None])[0], one.seen.mask, title=title)
        results.picture(OVERLAYS, one.file.id, plots.to_png(figure))


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
