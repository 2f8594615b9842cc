"""The files of one checkpoint step, as Orbax and grain write and read them.

Orbax would cast and cut arrays silently, and logs what is reported elsewhere: both are corrected.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, cast

import grain.checkpoint
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from jaxcxr.errors import InputError

TEMPORARY_MARK = ".orbax-checkpoint-tmp"  # in the names of folders that Orbax has not finished


class OrbaxFiles:
    """Writes and reads `<step>/{state,optimizer,data,loop}`: two trees, a data position, JSON."""

    def __init__(self) -> None:
        _silence_orbax()
        # No compression: float weights hardly shrink and saving takes twice as long with it.
        self._orbax = ocp.Checkpointer(
            ocp.CompositeCheckpointHandler(
                state=ocp.PyTreeCheckpointHandler(use_compression=False),
                optimizer=ocp.PyTreeCheckpointHandler(use_compression=False),
                data=cast(Any, grain.checkpoint.CheckpointHandler()),
                loop=ocp.JsonCheckpointHandler(),
            )
        )

    def collect(self, trees: Mapping[str, Any], loop: Mapping[str, Any], data_iterator: Any) -> Any:
        """Copies what `write` will write, so that all of it may change as soon as this returns.

        Args:
            trees: "state" and "optimizer" -> pytree of arrays; None: not written.
            loop: JSON values.
            data_iterator: grain iterator; None: no position is written.
        """
        args: dict[str, Any] = {
            name: ocp.args.PyTreeSave(_copy_to_host(tree))
            for name, tree in trees.items()
            if tree is not None
        }
        args["loop"] = ocp.args.JsonSave(dict(loop))
        if data_iterator is not None:
            args["data"] = grain.checkpoint.CheckpointSave(_Position.of(data_iterator))
        return ocp.args.Composite(**args)

    def write(self, path: Path, contents: Any) -> None:
        """Writes what `collect` gave as the folder of a step.

        It has another name until it is whole.

        Raises:
            ValueError: what was written cannot be read.
        """
        self._orbax.save(path, args=contents)
        # Orbax has reported arrays as saved that it had not written.
        _ = self._orbax.metadata(path).item_metadata

    def read(
        self, path: Path, templates: Mapping[str, Any], data_iterator: Any = None
    ) -> dict[str, Any]:
        """Reads a step.

        Args:
            path: its folder.
            templates: as the `trees` of `collect`, arrays or ShapeDtypeStructs; None: not read.
            data_iterator: grain iterator, which is set to the saved position; None: none is read.

        Returns:
            the trees by name, as uncommitted arrays, or None; and "loop".

        Raises:
            InputError: the step does not fit the templates, or has no data position.
        """
        requested = {name: tree for name, tree in templates.items() if tree is not None}
        self._check_fits(path, requested)
        args: dict[str, Any] = {
            name: ocp.args.PyTreeRestore(jax.tree.map(_zeros, tree))
            for name, tree in requested.items()
        }
        args["loop"] = ocp.args.JsonRestore()
        if data_iterator is not None:
            name = f"process_{jax.process_index()}-of-{jax.process_count()}.json"
            if not (path / "data" / name).exists():
                raise InputError(
                    f"{path} holds no position of the data for process {jax.process_index()} of "
                    f"{jax.process_count()}: resume with as many processes as the run began with."
                )
            args["data"] = grain.checkpoint.CheckpointRestore(data_iterator)
        restored = self._orbax.restore(path, args=ocp.args.Composite(**args))
        trees = {name: jax.tree.map(jnp.asarray, restored[name]) for name in requested}
        return dict.fromkeys(templates) | trees | {"loop": restored["loop"]}

    def close(self) -> None:
        """Ends Orbax's threads."""
        self._orbax.close()

    def _check_fits(self, path: Path, trees: Mapping[str, Any]) -> None:
        """Orbax would cast and cut silently, or fail in its own words."""
        if "optimizer" in trees and not (path / "optimizer").is_dir():
            raise InputError(
                f"The checkpoint {path} has no optimizer state: it is of a finished training, and "
                "the run's finished.json, which says so, is missing or damaged. Restore that file "
                "from a copy, or delete the run folder and train again."
            )
        metadata: Any = self._orbax.metadata(path).item_metadata
        saved = _shapes({name: metadata[name].tree for name in trees if (path / name).is_dir()})
        expected = _shapes(trees)
        if saved == expected:
            return
        lines = [
            f"  - {name}: {saved[name]}" for name in saved if saved[name] != expected.get(name)
        ]
        lines += [
            f"  + {name}: {expected[name]}"
            for name in expected
            if expected[name] != saved.get(name)
        ]
        more = f"\n  ... and {len(lines) - 20} more" if len(lines) > 20 else ""
        raise InputError(
            f"The checkpoint {path} does not fit this configuration (- saved, + expected):\n"
            + "\n".join(lines[:20])
            + more
        )


@dataclasses.dataclass(frozen=True)
class _Position:
    """A data iterator's position at the time of `save`, for grain's handler to write later."""

    state: bytes

    @classmethod
    def of(cls, iterator: Any) -> Self:
        state = iterator.get_state()
        return cls(state if isinstance(state, bytes) else json.dumps(state, indent=4).encode())

    def get_state(self) -> bytes:
        return self.state


def _copy_to_host(state: Any) -> Any:
    """Returns the state as NumPy arrays of their own: a CPU array's view would change with it."""
    for leaf in jax.tree.leaves(state):
        if isinstance(leaf, jax.Array):
            leaf.copy_to_host_async()
    return jax.tree.map(lambda leaf: np.array(leaf), state)


def _zeros(leaf: Any) -> np.ndarray:
    """A template of no memory: one number, seen as a whole array."""
    return np.broadcast_to(np.zeros((), leaf.dtype), leaf.shape)


def _shapes(tree: Any) -> dict[str, str]:
    """Returns 'state/params/conv/kernel' -> 'float32[3, 3, 1, 8]' for every leaf."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): (
            f"{np.dtype(leaf.dtype).name}{list(leaf.shape)}"
        )
        for path, leaf in leaves
    }


@functools.cache
def _silence_orbax() -> None:
    """Orbax reports every step, warns about shardings, and logs what it also raises."""

    def keep(record: logging.LogRecord) -> bool:
        told_elsewhere = record.levelno < logging.ERROR or record.exc_info
        return "orbax" not in record.pathname or not told_elsewhere

    logging.getLogger("absl").addFilter(keep)
