"""X-rays that are no rows of a run's own data: read, given their lungs and predicted."""

from __future__ import annotations

import collections
import dataclasses
import functools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from jaxcxr.data import lung_doubts, preprocessing, xray_files
from jaxcxr.data.preprocessing import Prepared
from jaxcxr.data.xray_files import XRay, XRayFile
from jaxcxr.errors import InputError
from jaxcxr.exported import enlarged
from jaxcxr.inference.mask_confidence import look_at_confidence, mask_confidence
from jaxcxr.inference.mask_provider import MaskProvider
from jaxcxr.inference.predictor import Lungs, Predictor

PICTURE = 1024  # pixels of the longer side of `Result.picture`
_THREADS = 4


class NoLungs(InputError):
    """An X-ray whose lungs are needed has none."""


@dataclasses.dataclass(frozen=True)
class Source:
    """An X-ray to be predicted.

    Attributes:
        id: what the result is called.
        read: gives its pixels; called in another thread.
        mask: gives the mask that is stored with it, [h, w] uint8; None: there is none.
        name: the id for messages, without what a terminal would obey; '': the id.
    """

    id: str
    read: Callable[[], XRay]
    mask: Callable[[], np.ndarray] | None = None
    name: str = ""

    @classmethod
    def of_file(cls, file: XRayFile) -> Source:
        """A picture or DICOM file, of `data.xray_files.find`."""
        return cls(file.id, functools.partial(xray_files.read_file, file), name=file.name)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """What a network makes of one X-ray, or why it makes nothing of it.

    Attributes:
        id, name: of its source.
        shape: (H, W) of its pixels; None: it could not be read.
        pixels: of an X-ray whose lungs are yet to be found.
        prepared: what the network gets of it.
        picture: [h, w] uint8 to look at, see `preprocessing.picture`; None unless asked for.
        prediction: the task's arrays for it.
        vote_share: [C], the fraction of its patches that chose each class; None where there are no
            patches.
        lungs: [S, S] bool; None where nobody looked for them.
        every_piece: [S, S] bool, with the pieces that `predict.largest_pieces` left out of them.
        left_out_share: the fraction of the pixels of every piece that these are; None as above.
        structure: which convention of a lung they follow, such as lung_field; '' as above.
        mask_confidence: of the lungs, see `inference.mask_confidence`; None as above.
        warnings: what is doubtful about it.
        error: why there is no prediction.
    """

    id: str
    name: str = ""
    shape: tuple[int, ...] | None = None
    pixels: np.ndarray | None = None
    prepared: Any = None
    picture: np.ndarray | None = None
    prediction: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    vote_share: np.ndarray | None = None
    lungs: np.ndarray | None = None
    every_piece: np.ndarray | None = None
    left_out_share: float | None = None
    structure: str = ""
    mask_confidence: float | None = None
    warnings: tuple[str, ...] = ()
    error: Exception | None = None

    @property
    def probabilities(self) -> np.ndarray | None:
        """[C] float64 that sum to 1; None of a segmenter."""
        if "probabilities" not in self.prediction:
            return None
        probabilities = self.prediction["probabilities"].astype(np.float64)
        return probabilities / probabilities.sum()

    @property
    def lung_area_share(self) -> float | None:
        """The fraction of the image that is lungs; None where nobody looked for them."""
        return None if self.lungs is None else float(self.lungs.mean())

    def replace(self, **fields: Any) -> Result:
        """The same with other fields."""
        return dataclasses.replace(self, **fields)

    def with_lungs(self, found: Lungs, prepared: Prepared) -> Result:
        """With what was prepared by the lungs found, and what is doubtful about either."""
        # Of every piece: that some was left out is the network's doubt, too.
        confidence = mask_confidence(found.log_odds, found.every_piece)
        known = dict.fromkeys((*self.warnings, *xray_files.look_at_view(prepared, self.warnings)))
        doubts = lung_doubts.look_at_lungs(found.every_piece)
        if lung_doubts.IN_PIECES not in doubts:  # a lung was left out, not what is beside them
            doubts += lung_doubts.look_at_left_out(found.left_out_share)
        return self.replace(
            pixels=None,
            prepared=prepared,
            lungs=found.mask,
            every_piece=found.every_piece,
            left_out_share=found.left_out_share,
            structure=found.structure,
            mask_confidence=confidence,
            warnings=(
                *known,
                *doubts,
                *look_at_confidence(confidence),
            ),
        )


def predict(
    predictor: Predictor,
    masks: MaskProvider,
    sources: Iterable[Source],
    *,
    pictures: bool = False,
) -> Iterator[Result]:
    """Results of X-rays; what goes wrong with one is its error and stops no other.

    The patches of an image follow from its own pixels: which other X-rays there are changes
    nothing. Memory holds a batch of `evaluate.batch_size` and a few that are read ahead. The
    results come in the order of the sources, but for those that cannot be read, which wait for no
    batch. `pictures`: each has its `picture`.
    """
    size = predictor.config.evaluate.batch_size
    waiting: list[Result] = []
    with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool:
        for result in _read_ahead(
            pool, functools.partial(_read, predictor, masks, pictures), sources
        ):
            if result.error is not None:
                yield result
                continue
            waiting.append(result)
            if len(waiting) == size:
                yield from _predict_batch(predictor, masks, waiting, pool)
                waiting = []
        yield from _predict_batch(predictor, masks, waiting, pool)


def _read_ahead(
    pool: ThreadPoolExecutor, read: Callable[[Source], Result], sources: Iterable[Source]
) -> Iterator[Result]:
    ahead: collections.deque[Future[Result]] = collections.deque()
    for source in sources:
        ahead.append(pool.submit(read, source))
        if len(ahead) > 2 * _THREADS:
            yield ahead.popleft().result()
    while ahead:
        yield ahead.popleft().result()


def _read(predictor: Predictor, masks: MaskProvider, pictures: bool, source: Source) -> Result:
    """An X-ray as the first network takes it."""
    result = Result(id=source.id, name=source.name or source.id)
    try:
        xray, mask = source.read(), source.mask() if source.mask else None
        result = result.replace(shape=xray.pixels.shape)
        first = masks.segmenter or predictor
        prepared = first.prepare(xray.pixels, mask, result.name, structures=masks.structures)
        warnings = (*xray.warnings, *xray_files.look_at_view(prepared, xray.warnings))
        pixels = xray.pixels if masks.segmenter else None
        shown = preprocessing.picture(xray.pixels, longest=PICTURE) if pictures else None
        return result.replace(pixels=pixels, prepared=prepared, picture=shown, warnings=warnings)
    except Exception as error:
        return result.replace(error=error)


def _predict_batch(
    predictor: Predictor, masks: MaskProvider, batch: list[Result], pool: ThreadPoolExecutor
) -> Iterator[Result]:
    """Lungs, then classes, of at most a batch of X-rays; those that cannot be used come first."""
    size = predictor.config.evaluate.batch_size
    if masks.segmenter is not None and batch:
        structures = masks.segmenter.images([result.prepared for result in batch], batch_size=size)
        found = masks.segmenter.lungs(structures)
        batch = list(pool.map(functools.partial(_prepare, predictor), batch, found))
    for number, result in enumerate(batch):
        if (
            result.error is None
            and not predictor.is_segmenter
            and not predictor.can_use(result.prepared)
        ):
            reason = (
                f"{lung_doubts.NO_LUNGS} (masks.on_empty={predictor.config.masks.on_empty!r}): "
                "look at the X-ray, or predict it as a whole with "
                "--config.masks.on_empty=whole_image"
            )
            batch[number] = result.replace(error=NoLungs(reason))
    yield from (result for result in batch if result.error is not None)
    batch = [result for result in batch if result.error is None]
    if not batch:
        return
    prediction = predictor.images([result.prepared for result in batch])
    found = predictor.lungs(prediction) if predictor.is_segmenter else []
    for n, result in enumerate(batch):
        own = {name: array[n] for name, array in prediction.items()}
        votes = own["vote_fraction"] if predictor.draws_patches else None
        result = result.replace(prediction=own, vote_share=votes)
        if found:
            masked = dataclasses.replace(result.prepared, mask=found[n].mask)
            result = result.with_lungs(found[n], masked)
        yield result


def _prepare(predictor: Predictor, result: Result, found: Lungs) -> Result:
    """The X-ray as the classifier takes it, with the lungs that a segmenter found."""
    try:
        assert result.pixels is not None and result.shape is not None
        mask = enlarged(found.mask, result.shape).astype(np.uint8)
        prepared = predictor.prepare(result.pixels, mask, result.name)
        return result.with_lungs(found, prepared)
    except Exception as error:
        return result.replace(pixels=None, error=error)
