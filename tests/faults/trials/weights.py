"""Weight files and exports."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from jax import export
from PIL import Image

from jaxcxr import exported, weights
from jaxcxr.errors import InputError
from jaxcxr.weights import safetensors_file
from jaxcxr.weights.catalog import CATALOG, Entry
from jaxcxr.weights.read import contents, read
from tests.faults.limits import mutants, reading
from tests.faults.mutations import damage, mutant
from tests.faults.promises import Context, promise
from tests.weights import bombs, forms, samples


@promise("mutants/safetensors", "a damaged .safetensors is one error", full=10_000, quick=100)
def safetensors(context: Context) -> Iterator[str]:
    yield from _mutants(context, "safetensors", [samples.safetensors(), samples.hashed()])


@promise("mutants/npz", "a damaged .npz is one error", full=10_000, quick=100)
def npz(context: Context) -> Iterator[str]:
    yield from _mutants(context, "npz", [samples.npz(), samples.npz(compressed=True)])


@promise("mutants/pth", "a damaged .pth is one error", full=10_000, quick=100)
def pth(context: Context) -> Iterator[str]:
    yield from _mutants(
        context, "pth", [samples.pth(), samples.pth(within="state_dict"), samples.old_pth()]
    )


@promise("mutants/h5", "a damaged .h5 is one error", full=10_000, quick=100, needs=("h5py",))
def h5(context: Context) -> Iterator[str]:
    yield from _mutants(context, "h5", [samples.h5(), samples.h5(compressed=True)])


@promise("bombs/weights", "a small weight file that claims gigabytes is refused", full=28, quick=28)
def bombs_of_weights(context: Context) -> Iterator[str]:
    yield from _bombs(context, bombs.BOMBS)


@promise(
    "bombs/h5", "a small .h5 that claims gigabytes is refused", full=9, quick=9, needs=("h5py",)
)
def bombs_of_hdf5(context: Context) -> Iterator[str]:
    yield from _bombs(context, bombs.HDF5_BOMBS)


def _bombs(context: Context, every: Mapping[str, Callable[[], bytes]]) -> Iterator[str]:
    for name, content in every.items():
        path = context.folder / name
        path.write_bytes(content())

        def refused(path: Path = path) -> None:
            read(path)
            raise AssertionError("it was read")

        problem = reading(refused)
        yield f"{name}: {problem}" if problem else ""
        path.unlink()


@promise(
    "damage/weights",
    "damage to converted weights and exports is noticed or without effect",
    full=1_000,
    quick=60,
)
def damaged(context: Context) -> Iterator[str]:
    sound, own = context.folder / "sound", context.folder / "own"
    (sound / "export").mkdir(parents=True)
    export_of_one_product(sound / "export")
    with published(sound, own) as entry:
        fresh = forms.network("resnet18", seed=1)
        uses = {
            "cache": lambda: (
                weights.load(
                    weights.find(entry.name), fresh, arch=entry.arch, new_head=False
                ).variables
            ),
            "export": lambda: predicted(own / "export"),
            "pretrained": lambda: contents(own / "export" / exported.WEIGHTS).arrays,
        }
        shutil.copytree(sound, own)
        uses["cache"]()  # converts
        shutil.copytree(own, sound, dirs_exist_ok=True)
        expected = {name: use() for name, use in uses.items()}
        cached = sorted(
            path.relative_to(sound) for path in (sound / "cache").rglob("*") if path.is_file()
        )
        written = sorted(path.relative_to(sound) for path in (sound / "export").iterdir())
        targets = [("cache", path) for path in cached] + [("export", path) for path in written]
        targets.append(("pretrained", Path("export", exported.WEIGHTS)))
        for n in range(context.trials):
            shutil.rmtree(own)
            shutil.copytree(sound, own)
            use, target = targets[n % len(targets)]
            what = damage(context.rng, own / target)
            try:
                equal = jax.tree.map(np.array_equal, uses[use](), expected[use])
                yield "" if all(jax.tree.leaves(equal)) else f"{what}: other numbers without a word"
            except InputError:
                yield ""
            except Exception as error:
                yield f"{what}: {type(error).__name__}: {error}"


@promise("mutants/export", "a damaged export is one error", full=10_000, quick=50)
def exports(context: Context) -> Iterator[str]:
    """Of every file; its hash in model.json follows, but for the program, which only its hash
    protects.
    """
    sound, own = context.folder / "sound", context.folder / "own"
    for folder in (sound, own):
        folder.mkdir()
        export_of_one_product(folder)
    names = [exported.SPEC, exported.WEIGHTS, exported.REFERENCE]
    for n in range(context.trials):
        name = names[n % len(names)]
        content = mutant(context.rng, (sound / name).read_bytes())
        (own / name).write_bytes(content)
        if name != exported.SPEC:
            spec = json.loads((sound / exported.SPEC).read_text())
            spec["files"][name]["sha256"] = hashlib.sha256(content).hexdigest()
            spec["sha256"] = exported.spec_hash(spec)
            (own / exported.SPEC).write_text(json.dumps(spec))
        problem = reading(
            lambda: (exported.Model.open(own), exported.read_image(own / exported.REFERENCE))
        )
        yield f"mutant {n} of {name}: {problem}" if problem else ""
        for changed in (name, exported.SPEC):
            shutil.copyfile(sound / changed, own / changed)


@contextlib.contextmanager
def published(sound: Path, own: Path) -> Iterator[Entry]:
    """An entry of the catalogue whose file is in the cache own/cache, and its sound copy in
    sound/cache.
    """
    name = "resnet18.test"
    file = sound / "cache" / name / "model.npz"
    file.parent.mkdir(parents=True)
    file.write_bytes(samples.npz(forms.as_torch(forms.network("resnet18"))))
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    entry = Entry(name, (), file.name, "torchvision", "none", "none", sha256=sha256, classes=10)
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)  # what is converted again is said
    with (
        mock.patch.dict(CATALOG, {entry.name: entry}),
        mock.patch.dict("os.environ", {"JAXCXR_WEIGHTS": str(own / "cache")}),
    ):
        yield entry
    logging.set_verbosity(verbosity)


def export_of_one_product(folder: Path) -> None:
    """Writes an export whose program multiplies an image by one weight for each of two classes."""

    def program(weights: Mapping[str, jax.Array], images: jax.Array) -> jax.Array:
        return images.mean(axis=(1, 2))[:, None] * weights["w"][None]

    (b,) = export.symbolic_shape("b")
    shapes = {"w": jax.ShapeDtypeStruct((2,), jnp.float32)}
    lowered = export.export(jax.jit(program))(shapes, jax.ShapeDtypeStruct((b, 4, 4), jnp.uint8))
    picture = io.BytesIO()
    Image.fromarray(np.arange(16, dtype=np.uint8).reshape(4, 4)).save(picture, "PNG")
    files = {
        exported.PROGRAM: bytes(lowered.serialize()),
        exported.WEIGHTS: safetensors_file.to_bytes(
            {"w": np.float32([1, 2])}, {"format": "jaxcxr"}
        ),
        exported.REFERENCE: picture.getvalue(),
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    spec: dict[str, Any] = {
        "format": exported.FORMAT,
        "task": "classify",
        "classes": ["a", "b"],
        "inputs": [{"name": "images", "dtype": "uint8", "shape": ["b", 4, 4], "what": "X-rays"}],
        "preprocessing": {
            "fields": {"image_size": 4, "equalise": False, "gamma": 1.0},
            "steps": [],
        },
        "lungs": {"needed": False, "on_empty": "error", "ids": []},
        "program": {"platforms": ["cpu"]},
        "versions": {"jax": jax.__version__},
        "files": {
            name: {"sha256": hashlib.sha256(content).hexdigest()} for name, content in files.items()
        },
    }
    (folder / exported.SPEC).write_text(
        json.dumps({**spec, "sha256": exported.spec_hash(spec)}, indent=2)
    )


def predicted(folder: Path) -> tuple[np.ndarray, list[str]]:
    """The probabilities of one image, and what else model.json says of them."""
    model = exported.Model.open(folder)
    pixels = np.arange(16, dtype=np.uint8).reshape(4, 4)
    return model.predict(model.preprocess(pixels)[0][None]), model.spec["classes"]


def _mutants(context: Context, suffix: str, sound: list[bytes]) -> Iterator[str]:
    path = context.folder / f"weights.{suffix}"

    def read_back(content: bytes) -> None:
        path.write_bytes(content)
        read(path)

    yield from mutants(context, sound, read_back)
