"""LIME (Ribeiro, Singh and Guestrin, 2016, arXiv:1602.04938).

By its authors' package, over a compiled prediction.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from jaxcxr.errors import InputError

SEGMENTS = ("quickshift", "slic")


@dataclasses.dataclass(frozen=True)
class Surrogate:
    """A linear model of the class's probability in an image's superpixels.

    Each superpixel is there, or has its mean's grey.

    Attributes:
        segments: [H, W] int, number of each pixel's superpixel.
        weights: [S] float64, what each superpixel adds to the probability.
        score: coefficient of determination over the perturbed images, weighed by their likeness to
            the image.
    """

    segments: np.ndarray
    weights: np.ndarray
    score: float

    def heat(self, *, features: int, positive_only: bool) -> np.ndarray:
        """The weights of the superpixels that count most, [H, W] float32; 0 elsewhere.

        Args:
            features: how many superpixels.
            positive_only: only those that speak for the class.
        """
        strength = np.maximum(self.weights, 0) if positive_only else np.abs(self.weights)
        chosen = np.zeros(len(self.weights))
        most = np.argsort(-strength, kind="stable")[:features]
        chosen[most] = np.where(strength[most] > 0, self.weights[most], 0)
        return chosen[self.segments].astype(np.float32)


def superpixels(image: np.ndarray, *, method: str, count: int, seed: int) -> np.ndarray:
    """Cuts an image into superpixels.

    Args:
        image: [H, W] uint8.
        method: "quickshift" with the settings that the lime package has for it, or "slic".
        count: about how many, for slic.
        seed: breaks quickshift's ties.

    Returns:
        [H, W] int, 0 to S - 1.

    Raises:
        InputError: unknown method.
    """
    from skimage import color, segmentation

    if method == "quickshift":
        segments = segmentation.quickshift(
            color.gray2rgb(image), kernel_size=4, max_dist=200, ratio=0.2, rng=seed
        )
    elif method == "slic":
        segments = segmentation.slic(image, n_segments=count, compactness=0.1, channel_axis=None)
    else:
        raise InputError(
            f"explain.lime.segments={method!r} is unknown; known: {', '.join(SEGMENTS)}"
        )
    return np.unique(segments, return_inverse=True)[1].reshape(image.shape)


def explain(
    predict: Callable[[np.ndarray], np.ndarray],
    image: np.ndarray,
    explained: int,
    segments: np.ndarray,
    *,
    samples: int,
    seed: int,
    batch_size: int,
) -> Surrogate:
    """Fits the linear model around an image. The draws, distances and the fit are the package's.

    Args:
        predict: images [N, *image.shape] uint8 -> probabilities [N, C]; compiled, called with
            `batch_size` at most.
        image: [H, W] or [H, W, C] uint8.
        explained: the class.
        segments: [H, W] of `superpixels`.
        samples: perturbed images, the first of which is the image itself.
        seed: of the draws.
        batch_size: perturbed images at a time.

    Raises:
        InputError: the package is not installed.
    """
    count = int(segments.max()) + 1
    hidden = np.zeros_like(image)
    for number in range(count):
        inside = segments == number
        # Cut to the type of the image, as the package does.
        hidden[inside] = image[inside].mean(axis=0)

    def of_rows(shown: np.ndarray) -> np.ndarray:
        parts = []
        for start in range(0, len(shown), batch_size):
            visible = shown[start : start + batch_size].astype(bool)[:, segments]
            visible = visible.reshape(*visible.shape, *(1 for _ in image.shape[2:]))
            parts.append(np.asarray(predict(np.where(visible, image, hidden))))
        return np.concatenate(parts)

    explanation = _explainer(seed, of_rows).explain_instance(
        # The package only takes means of this, which `of_rows` has in the image's own channels.
        image if image.ndim == 2 else image[..., 0],
        None,
        labels=(explained,),
        top_labels=None,
        num_samples=samples,
        segmentation_fn=lambda _: segments,
        random_seed=seed,
    )
    weights = np.zeros(count)
    for number, weight in explanation.local_exp[explained]:
        weights[number] = weight
    return Surrogate(segments, weights, float(explanation.score))


def check_installed() -> None:
    """Raises InputError unless the package `lime` is there."""
    _package()


def _package() -> Any:
    try:
        from lime import lime_image
    except ImportError as error:
        raise InputError(
            f"explain.method='lime' needs the package lime ({error}): pip install "
            "'lime>=0.2.0.1,<0.3', or choose explain.method=gradcam or occlusion"
        ) from error
    return lime_image


def _explainer(seed: int, of_rows: Callable[[np.ndarray], np.ndarray]) -> Any:
    """The package's explainer, but for the perturbed images.

    It makes them one by one, with a progress bar of its own.

    Args:
        seed: of the draws.
        of_rows: which superpixels are shown [N, S] in {0, 1} -> probabilities [N, C].
    """

    class Explainer(_package().LimeImageExplainer):
        def data_labels(
            self,
            image: Any,
            fudged_image: Any,
            segments: np.ndarray,
            classifier_fn: Any,
            num_samples: int,
            **_: Any,
        ) -> tuple[np.ndarray, np.ndarray]:
            count = int(segments.max()) + 1
            shown = self.random_state.randint(0, 2, num_samples * count).reshape(num_samples, count)
            shown[0] = 1
            return shown, of_rows(shown)

    return Explainer(random_state=seed)
