"""Classification of an X-ray from patches inside the lungs (paper 2.2) or from the whole image (FLANNEL)."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from jaxcxr import losses, models
from jaxcxr import weights as pretrained
from jaxcxr.explain import gradcam
from jaxcxr.explain import patches as heat_of_patches
from jaxcxr.metrics import ConfusionMatrix, Mean
from jaxcxr.models.initialise import initialise
from jaxcxr.ops import patches
from jaxcxr.tasks.task import Batch, Prediction, Task
from jaxcxr.types import InputError

AGGREGATES = ("mean_softmax", "vote_fraction", "mean_sigmoid")


def normalisation(model: ConfigDict) -> tuple[np.ndarray, np.ndarray]:
    """(mean, std), each [1, 1, 1, 1 or channels] float32, of pixels in [0, 1]; see configs/common.py, `model.mean`.

    Raises:
      InputError: the weights are a file, whose normalisation nothing tells; or not one number per channel.
    """
    found: dict[str, tuple[float, ...]] = {"mean": (0.5,), "std": (0.5,)}  # FLANNEL's
    if model.pretrained and not (model.mean and model.std):
        if pretrained.is_file_name(model.pretrained):
            raise InputError(
                f"model.pretrained={model.pretrained!r}: a file does not say how its input was normalised, and may be "
                "gone when the run is evaluated: set model.mean and model.std "
                f"({_known(pretrained.find(model.pretrained).entry)}, of pixels in [0, 1])"
            )
        entry = pretrained.catalog.find(model.pretrained)
        found = {"mean": entry.mean, "std": entry.std}
    for name, given in (("mean", model.mean), ("std", model.std)):
        values = tuple(given) or found[name]
        if len(values) not in (1, model.in_channels):
            if given:
                raise InputError(
                    f"model.{name} has {len(values)} numbers, and model.in_channels is {model.in_channels}"
                )
            values = (sum(values) / len(values),)  # a network of one channel gets the kernels' sum
        found[name] = values
    mean, std = (np.asarray(found[name], np.float32).reshape(1, 1, 1, -1) for name in ("mean", "std"))
    return mean, std


def _known(entry: pretrained.Entry | None) -> str:
    name, mean, std = (entry.name, entry.mean, entry.std) if entry else ("ImageNet", *pretrained.catalog.IMAGENET)
    return f"those of {name} are {', '.join(map(str, mean))} and {', '.join(map(str, std))}"


def build(config: ConfigDict, *, axis_name: str | None, class_weights: np.ndarray) -> Task:
    """The classification task of a config.

    Args:
      config: see configs/common.py; `patches.enabled` chooses patches or the whole image.
      axis_name: axis over which BatchNorm is synchronised in training; None: it is not.
      class_weights: [C] weights of the loss per class.
    """
    if config.patches.aggregate not in AGGREGATES:
        raise InputError(
            f"patches.aggregate={config.patches.aggregate!r} is unknown; known: {', '.join(AGGREGATES)}"
        )
    classes = len(config.data.classes)
    module = models.build(
        config.model.name,
        num_classes=classes,
        axis_name=axis_name,
        width=config.model.width,
        depth=config.model.depth,
    )
    mean, std = normalisation(config.model)
    weights = jnp.asarray(class_weights, jnp.float32)
    side = config.model.input_size or config.patches.size

    def to_network(pixels: jax.Array) -> jax.Array:
        """Grey patches [N, P, P] in [0, 1] -> network input [N, S, S, channels], normalised as the weights want it."""
        if pixels.shape[1] != side:
            pixels = jax.image.resize(pixels, (pixels.shape[0], side, side), "bilinear")
        pixels = jnp.repeat(pixels[..., None], config.model.in_channels, axis=-1)
        return (pixels - mean) / std

    def draw(batch: Batch, key: jax.Array, *, count: int, train: bool) -> jax.Array:
        """Patches [B, K, P, P]; each image's draw depends on its own index alone, never on its batch."""
        images = batch["image"]
        keys = jax.vmap(lambda index: jax.random.fold_in(key, index))(batch["index"])
        size = config.patches.size
        if config.patches.enabled:
            return patches.extract_batch(
                keys,
                images,
                batch["mask"],
                count=count,
                size=size,
                sampling=config.patches.sampling,
                flip=0.5 if train and config.patches.flip else 0.0,
                max_rotation=config.patches.max_rotation if train else 0.0,
                apply_mask=config.patches.apply_mask,
            )
        if train:
            crop = jax.vmap(
                lambda k, image: patches.random_crop_flip(
                    k, image, size=size, flip=0.5 if config.patches.flip else 0.0
                )
            )(keys, images)
        else:
            crop = jax.vmap(lambda image: patches.centre_crop(image, size=size))(images)
        return crop[:, None]

    def init(seed: int | None) -> Any:
        return initialise(module, seed, jax.ShapeDtypeStruct((1, side, side, config.model.in_channels), jnp.float32))

    def loss(
        params: Any, model_state: Any, batch: Batch, key: jax.Array, *, axis_name: str
    ) -> tuple[jax.Array, Any]:
        draw_key, dropout_key = jax.random.split(key)
        dropout_key = jax.random.fold_in(dropout_key, jax.lax.axis_index(axis_name))
        pixels = draw(batch, draw_key, count=config.patches.train_count, train=True)
        b, k = pixels.shape[:2]
        # Patches join the batch axis: BatchNorm must see their statistics together, not per patch slot.
        (logits, out), updated = module.apply(
            {"params": params, **model_state},
            to_network(pixels.reshape(b * k, *pixels.shape[2:])),
            train=True,
            mutable=["batch_stats"],
            rngs={"dropout": dropout_key},
        )
        labels = jnp.repeat(batch["label"], k)

        def classification_loss(logits: jax.Array) -> jax.Array:
            return losses.weighted_cross_entropy(
                logits, labels, class_weights=weights, label_smoothing=config.loss.label_smoothing
            )

        per_patch = classification_loss(logits)
        if "aux_logits" in out:
            per_patch += config.loss.aux_weight * classification_loss(out["aux_logits"])
        return per_patch.reshape(b, k).mean(axis=1), dict(updated)

    def in_chunks(function: Callable[..., Any], *arrays: jax.Array) -> Any:
        """function(*arrays [N, ...]) -> pytree of [N, ...], a chunk at a time: K = 100 patches must fit any memory."""
        n, chunk = arrays[0].shape[0], config.patches.chunk
        if n <= chunk:
            return function(*arrays)
        padded = [jnp.pad(a, ((0, -n % chunk), *((0, 0),) * (a.ndim - 1))) for a in arrays]
        result = jax.lax.map(lambda a: function(*a), [a.reshape(-1, chunk, *a.shape[1:]) for a in padded])
        return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:])[:n], result)

    def predict(variables: Any, batch: Batch, key: jax.Array, *, count: int) -> Prediction:
        """Votes and mean probabilities [B, C] of `count` patches an image; the patches depend on the seed only."""
        pixels = draw(batch, key, count=count, train=False)
        b, k = pixels.shape[:2]

        def forward(pixels: jax.Array) -> jax.Array:
            logits, _ = module.apply(variables, to_network(pixels), train=False)
            return logits

        logits = in_chunks(forward, pixels.reshape(b * k, *pixels.shape[2:]))
        chex.assert_shape(logits, (b * k, classes))
        result = patches.aggregate(logits.reshape(b, k, classes))
        return {**result, "probabilities": result[config.patches.aggregate]}

    def explain(
        variables: Any, batch: Batch, key: jax.Array, *, count: int, of: str, layer: str, form: str
    ) -> Prediction:
        """Grad-CAM of the patches or the crop that `predict` sees, on the image: see `Task.explain`."""
        predicted = predict(variables, batch, key, count=count)["probabilities"]
        explained = batch["label"] if of == "true" else predicted.argmax(axis=-1)
        pixels = draw(batch, key, count=count, train=False)
        b, k, size = pixels.shape[:3]

        def forward(pixels: jax.Array, wanted: jax.Array) -> tuple[jax.Array, jax.Array]:
            heat, logits = gradcam.grad_cam(
                module, variables, to_network(pixels), wanted, layer=layer, form=form
            )
            return jax.image.resize(heat, (len(heat), size, size), "bilinear"), logits

        heat, logits = in_chunks(
            forward, pixels.reshape(b * k, size, size), jnp.repeat(explained, k)
        )
        heat, shape = heat.reshape(b, k, size, size), batch["image"].shape[1:]
        result = {"explained": explained, "probabilities": predicted}
        if not config.patches.enabled:
            top, left = (shape[0] - size) // 2, (shape[1] - size) // 2
            around = ((0, 0), (top, shape[0] - size - top), (left, shape[1] - size - left))
            return {**result, "heat": jnp.pad(heat[:, 0], around)}
        keys = jax.vmap(lambda index: jax.random.fold_in(key, index))(batch["index"])
        centres = patches.evaluation_centres(
            keys, batch["mask"], count=count, sampling=config.patches.sampling
        )
        logits = logits.reshape(b, k, classes)
        certain = jnp.take_along_axis(jax.nn.softmax(logits), explained[:, None, None], axis=-1)[..., 0]
        votes = logits.argmax(-1) == explained[:, None]
        whole = functools.partial(heat_of_patches.probabilistic, shape=shape)
        share = functools.partial(heat_of_patches.vote_map, size=size, shape=shape)
        return {**result, "heat": jax.vmap(whole)(heat, certain, centres), "votes": jax.vmap(share)(votes, centres)}

    def metrics(batch: Batch, prediction: Prediction) -> Any:
        probabilities = jnp.asarray(prediction["probabilities"])
        labels = jnp.asarray(batch["label"])
        weight = jnp.asarray(batch["weight"])
        # Sigmoid means need not sum to one; the loss is that of the normalised vector.
        shares = probabilities / probabilities.sum(axis=-1, keepdims=True)
        nll = -jnp.log(jnp.take_along_axis(shares, labels[:, None], axis=-1)[:, 0] + 1e-7)
        return {
            "confusion": ConfusionMatrix.from_batch(
                labels, probabilities.argmax(-1), weight, num_classes=classes
            ),
            "loss": Mean.from_batch(nll, weight),
        }

    return Task(
        init=init,
        loss=loss,
        predict=predict,
        metrics=metrics,
        explain=explain,
        inputs=("image", "mask", "label") if config.patches.enabled else ("image", "label"),
        monitor=config.train.monitor,
        mode="min" if config.train.monitor == "loss" else "max",
    )
