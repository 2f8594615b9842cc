"""`python -m benchmarks.shared [RUN]`: do patches gain by sharing their first convolutions?

K = 100 patches of 224 px cover an image of 1024 px five times over, and each runs the first layers
again. Here these run once over the whole image, every patch cuts its part out of their map, and the
later layers go on from there. That is not the same: a patch sees its neighbours where it saw zeros,
and lies on the map's grid, a few pixels off. So the command prints how often the votes agree beside
the times.
"""

from __future__ import annotations

import argparse
import datetime
import difflib
import os
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict
from sklearn.metrics import f1_score
from tqdm import tqdm

from benchmarks import experiments
from benchmarks.__main__ import at_least_1
from benchmarks.ours import classify, device
from jaxcxr import parallel
from jaxcxr.errors import InputError
from jaxcxr.explain import gradcam
from jaxcxr.inference.best import best_variables
from jaxcxr.ops import geometry, masks, patches
from jaxcxr.storage.run_files import CONFIG
from jaxcxr.storage.run_folder import RunFolder
from jaxcxr.tasks.network import Network
from jaxcxr.training.prepare import prepare

Logits = Callable[..., jax.Array]


def programs(config: ConfigDict, *, layer: str, count: int) -> tuple[Logits, Logits, str]:
    """(exact, shared, what the layer is): the programs are (variables, image [H, W], mask, key) ->
    logits [K, C].

    Args:
        config: of a patched learner.
        layer: name of the feature map that is shared, as `explain.layer`.
        count: K.

    Raises:
        ValueError: the network sees patches at another size than they are cut, or the map does not
            divide its patch.
    """
    network, p = Network(config, axis_name=None), config.patches
    if network.shape[:2] != (p.size, p.size):
        raise ValueError(
            f"{config.model.name} resizes patches of {p.size} px to {network.shape[0]}"
        )
    patch = jax.ShapeDtypeStruct((1, *network.shape), jnp.float32)
    maps = gradcam.feature_maps(network.module, network.init(None), patch)
    if layer not in maps:
        near = ", ".join(difflib.get_close_matches(layer, maps, 3, 0.3)) or ", ".join(maps)
        raise ValueError(f"--layer={layer} is no feature map of {config.model.name}; near: {near}")
    if not gradcam.bottlenecks(network.module, network.init(None), patch)(layer):
        raise ValueError(f"--layer={layer}: something of the image goes round that map")
    _, cells, _, channels = maps[layer]
    stride = p.size // cells
    if cells * stride != p.size or config.data.image_size % stride:
        raise ValueError(
            f"{layer} has {cells} places on a patch of {p.size} px: not a whole number of pixels "
            "each"
        )

    def early(variables: Any, x: jax.Array) -> jax.Array:
        found: list[jax.Array] = []

        def note(name: str, value: jax.Array) -> jax.Array:
            if name == layer:
                found.append(value)
            return value

        gradcam.apply_changed(network.module, variables, x, note)
        return found[0]

    def late(variables: Any, maps: jax.Array) -> jax.Array:
        x = jnp.zeros((len(maps), *network.shape))  # XLA drops what is computed from it
        return gradcam.apply_changed(
            network.module, variables, x, lambda name, value: maps if name == layer else value
        )

    def cut(key: jax.Array, image: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
        centres = patches.evaluation_centres(
            key[None], mask[None], count=count, sampling=p.sampling
        )[0]
        return (masks.apply_mask(image, mask) if p.apply_mask else image), centres

    @jax.jit
    def exact(variables: Any, image: jax.Array, mask: jax.Array, key: jax.Array) -> jax.Array:
        image, centres = cut(key, image, mask)
        pixels = geometry.unit_float(patches.crop(image, centres, size=p.size))
        return network.in_chunks(lambda pixels: network.logits(variables, pixels), pixels)

    @jax.jit
    def shared(variables: Any, image: jax.Array, mask: jax.Array, key: jax.Array) -> jax.Array:
        image, centres = cut(key, image, mask)
        whole = early(variables, network.normalise(geometry.unit_float(image)[None, ..., None]))[0]
        origins = geometry.box_origin(centres, size=p.size, shape=image.shape)
        corners = jnp.minimum((origins + stride // 2) // stride, whole.shape[0] - cells)
        maps = jax.vmap(
            lambda corner: jax.lax.dynamic_slice(whole, (*corner, 0), (cells, cells, channels))
        )(corners)
        return network.as_classes(network.in_chunks(lambda maps: late(variables, maps), maps))

    return exact, shared, f"{layer}, {cells} x {cells} places of {stride} px on a patch"


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status; argparse's 2 for a folder or layer that does not do."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.shared", description=__doc__)
    parser.add_argument(
        "run",
        nargs="?",
        type=Path,
        metavar="RUN",
        help=(
            "a finished patched learner, on its test images; without one: random weights, one "
            "phantom, times only"
        ),
    )
    parser.add_argument(
        "--config", default="patched_densenet", help="config file, of its :paper, without a RUN"
    )
    parser.add_argument(
        "--layer", default="features/transition1", help="the map that patches share"
    )
    parser.add_argument("--patches", type=at_least_1, help="K (default: of the config)")
    parser.add_argument("--repeats", type=at_least_1, default=3, help="rounds of the times")
    flags = parser.parse_args(arguments)
    try:
        return _compare(flags)
    except (InputError, ValueError) as error:
        parser.error(str(error))


def _compare(flags: argparse.Namespace) -> int:
    if flags.run:
        saved = RunFolder(flags.run).read_json(CONFIG)
        if not saved or saved["task"] != "classify" or not saved["patches"]["enabled"]:
            raise InputError(f"{flags.run} is no run of a patched learner")
        config = ConfigDict(saved)
        device.start(config)
        experiment = prepare(config)
        variables = best_variables(experiment.task, RunFolder(flags.run))
        rows = experiment.splits["test"]
        arrays = {
            name: np.asarray(experiment.arrays[name])[rows] for name in ("image", "mask", "label")
        }
    else:
        config = experiments.load(flags.config, {})
        device.start(config)
        variables = Network(config, axis_name=None).init(0)
        arrays, rows = classify.draw_phantoms(config, 1), np.arange(1)
    exact, shared, layer = programs(
        config, layer=flags.layer, count=flags.patches or config.patches.eval_count
    )
    key = jax.random.fold_in(jax.random.key(config.seed), 1)  # `Experiment.predict`'s
    images = [
        (arrays["image"][n], arrays["mask"][n], jax.random.fold_in(key, row))
        for n, row in enumerate(rows.tolist())
    ]
    found = [
        [np.asarray(program(variables, *image)) for image in tqdm(images, desc=name)]
        for name, program in (("exact", exact), ("shared", shared))
    ]
    seconds: list[list[float]] = [[], []]
    for _ in range(flags.repeats):
        for n, program in enumerate((exact, shared)):
            started = time.perf_counter()
            program(variables, *images[0]).block_until_ready()
            seconds[n].append(time.perf_counter() - started)
    ratio = statistics.median(one / other for one, other in zip(*seconds, strict=True))
    patch, side, count = config.patches.size, config.data.image_size, len(found[0][0])
    medians = [statistics.median(times) for times in seconds]
    print(f"shared: {layer}; {count} patches of {patch} px from an image of {side} px")
    print(f"one image: exact {medians[0]:.3f} s, shared {medians[1]:.3f} s, {ratio:.2f} x as fast")
    if flags.run:
        print("\n".join(_agreement(np.stack(found[0]), np.stack(found[1]), arrays["label"])))
    date = datetime.datetime.now(datetime.UTC).date()
    print(f"JAX {jax.__version__} on {parallel.platform()}, {os.cpu_count()} cores, {date}")
    return 0


def _agreement(exact: np.ndarray, shared: np.ndarray, labels: np.ndarray) -> list[str]:
    """Of logits [N, K, C]."""
    votes = [logits.argmax(-1) for logits in (exact, shared)]
    probabilities = [np.asarray(jax.nn.softmax(logits).mean(1)) for logits in (exact, shared)]
    classes = [p.argmax(-1) for p in probabilities]
    scores = [f1_score(labels, of, average="macro", zero_division=0) for of in classes]  # pyright: ignore
    return [
        f"votes of patches agree: {100 * (votes[0] == votes[1]).mean():.1f} % of {votes[0].size:,}",
        (
            f"classes of images agree: {100 * (classes[0] == classes[1]).mean():.1f} % of "
            f"{len(labels)}"
        ),
        (
            "probabilities of images differ by "
            f"{np.abs(probabilities[0] - probabilities[1]).mean():.4f} in the mean, "
            f"{np.abs(probabilities[0] - probabilities[1]).max():.4f} at most"
        ),
        f"macro-F1: exact {scores[0]:.4f}, shared {scores[1]:.4f}",
    ]


if __name__ == "__main__":
    raise SystemExit(main())
