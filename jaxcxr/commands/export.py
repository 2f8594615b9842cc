"""A trained network as files that need none of this code.

Its program as StableHLO, its weights, what they take.
"""

from __future__ import annotations

import functools
import shlex
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export
from ml_collections import ConfigDict

from jaxcxr import exported, hints, parallel, schema
from jaxcxr.commands import export_spec
from jaxcxr.errors import InputError
from jaxcxr.inference.predictor import (
    Predictor,
    patch_key,
    reference_file,
    uses_weights_alone,
)
from jaxcxr.ops.pieces import largest_pieces_in_program
from jaxcxr.state import Variables
from jaxcxr.storage import files
from jaxcxr.storage.files import sha256_file
from jaxcxr.storage.run_folder import RunFolder
from jaxcxr.tasks import TASKS, Task, needs_lungs, segment, task_of
from jaxcxr.tasks.task import Prediction
from jaxcxr.weights.safetensors_file import to_bytes

FOLDER = "export"
# Input of the program -> array of the task's batch.
_ARRAYS = {
    "images": "image",
    "masks": "mask",
    "seeds": "index",
}


@schema.checked
def run(config: ConfigDict, workdir: Path) -> None:
    """`--config.run=export`: writes `export/` of a finished run, with its best checkpoint.

    Where no training has begun and the config takes weights with their head, such as the ready-made
    lungs, these are exported as they are.

    model.stablehlo, the program for `export.platforms` (weights are its first argument);
    model.safetensors, the weights, which `model.pretrained` also takes; model.json, what goes in
    and comes out and the files' hashes; run.py, which needs only JAX, NumPy and Pillow. model.json
    comes last, so that what was interrupted is never taken for an export. The data of the run is
    not needed.

    Raises:
        InputError: the run is of another kind, unfinished or without a checkpoint, or a platform is
            unknown.
    """
    _check(config, workdir)
    with RunFolder.open(workdir, config.to_dict(), active=parallel.is_main()) as folder:
        task = _task(config)
        predictor = Predictor.load(folder, config)
        variables = parallel.to_host(predictor.variables)
        folder.claim()
        if parallel.is_main() and (folder.path / FOLDER / exported.SPEC).exists():
            print(f"replaces the export in {folder.path / FOLDER}", flush=True)
        names = _names(variables)
        weights = dict(zip(jax.tree.leaves(names), jax.tree.leaves(variables), strict=True))
        written = {
            exported.PROGRAM: _serialized(config, _program(config, task, names), weights),
            exported.WEIGHTS: to_bytes(weights, export_spec.metadata(config, folder, predictor)),
        }
        if config.data.match != "none":
            written[exported.REFERENCE] = reference_file(config, folder).read_bytes()
        for name, content in written.items():
            folder.write_bytes(f"{FOLDER}/{name}", content)
        folder.write_text(
            f"{FOLDER}/{exported.RUNNER}", Path(exported.__file__).read_text(encoding="utf-8")
        )
        if parallel.is_main():
            hashes = _hashes(folder, [*written, exported.RUNNER])
            spec = export_spec.spec(config, folder, predictor)
            spec = files.jsonable({**spec, "files": hashes})
            folder.write_json(
                f"{FOLDER}/{exported.SPEC}", {**spec, "sha256": exported.spec_hash(spec)}
            )
            # Reads everything back and compares the hashes.
            exported.Model.open(folder.path / FOLDER)
            print(_closing(config, folder))


def _check(config: ConfigDict, workdir: Path) -> None:
    if not task_of(config).reads_xrays:
        raise InputError(
            f"export goes with one network that looks at X-rays, and this is {config.task!r}: "
            "export its learners, each with its own --config and --workdir"
        )
    if config.repeats > 1:
        raise InputError(
            f"repeats={config.repeats} are {config.repeats} networks: export one of them, "
            "--config.repeats=1 --config.seed=... "
            f"{hints.in_folder(workdir / 'models' / config.model.name / 'repeat')}..."
        )
    task_of(config).check_prediction(config)
    platforms = tuple(config.export.platforms)
    if not platforms:
        raise InputError("export.platforms is empty: name one or more of cpu, cuda, rocm, tpu")
    folder = RunFolder(workdir)
    if not folder.is_finished("train") and not uses_weights_alone(config, folder):
        raise InputError(
            f"{workdir} is not the folder of a finished run: train it first, or to its end, with\n"
            f"  {hints.again('train', workdir)}"
        )


def _task(config: ConfigDict) -> Task:
    if task_of(config).has_classes:
        config = config.copy_and_resolve_references()
        count, most = config.patches.eval_count, config.patches.chunk
        # An image's patches in even chunks: none is padding.
        config.patches.chunk = -(-count // -(-count // most))
    return TASKS[config.task](config, axis_name=None)


def _names(variables: Variables) -> Any:
    """A tree like `variables` of the weights' names.

    params/fc/kernel is fc/kernel, as `jaxcxr.weights` reads it.
    """
    names = jax.tree_util.tree_map_with_path(
        lambda keys, _: jax.tree_util.keystr(keys, simple=True, separator="/").partition("/")[2],
        variables,
    )
    # No name is in both collections.
    assert len(set(jax.tree.leaves(names))) == len(jax.tree.leaves(names))
    return names


def _program(config: ConfigDict, task: Task, names: Any) -> Callable[..., jax.Array]:
    """(weights by name, *inputs [b, ...]) -> output [b, ...].

    The task's own `predict`, of each image alone.
    """
    inputs = [_ARRAYS[argument["name"]] for argument in export_spec.inputs(config)]

    def of_image(weights: Mapping[str, jax.Array], *arrays: jax.Array) -> jax.Array:
        variables = jax.tree.map(lambda name: weights[name], names)
        batch = {name: array[None] for name, array in zip(inputs, arrays, strict=True)}
        key = patch_key(config.seed)
        if not task.has_classes:
            return _structures(config, task.predict(variables, batch, key))[0]
        found = task.predict(variables, batch, key, count=config.patches.eval_count)[
            "probabilities"
        ][0]
        return found / found.sum()

    def program(weights: Mapping[str, jax.Array], *arrays: jax.Array) -> jax.Array:
        of_one = functools.partial(of_image, weights)
        if "index" in inputs:  # an image's patches are a batch of their own
            return jax.lax.map(lambda row: of_one(*row), arrays)
        return jax.vmap(of_one)(*arrays)

    return program


def _structures(config: ConfigDict, prediction: Prediction) -> jax.Array:
    """`segment.masks_at` of `predict.threshold`, within a program: ids [B, S, S] uint8."""
    if wanted := segment.wanted_structure(config):
        number = tuple(config.masks.structures).index(wanted)
        prediction = segment.structure_alone(prediction, number)
    threshold, largest = config.predict.threshold, config.predict.largest_pieces
    if threshold == 0.5:
        ids = prediction["mask"]
    else:
        log_odds = prediction["log_odds"]
        found = log_odds.max(-1) > np.log(threshold / (1 - threshold))
        ids = jnp.where(found, log_odds.argmax(-1) + 1, 0).astype(jnp.uint8)
    if not largest:
        return ids
    of_one = functools.partial(
        largest_pieces_in_program, count=largest, structures=len(config.masks.structures)
    )
    return jax.vmap(of_one)(ids)


def _serialized(
    config: ConfigDict, program: Callable[..., jax.Array], weights: Mapping[str, np.ndarray]
) -> bytes:
    (b,) = export.symbolic_shape("b")
    arrays = [
        jax.ShapeDtypeStruct((b, *argument["shape"][1:]), argument["dtype"])
        for argument in export_spec.inputs(config)
    ]
    shapes = {
        name: jax.ShapeDtypeStruct(value.shape, value.dtype) for name, value in weights.items()
    }
    lowered = export.export(jax.jit(program), platforms=tuple(config.export.platforms))(
        shapes, *arrays
    )
    try:
        return bytes(lowered.serialize())
    except ImportError as error:
        raise InputError(
            "exported programs are written with flatbuffers: pip install flatbuffers"
        ) from error


def _hashes(folder: RunFolder, names: Iterable[str]) -> dict[str, Any]:
    paths = {name: folder.path / FOLDER / name for name in names}
    return {
        name: {"sha256": sha256_file(path), "bytes": path.stat().st_size}
        for name, path in paths.items()
    }


def _closing(config: ConfigDict, folder: RunFolder) -> str:
    """Where everything is and how it is used."""
    place = folder.path / FOLDER
    lungs = "--lungs SEGMENTER/export " if needs_lungs(config) else ""
    mean, std = (str(tuple(values)) for values in export_spec.normalisation(config))
    masks = "" if task_of(config).has_classes else "--masks-to masks "
    lines = [
        f"wrote {place}, for {', '.join(config.export.platforms)}",
        f"to run it         python {shlex.quote(str(place / exported.RUNNER))} "
        f"{shlex.quote(str(place))} {lungs}{masks}IMAGE...",
        "                  which needs only JAX with flatbuffers, NumPy and Pillow",
        f"to start from it  --config.model.pretrained={shlex.quote(str(place / exported.WEIGHTS))} "
        "--config.model.head=pretrained "
        f"--config.model.mean='{mean}' --config.model.std='{std}'",
        "Research use only. Not for diagnosis.",
    ]
    return "\n".join(lines)
