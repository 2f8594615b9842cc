"""Losses per example; the caller weighs them and divides by the sum of the weights."""

from __future__ import annotations

from collections.abc import Sequence

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxcxr.errors import InputError
from jaxcxr.ops.hull import beyond_hull


def cross_entropy(
    logits: jax.Array | np.ndarray, labels: jax.Array | np.ndarray, *, label_smoothing: float = 0.0
) -> jax.Array:
    """Softmax cross-entropy.

    Args:
        logits: [..., C].
        labels: [...] integers in [0, C).
        label_smoothing: fraction of the target that is spread evenly over all classes.

    Returns:
        [...] float32.
    """
    ones = jnp.ones(logits.shape[-1])
    return weighted_cross_entropy(
        logits, labels, class_weights=ones, label_smoothing=label_smoothing
    )


def weighted_cross_entropy(
    logits: jax.Array | np.ndarray,
    labels: jax.Array | np.ndarray,
    *,
    class_weights: jax.Array | np.ndarray,
    label_smoothing: float = 0.0,
) -> jax.Array:
    """Cross-entropy times the weight of the true class.

    Equals torch's `cross_entropy(..., weight, label_smoothing, reduction="none")`; torch's "mean"
    then divides by the sum of the true classes' weights.

    Args:
        logits: [..., C].
        labels: [...] integers in [0, C); another value has loss 0.
        class_weights: [C].
        label_smoothing: fraction of the target that is spread evenly over all classes.

    Returns:
        [...] float32.
    """
    chex.assert_shape(labels, logits.shape[:-1])
    chex.assert_type(labels, int)
    chex.assert_shape(class_weights, logits.shape[-1:])
    log_probabilities = jax.nn.log_softmax(jnp.asarray(logits, jnp.float32))
    targets = jax.nn.one_hot(labels, logits.shape[-1])
    if label_smoothing:
        uniform = targets.sum(axis=-1, keepdims=True) / logits.shape[-1]
        targets = (1 - label_smoothing) * targets + label_smoothing * uniform
    weights = jnp.broadcast_to(jnp.asarray(class_weights, jnp.float32), targets.shape)
    return -(targets * weights * log_probabilities).sum(axis=-1)


def multiclass_focal(
    logits: jax.Array | np.ndarray,
    labels: jax.Array | np.ndarray,
    *,
    alpha: jax.Array | np.ndarray,
    gamma: float,
    epsilon: float = 1e-9,
) -> jax.Array:
    """FLANNEL's focal loss, equation 2 of the paper: -alpha_y (1 - q_y)^gamma log(q_y + epsilon).

    q is the softmax of `logits`, which for the ensemble are the weighted sum of the learners'
    probabilities. The published loss is the sum over a batch with gamma = 10 and alpha from
    `inverse_frequency`.

    Args:
        logits: [..., C], C > 1.
        labels: [...] integers in [0, C).
        alpha: [C] weights of the classes.
        gamma: 0 or more; 0 gives the weighted cross-entropy, a larger value passes over easy
            examples.
        epsilon: bounds the loss at -alpha log(epsilon); 0 leaves it unbounded.

    Returns:
        [...] float32. Value and gradient are finite for logits up to 1e30: the powers and
        logarithms come from log(q) and log(1 - q), never from a difference that rounds to 0.
    """
    chex.assert_shape(labels, logits.shape[:-1])
    chex.assert_type(labels, int)
    chex.assert_shape(alpha, logits.shape[-1:])
    chex.assert_axis_dimension_gt(logits, -1, 1)
    logits = jnp.asarray(logits, jnp.float32)
    true = jax.nn.one_hot(labels, logits.shape[-1])
    log_probabilities = jax.nn.log_softmax(logits)
    log_q = (true * log_probabilities).sum(axis=-1)
    log_not_q = jax.nn.logsumexp(log_probabilities, axis=-1, where=true == 0)
    # jnp.log(0) = -inf is the neutral element of logaddexp.
    log_q_epsilon = jnp.logaddexp(log_q, jnp.broadcast_to(jnp.log(epsilon), log_q.shape))
    alpha_true = (true * jnp.broadcast_to(jnp.asarray(alpha, jnp.float32), true.shape)).sum(axis=-1)
    return -alpha_true * jnp.exp(gamma * log_not_q) * log_q_epsilon


def binary_cross_entropy(
    logits: jax.Array | np.ndarray, labels: jax.Array | np.ndarray, *, label_smoothing: float = 0.0
) -> jax.Array:
    """Sigmoid cross-entropy.

    Args:
        logits: [...].
        labels: [...] in [0, 1].
        label_smoothing: s; labels become y (1 - s) + s / 2, as in Keras.

    Returns:
        [...] float32.
    """
    chex.assert_equal_shape([logits, labels])
    logits = jnp.asarray(logits, jnp.float32)
    labels = jnp.asarray(labels, jnp.float32) * (1 - label_smoothing) + label_smoothing / 2
    return -labels * jax.nn.log_sigmoid(logits) - (1 - labels) * jax.nn.log_sigmoid(-logits)


def pixel_cross_entropy(
    logits: jax.Array | np.ndarray,
    labels: jax.Array | np.ndarray,
    *,
    class_weights: jax.Array | np.ndarray | None = None,
    ignore: int = 255,
) -> jax.Array:
    """Mean cross-entropy over an image's pixels, each weighing as much as its true class.

    For a batch of one this is torch's `cross_entropy(..., weight, ignore_index)`. For more, torch
    divides by the weights of the whole batch; here an image counts the same whatever its
    structures' sizes.

    Args:
        logits: [B, H, W, C].
        labels: [B, H, W] integers in [0, C), or `ignore`.
        class_weights: [C]; None weighs all alike.
        ignore: label of pixels that do not count.

    Returns:
        [B] float32; 0 for an image whose every pixel is ignored.
    """
    chex.assert_rank(logits, 4)
    chex.assert_shape(labels, logits.shape[:-1])
    weights = jnp.ones(logits.shape[-1:]) if class_weights is None else jnp.asarray(class_weights)
    chex.assert_shape(weights, logits.shape[-1:])
    labels = jnp.asarray(labels, jnp.int32)
    counts = labels != ignore
    labels = jnp.where(counts, labels, 0)
    losses = weighted_cross_entropy(logits, labels, class_weights=weights) * counts
    total = (weights[labels] * counts).sum(axis=(1, 2))
    return losses.sum(axis=(1, 2)) / jnp.where(total > 0, total, 1.0)


def pixel_binary_cross_entropy(
    logits: jax.Array | np.ndarray,
    labels: jax.Array | np.ndarray,
    *,
    background_weight: float = 1.0,
    labelled: jax.Array | np.ndarray | None = None,
    ignore: int = 255,
) -> jax.Array:
    """Mean over an image's pixels of the sigmoid cross-entropy, itself the mean over structures.

    With one structure and weight 1 this is Keras's `binary_crossentropy` (Zhang, section 4.2), and
    for any weight `pixel_cross_entropy` of the logits (0, z).

    Args:
        logits: [B, H, W, S], one per structure.
        labels: [B, H, W] integers, 0 background, 1 to S structures, or `ignore`.
        background_weight: of a pixel of background; those of structures weigh 1.
        labelled: [B, S] bool, the structures over which an image's mean is; None: all.
        ignore: label of pixels that do not count.

    Returns:
        [B] float32; 0 for an image whose every pixel is ignored, or that is labelled for nothing.
    """
    chex.assert_rank(logits, 4)
    chex.assert_shape(labels, logits.shape[:-1])
    labels = jnp.asarray(labels, jnp.int32)
    counts = labels != ignore
    targets = jax.nn.one_hot(jnp.where(counts, labels, 0), logits.shape[-1] + 1)[..., 1:]
    weights = jnp.where(labels == 0, background_weight, 1.0) * counts
    each = binary_cross_entropy(logits, targets)
    if labelled is None:
        losses = each.mean(axis=-1) * weights
    else:
        losses = mean_of_labelled(each, jnp.asarray(labelled)[:, None, None, :]) * weights
    total = weights.sum(axis=(1, 2))
    return losses.sum(axis=(1, 2)) / jnp.where(total > 0, total, 1.0)


def mean_of_labelled(values: jax.Array, labelled: jax.Array) -> jax.Array:
    """Means of `values` [..., S] over the last axis where `labelled` (bool); 0 where nothing is."""
    count = jnp.broadcast_to(labelled, values.shape).sum(axis=-1)
    return jnp.where(labelled, values, 0.0).sum(axis=-1) / jnp.maximum(count, 1)


def implied_binary_cross_entropy(
    logits: jax.Array | np.ndarray,
    labels: jax.Array | np.ndarray,
    *,
    labelled: jax.Array | np.ndarray,
    within: Sequence[tuple[int, int]],
    hull_margin: float = 0.0,
    background_weight: float = 1.0,
    ignore: int = 255,
) -> jax.Array:
    """Sigmoid cross-entropy of structures that an image is not labelled for, where they are known.

    A structure is wherever an image has one that lies within it, and may be known to lie about the
    convex hull of that.

    Args:
        logits: [B, H, W, S], one per structure.
        labels: [B, H, W] integers, 0 background, 1 to S structures, or `ignore`.
        labelled: [B, S] bool, the structures that an image is labelled for.
        within: (s, t) in 0 to S - 1: structure s lies within t.
        hull_margin: structure t is nowhere farther than this from the hull of s, as a fraction of
            the longer side; 0: that is not known.
        background_weight: of a pixel of background; those of structures weigh 1.
        ignore: label of pixels that do not count.

    Returns:
        [B] float32, sums over structures and pixels divided as the means of
        `pixel_binary_cross_entropy` are.
    """
    chex.assert_rank(logits, 4)
    chex.assert_shape(labels, logits.shape[:-1])
    labels, labelled = jnp.asarray(labels, jnp.int32), jnp.asarray(labelled)
    total = jnp.where(labels == 0, background_weight, 1.0) * (labels != ignore)
    losses = jnp.zeros(labels.shape)
    for inner, outer in within:
        applies = labelled[:, inner] & ~labelled[:, outer]
        there = labels == inner + 1
        known = jnp.where(there, 1.0, 0.0)
        if hull_margin:
            beyond = beyond_hull(there, hull_margin * max(labels.shape[1:]))
            known = jnp.where(beyond & (labels == 0), background_weight, known)
        each = binary_cross_entropy(logits[..., outer], jnp.where(there, 1.0, 0.0))
        losses += each * known * applies[:, None, None]
    total = total.sum(axis=(1, 2))
    return losses.sum(axis=(1, 2)) / jnp.where(total > 0, total, 1.0)


def soft_dice(
    logits: jax.Array | np.ndarray, labels: jax.Array | np.ndarray, *, ignore: int = 255
) -> jax.Array:
    """1 - (2 sum(p t) + 1) / (sum(p) + sum(t) + 1) of each structure's probabilities p and mask t.

    The soft Dice loss (Milletari et al., 2016) without squares, smoothed by a pixel.

    Args:
        logits: [B, H, W, S], one per structure.
        labels: [B, H, W] integers, 0 background, 1 to S structures, or `ignore`.
        ignore: label of pixels that do not count.

    Returns:
        [B, S] float32 in [0, 1].
    """
    chex.assert_rank(logits, 4)
    chex.assert_shape(labels, logits.shape[:-1])
    counts = (jnp.asarray(labels) != ignore)[..., None]
    numbers = jnp.arange(1, logits.shape[-1] + 1).reshape(1, 1, 1, -1)
    targets = (jnp.asarray(labels)[..., None] == numbers).astype(jnp.float32)
    p = jax.nn.sigmoid(jnp.asarray(logits, jnp.float32)) * counts
    both, either = (p * targets).sum((1, 2)), p.sum((1, 2)) + targets.sum((1, 2))
    return 1 - (2 * both + 1) / (either + 1)


def inverse_frequency(
    counts: jax.Array | np.ndarray | Sequence[int], *, scale: float = 1000.0
) -> np.ndarray:
    """FLANNEL's alpha_c = 1000 / n_c.

    Args:
        counts: [C] training images per class.
        scale: numerator.

    Returns:
        [C] float32, on the host.

    Raises:
        InputError: a class has no image.
    """
    counts = np.asarray(counts)
    chex.assert_rank(counts, 1)
    if (counts <= 0).any():
        absent = np.flatnonzero(counts <= 0).tolist()
        raise InputError(
            f"class number {absent} has no training image, so it has no inverse frequency; "
            "take it out of data.classes or change the split"
        )
    return (scale / counts).astype(np.float32)
