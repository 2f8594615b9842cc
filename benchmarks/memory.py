"""`python -m benchmarks.memory`: what memory the largest programs need, as the compiler for this
device counts it.

Predictions of one image of 1024 px with K = 100 patches of 224 px, and the backward pass of
FC-DenseNet103 with and without `model.remat`. Nothing is run. What a backward pass keeps is counted
in the program before it is compiled: XLA's CPU compiler undoes recomputation.
"""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from benchmarks import experiments
from benchmarks.ours import device, shapes
from benchmarks.settings import LEARNERS
from jaxcxr import parallel, schema
from jaxcxr.tasks import segment
from jaxcxr.training import steps

GIB = 2**30


def prediction(config: ConfigDict, *, count: int) -> tuple[int, int]:
    """(bytes of weights and images, bytes of everything between these and the result) of one
    image's prediction.
    """
    compiled = steps.compile_for(
        config, class_weights=np.ones(len(config.data.classes), np.float32)
    )
    program: Any = compiled.predict(count)
    arguments = compiled.task.init(None), shapes.batch(config, 1), jax.random.key(0)
    memory = program.lower(*arguments).compile().memory_analysis()
    return memory.argument_size_in_bytes, memory.temp_size_in_bytes


def backward(config: ConfigDict) -> int:
    """Bytes that a segmenter's training step keeps from the forward for the backward pass."""
    task = segment.Segment(config, axis_name=None)
    variables: Any = task.init(None)
    model_state = {name: value for name, value in variables.items() if name != "params"}

    def losses(params: Any, model_state: Any, batch: Any) -> jax.Array:
        def of_device(rows: Any) -> jax.Array:
            return task.loss(params, model_state, rows, jax.random.key(0), axis_name="data")[0]

        return jax.vmap(of_device, axis_name="data")(batch).mean()

    batch = shapes.batch(config, config.train.batch_size)
    kept = jax.eval_shape(
        lambda *given: jax.vjp(losses, *given)[1], variables["params"], model_state, batch
    )
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(kept))


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--learner", choices=LEARNERS, help="this one alone")
    flags = parser.parse_args(arguments)
    device.start(schema.config("classify"))
    for name in [flags.learner] if flags.learner else LEARNERS:
        config = experiments.load(f"patched_{LEARNERS[name]}", {})
        given, between = prediction(config, count=config.patches.eval_count)
        print(
            (
                f"{name}: K = {config.patches.eval_count}, {config.patches.chunk} at once: "
                f"weights and image {given / GIB:.2f} GiB, temporaries {between / GIB:.2f} GiB"
            ),
            flush=True,
        )
    for remat in (False, True):
        config = experiments.load("fc_densenet103", {"model.remat": remat})
        side, images = config.data.image_size, config.train.batch_size
        print(
            f"{config.model.name}: {images} images of {side} px, model.remat={remat}: "
            f"{backward(config) / GIB:.2f} GiB kept for the backward pass",
            flush=True,
        )
    print(
        f"JAX {jax.__version__} for {parallel.platform()}, "
        f"{datetime.datetime.now(datetime.UTC).date()}"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
