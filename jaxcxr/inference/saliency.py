"""The methods of `--config.run=explain`: heat of images by a run's compiled explainer."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from jaxcxr.errors import InputError
from jaxcxr.explain import lime
from jaxcxr.explain.occlusion import corners, occlusion
from jaxcxr.inference.predictor import Predictor
from jaxcxr.inference.programs import Program
from jaxcxr.tasks import Classify, Task


@dataclasses.dataclass(frozen=True)
class Heat:
    """Where the classifier looks in B images.

    Attributes:
        heat: [B, H, W] float32; negative where a place speaks against the class.
        explained: [B] int, the class.
        probabilities: [B, C] of the images.
        votes: [B, H, W], for Grad-CAM over patches; see `ExplainableTask.explain`.
    """

    heat: np.ndarray
    explained: np.ndarray
    probabilities: np.ndarray
    votes: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Layer:
    """A feature map: its name, and how many places and channels it has."""

    name: str
    height: int
    width: int
    channels: int


@dataclasses.dataclass(frozen=True)
class Explainer:
    """A predictor over rows of its run's data whose images may be changed.

    Rows keep their masks and their numbers, so a changed image is judged by the same patches.

    Attributes:
        predictor: of the run.
        arrays: of its data, name -> [N, ...].
        layer: feature map for Grad-CAM.
        tick: called with the number of images that were predicted.
    """

    predictor: Predictor
    arrays: Mapping[str, Any]
    layer: str
    tick: Callable[[int], Any]

    @property
    def config(self) -> ConfigDict:
        """The run's."""
        return self.predictor.config

    def predict(self, rows: np.ndarray, images: np.ndarray) -> np.ndarray:
        """Probabilities [N, C] of images [N, ...] in the place of those of rows [N]."""
        program = self.predictor.programs.predict(patches(self.config))
        return self._run(program, rows, {"image": images})["probabilities"]

    def grad_cam(
        self, rows: np.ndarray, images: np.ndarray, classes: np.ndarray | None
    ) -> dict[str, np.ndarray]:
        """`ExplainableTask.explain` of these classes [N]; None: as `explain.of` says."""
        changed, e = {"image": images}, self.config.explain
        if classes is not None:
            changed["label"] = classes.astype(np.int32)
        of = e.of if classes is None else "true"
        count = self.config.patches.eval_count
        return self._run(
            self.predictor.programs.explain(count, of, self.layer, e.form), rows, changed
        )

    def _run(
        self, program: Program, rows: np.ndarray, changed: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """The program's arrays for these rows, with other arrays for some of the task's inputs."""
        names = [name for name in self.predictor.task.inputs if name not in changed]
        arrays = {**{name: np.asarray(self.arrays[name][rows]) for name in names}, **changed}
        parts = []
        for part in self.predictor.rows(
            arrays, np.arange(len(rows)), numbers=rows, program=program
        ):
            parts.append(part)
            self.tick(len(part["index"]))
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def explain(
    explainer: Explainer, rows: np.ndarray, images: np.ndarray, classes: np.ndarray | None
) -> Heat:
    """Heat of images [B, ...] in the place of those of rows [B], by `explain.method`.

    Args:
        explainer: of the run.
        rows: [B] of the data set.
        images: [B, H, W] or [B, H, W, C] uint8.
        classes: [B] to explain; None: as `explain.of` says.
    """
    return _METHODS[explainer.config.explain.method](explainer, rows, images, classes)


def check(config: ConfigDict) -> None:
    """Raises InputError for settings of the method that cannot be meant."""
    e = config.explain
    if e.method == "occlusion":
        for name in ("size", "stride"):
            if not 0 < e.occlusion[name] <= 1:
                raise InputError(
                    f"explain.occlusion.{name}={e.occlusion[name]}: give a share of the side in "
                    "(0, 1]"
                )
        if not 0 <= e.occlusion.fill <= 1:
            raise InputError(
                f"explain.occlusion.fill={e.occlusion.fill}: give a grey value in [0, 1]"
            )
    elif e.method == "lime":
        lime.check_installed()
        if e.lime.samples < 2 or e.lime.features < 1:
            raise InputError(
                f"explain.lime.samples={e.lime.samples} and "
                f"explain.lime.features={e.lime.features}: give at least 2 samples and 1 feature"
            )


def find_layer(task: Task, name: str) -> Layer:
    """The feature map that Grad-CAM takes; needs no checkpoint.

    Raises:
        InputError: the network has none of the name `explain.layer`.
    """
    assert isinstance(task, Classify)
    name, (height, width, channels) = task.find_layer(name)
    return Layer(name, height, width, channels)


def patches(config: ConfigDict) -> int:
    """Patches an image and prediction; 1 for whole images."""
    own = (
        config.explain.patches
        if config.explain.method != "gradcam" and config.patches.enabled
        else 0
    )
    return own or config.patches.eval_count


def predictions(config: ConfigDict, shape: tuple[int, int]) -> int:
    """How many images the method predicts for the heat of one.

    Args:
        config: of the run.
        shape: (height, width) of the images.
    """
    e = config.explain
    if e.method == "gradcam":
        return 1
    if e.method == "lime":
        return e.lime.samples + 1
    return len(corners(shape, **_squares(config, shape))) + 2


def forward_passes(config: ConfigDict, images: int) -> int:
    """Number of patches, or whole images, that go through the network per prediction.

    Grad-CAM predicts an image before it explains it, and its gradient costs about two more.
    """
    return images * patches(config) * (2 if config.explain.method == "gradcam" else 1)


def _gradcam(
    explainer: Explainer, rows: np.ndarray, images: np.ndarray, classes: np.ndarray | None
) -> Heat:
    maps = explainer.grad_cam(rows, images, classes)
    return Heat(maps["heat"], maps["explained"], maps["probabilities"], maps.get("votes"))


def _lime(
    explainer: Explainer, rows: np.ndarray, images: np.ndarray, classes: np.ndarray | None
) -> Heat:
    config = explainer.config
    e = config.explain.lime

    def one(
        predict: Callable[[np.ndarray], np.ndarray], image: np.ndarray, explained: int
    ) -> np.ndarray:
        surrogate = lime.explain(
            predict,
            image,
            explained,
            lime.superpixels(
                grey(image[None])[0], method=e.segments, count=e.superpixels, seed=e.seed
            ),
            samples=e.samples,
            seed=e.seed,
            batch_size=config.evaluate.batch_size,
        )
        return surrogate.heat(features=e.features, positive_only=e.positive_only)

    return _each(explainer, rows, images, classes, one)


def _occlusion(
    explainer: Explainer, rows: np.ndarray, images: np.ndarray, classes: np.ndarray | None
) -> Heat:
    config = explainer.config
    squares = _squares(config, images.shape[1:3])
    fill = round(255 * config.explain.occlusion.fill)

    def one(
        predict: Callable[[np.ndarray], np.ndarray], image: np.ndarray, explained: int
    ) -> np.ndarray:
        batch_size = config.evaluate.batch_size
        return occlusion(predict, image, explained, **squares, fill=fill, batch_size=batch_size)

    return _each(explainer, rows, images, classes, one)


_METHODS = {"gradcam": _gradcam, "lime": _lime, "occlusion": _occlusion}
METHODS = tuple(_METHODS)
TITLES = {"gradcam": "Grad-CAM", "lime": "LIME", "occlusion": "Occlusion"}


def grey(images: np.ndarray) -> np.ndarray:
    """Images [N, H, W], or the means of the channels of [N, H, W, C]: [N, H, W] uint8."""
    return images if images.ndim == 3 else np.rint(images.mean(axis=-1)).astype(np.uint8)


def _each(
    explainer: Explainer,
    rows: np.ndarray,
    images: np.ndarray,
    classes: np.ndarray | None,
    one: Callable[[Callable[[np.ndarray], np.ndarray], np.ndarray, int], np.ndarray],
) -> Heat:
    """Image by image, for a method that predicts many changed copies of each."""
    probabilities = explainer.predict(rows, images)
    if classes is not None:
        explained = classes
    elif explainer.config.explain.of == "true":
        explained = np.asarray(explainer.arrays["label"][rows])
    else:
        explained = probabilities.argmax(axis=-1)
    heat = [
        one(
            lambda copies, row=row: explainer.predict(np.full(len(copies), row), copies),
            image,
            int(class_id),
        )
        for row, image, class_id in zip(rows, images, explained, strict=True)
    ]
    return Heat(np.stack(heat), explained, probabilities)


def _squares(config: ConfigDict, shape: tuple[int, ...]) -> dict[str, int]:
    e, side = config.explain.occlusion, min(shape)
    return {"size": max(1, round(e.size * side)), "stride": max(1, round(e.stride * side))}
