"""Predicts with an exported model: `python -m jaxcxr.exported EXPORT IMAGE...`.

`--config.run=export` makes one.

Needs JAX with flatbuffers, NumPy and Pillow, and nothing else of this project, so that an export
outlives it: a copy of this file lies beside the model as run.py. Only COVID-CXNet's enhancements
are left to `jaxcxr.data.preprocessing`. Research use only. Not for diagnosis.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import dataclasses
import hashlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export
from PIL import Image, TiffImagePlugin, UnidentifiedImageError

try:
    from jaxcxr.errors import InputError  # pyright: ignore[reportAssignmentType]
except ImportError:  # run.py where jaxcxr is not installed

    class InputError(ValueError):
        """Input that cannot be used: the message names the file or field and the fix."""


NOTE = "research use only; not a diagnosis"
FORMAT = 1  # of model.json
SPEC, PROGRAM, WEIGHTS, REFERENCE, RUNNER = (
    "model.json", "model.stablehlo", "model.safetensors", "reference.png", "run.py",
)  # fmt: skip
MAX_PIXELS = 64_000_000
_FIELDS = {  # of model.json that are read here
    "task": str, "classes": list, "inputs": list, "lungs": dict, "preprocessing": dict,
    "program": dict, "files": dict,
    "versions": dict,
}  # fmt: skip
_FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF")
_ORIENTATION = 0x112  # of TIFF
# The preprocessing that is done here: fields of any value, and those that must have this one.
_ANY = ("image_size", "equalise", "gamma", "lung_margin", "cut")
_PLAIN = {"enhance": [], "resize": "bilinear", "form": "sound", "match": "none", "lungs": "whole"}


@dataclasses.dataclass(frozen=True)
class Model:
    """An exported model.

    Attributes:
        folder: of its files.
        spec: what model.json says.
        weights: name -> float32 array.
        program: (weights, *inputs [b, ...]) -> output [b, ...], compiled once for each b.
    """

    folder: Path
    spec: dict[str, Any]
    weights: dict[str, np.ndarray]
    program: Callable[..., Any]

    @classmethod
    def open(cls, folder: str | Path) -> Model:
        """Reads an export and checks that its files are whole and belong together.

        Raises:
            InputError: a file is missing, damaged or of another export, or this JAX cannot run it.
        """
        folder = Path(folder)
        spec = _read_spec(folder)
        with _reading(folder / SPEC):
            for name in {*spec["files"], PROGRAM, WEIGHTS} - {RUNNER}:
                _check_hash(folder / name, spec)
            exported = _deserialize(folder / PROGRAM, spec)
            if spec["task"] == "classify" and exported.out_avals[0].shape[-1] != len(
                spec["classes"]
            ):
                raise InputError(
                    f"{folder / SPEC} names {len(spec['classes'])} classes, and the program tells "
                    f"{exported.out_avals[0].shape[-1]} apart: export again"
                )
            if spec.get("sha256", spec_hash(spec)) != spec_hash(spec):  # earlier exports have none
                raise InputError(
                    f"{folder / SPEC} is damaged or was changed: its SHA-256 is another; export "
                    "again"
                )
            _check_runner(folder, spec)
        with _reading(folder / WEIGHTS):
            weights = read_safetensors(folder / WEIGHTS)
        return cls(folder, spec, weights, jax.jit(exported.call))

    def predict(
        self, images: np.ndarray, masks: np.ndarray | None = None, seeds: np.ndarray | None = None
    ) -> np.ndarray:
        """Runs the program.

        Args:
            images: [b, S, S] or [b, S, S, c] uint8, of `preprocess`; model.json gives the size.
            masks: [b, S, S] uint8, 1 in the lungs, where the model takes patches.
            seeds: [b] int32, of each image's patches; None: of its pixels, see `seed_of`.

        Returns:
            Probabilities [b, C] float32 that sum to 1; of a segmenter structure ids [b, S, S]
            uint8.

        Raises:
            InputError: an array is missing or has another shape or type than model.json says, or
                the model was not exported for this platform.
        """
        self._check_platform()
        inputs = {"images": images, "masks": masks, "seeds": seeds}
        if seeds is None:
            inputs["seeds"] = np.array([seed_of(image) for image in images], np.int32)
        arrays = []
        for entry in self.spec["inputs"]:
            name, shape = entry["name"], [len(images), *entry["shape"][1:]]
            array = inputs[name]
            if array is None:
                raise InputError(f"{self.folder} needs {name} {entry['shape']}: {entry['what']}")
            if list(array.shape) != shape or str(array.dtype) != entry["dtype"]:
                raise InputError(
                    f"{self.folder} takes {name} {entry['dtype']} {shape}, not {array.dtype} "
                    f"{list(array.shape)}"
                )
            arrays.append(array)
        return np.asarray(self.program(self.weights, *arrays))

    def _check_platform(self) -> None:
        backend, platforms = jax.default_backend(), self.spec["program"]["platforms"]
        if not {"gpu": {"cuda", "rocm"}}.get(backend, {backend}) & set(platforms):
            raise InputError(
                f"{self.folder} runs on {', '.join(platforms)}, and this is {backend}: name it in "
                "--config.export.platforms and export again, or set JAX_PLATFORMS"
            )

    def preprocess(
        self, pixels: np.ndarray, lungs: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """An X-ray as the program takes it.

        Args:
            pixels: [H, W] uint8 or uint16, lungs dark.
            lungs: [H, W] bool, where the model looks at lungs.

        Returns:
            (image [S, S] or [S, S, c] uint8, mask [S, S] uint8 or None).

        Raises:
            InputError: there are no lungs where the model needs some, or what prepares its images
                is not installed.
        """
        rules = self.spec["lungs"]
        if not rules["needed"]:
            lungs = None
        elif lungs is None:
            raise InputError(
                f"{self.folder} looks at lungs: name an exported segmenter, --lungs EXPORT"
            )
        fields, fill = self.spec["preprocessing"]["fields"], rules["on_empty"] == "whole_image"
        mask = None if lungs is None else lungs.astype(np.uint8)
        is_plain = all(name in _ANY or _PLAIN.get(name) == value for name, value in fields.items())
        image, mask = (
            prepare(pixels, mask, fields) if is_plain else self._prepare_by_jaxcxr(pixels, mask)
        )
        if mask is not None and not mask.any():
            if not fill:
                raise InputError(
                    f"no lungs found (masks.on_empty={rules['on_empty']!r}): look at the X-ray and "
                    "at the segmenter's mask of it, --masks-to"
                )
            mask = np.ones_like(mask)
        return image, mask

    def _prepare_by_jaxcxr(
        self, pixels: np.ndarray, mask: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        try:
            from jaxcxr.data import preprocessing
        except ImportError as error:
            steps = "; ".join(self.spec["preprocessing"]["steps"])
            raise InputError(
                f"{self.folder} needs jaxcxr to prepare its images ({error}): {steps}"
            ) from error
        fields = self.spec["preprocessing"]["fields"].items()
        options: dict[str, Any] = {
            n: tuple(value) if isinstance(value, list) else value for n, value in fields
        }
        settings = preprocessing.Preprocessing(**options)
        reference = read_image(self.folder / REFERENCE) if settings.match != "none" else None
        prepared = preprocessing.prepare(
            pixels, mask, settings, name="the image", reference=reference
        )
        return prepared.image, prepared.mask

    def find_lungs(self, pixels: np.ndarray) -> np.ndarray:
        """Lungs [S, S] bool of an X-ray [H, W], found by a segmenter; see `enlarged`."""
        if self.spec["task"] != "segment":
            raise InputError(
                f"{self.folder} finds no lungs: it is a {self.spec['task']} model, not a segmenter"
            )
        return np.isin(self.predict(self.preprocess(pixels)[0][None])[0], self.spec["lungs"]["ids"])


def prepare(
    pixels: np.ndarray, mask: np.ndarray | None, fields: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray | None]:
    """`jaxcxr.data.preprocessing.prepare` without its enhancements.

    The image is equalised, raised to gamma, resized, cut.

    Args:
        pixels: [H, W] uint8 or uint16.
        mask: [H, W] uint8, or None.
        fields: image_size, equalise, gamma and, where it is not (0, 0, 0, 0), cut.

    Returns:
        (image [S, S] uint8, mask [S, S] uint8 or None).
    """
    size = (fields["image_size"], fields["image_size"])
    top, left, bottom, right = fields.get("cut", (0, 0, 0, 0))
    inside = (slice(top, size[0] - bottom), slice(left, size[1] - right))
    values = (255 * _levels(pixels, equalise=fields["equalise"]) ** fields["gamma"]).astype(
        np.float32
    )[pixels]
    small = np.asarray(Image.fromarray(values).resize(size, Image.Resampling.BILINEAR))
    image = np.clip(np.rint(small), 0, 255).astype(np.uint8)[inside]
    if mask is None:
        return image, None
    return image, np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))[inside]


def enlarged(lungs: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Lungs [S, S] bool at the size [H, W] of their X-ray."""
    height, width = shape
    return np.asarray(Image.fromarray(lungs).resize((width, height), Image.Resampling.NEAREST))


def _levels(pixels: np.ndarray, *, equalise: bool) -> np.ndarray:
    """New value of each grey level, float32 in [0, 1]."""
    count = 1 << (8 * pixels.dtype.itemsize)
    if equalise:
        with jax.default_device("cpu"):
            return np.asarray(_equalised(np.bincount(pixels.ravel(), minlength=count)))
    if pixels.dtype == np.uint8:
        return np.arange(count, dtype=np.float32) / (count - 1)
    low, high = _grey_range(np.bincount(pixels.ravel(), minlength=count))
    return np.clip((np.arange(count, dtype=np.float32) - low) / max(high - low, 1), 0, 1)


def _grey_range(histogram: np.ndarray) -> tuple[int, int]:
    """`jaxcxr.data.preprocessing.grey_range`, which says what it is."""
    levels = np.flatnonzero(histogram)
    counts = histogram[levels]
    whole, cut_off = (levels, counts), False
    while len(levels) > 1:
        gaps = np.diff(levels)
        if 8 * gaps.max() <= gaps.sum() - gaps.max():
            break
        cut = int(gaps.argmax()) + 1
        sides = [(levels[:cut], counts[:cut]), (levels[cut:], counts[cut:])]
        pixels = [side[1].sum() for side in sides]
        widths = [np.ptp(_middle(*side)) for side in sides]
        if 100 * min(pixels) < sum(pixels):
            levels, counts = sides[int(np.argmax(pixels))]
            whole = whole if cut_off else (levels, counts)
        elif 4 * min(widths) < max(widths):
            levels, counts = sides[int(np.argmax(widths))]
            cut_off = True
        else:
            levels, counts = whole
            break
    low, high = _middle(levels, counts)
    reach = (high - low) // 2 if high > low else len(histogram)
    return max(int(levels[0]), low - reach), min(int(levels[-1]), high + reach)


def _middle(levels: np.ndarray, counts: np.ndarray) -> tuple[int, int]:
    """The 1st and 99th percentiles of pixels [n] per level [n]."""
    below = counts.cumsum()
    low, high = np.searchsorted(below, (0.01 * below[-1], 0.99 * below[-1]))
    return int(levels[low]), int(levels[high])


@jax.jit
def _equalised(histogram: jax.Array) -> jax.Array:
    """The cumulative histogram from the darkest level there is, 0, to the brightest, 1.

    By XLA, as `jaxcxr.ops.enhance.equalisation_lut`: it divides with another rounding than NumPy,
    and the last bit can move a pixel by a level.
    """
    cumulative = jnp.cumsum(jnp.asarray(histogram, jnp.int32))
    total = cumulative[-1]
    low = jnp.min(jnp.where(cumulative > 0, cumulative, total))
    levels = (cumulative - low).astype(jnp.float32) / jnp.maximum(total - low, 1).astype(
        jnp.float32
    )
    return jnp.clip(levels, 0, 1)


def seed_of(image: np.ndarray) -> int:
    """The seed of an image's patches in [0, 2^31), from its pixels.

    `--config.run=predict` has the same one for own X-rays.
    """
    return int.from_bytes(hashlib.sha256(np.ascontiguousarray(image).data).digest()[:4], "big") >> 1


def read_image(path: str | Path) -> np.ndarray:
    """Reads a PNG, JPEG, GIF, BMP or TIFF file as grey, keeping 16 bits.

    Equals `jaxcxr.data.decoding.decode_grey`.

    Returns:
        [H, W] uint8 or uint16.

    Raises:
        InputError: it is none of these (DICOM is not), is damaged, too large, or of a kind that
            only jaxcxr reads as stored: colour of 16 bits, TIFF that asks to be turned.
    """
    try:
        with Image.open(path, formats=_FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise InputError(
                    f"{path} is {image.width}x{image.height} pixels, more than the {MAX_PIXELS:,} "
                    "allowed"
                )
            _check_kind(image, path)
            return _to_grey(image, path)
    except InputError:
        raise
    except Exception as error:  # damaged files raise a dozen types in Pillow
        if isinstance(error, OSError) and error.strerror:
            raise InputError(f"{path} cannot be opened: {error.strerror}") from error
        if isinstance(error, UnidentifiedImageError):
            is_empty = not Path(path).stat().st_size
            raise InputError(
                f"{path} is empty"
                if is_empty
                else f"{path} is no {', '.join(_FORMATS)} picture; jaxcxr reads DICOM too "
                "(--config.run=predict)"
            ) from error
        raise InputError(
            f"{path} is unreadable: {_reason(error)}. Give {', '.join(_FORMATS)}"
        ) from error


def _check_kind(image: Image.Image, path: str | Path) -> None:
    """Raises InputError for files of which Pillow keeps 8 of 16 bits, or turns the pixels."""
    tags: Mapping[int, Any] = getattr(image, "tag_v2", {})
    bits, samples = (
        tags.get(TiffImagePlugin.BITSPERSAMPLE, (8,)),
        tags.get(TiffImagePlugin.SAMPLESPERPIXEL, 1),
    )
    if image.format == "PNG":
        with Path(path).open("rb") as file:
            depth, colour = file.read(26)[24:]
        bits, samples = (depth,), 1 if colour in (0, 3) else 3
    if samples > 1 and max(bits) > 8:
        raise InputError(
            f"{path} has colours of {max(bits)} bits, of which 8 would be left: save it as grey, "
            "or read it with jaxcxr (--config.run=predict)"
        )
    if tags.get(_ORIENTATION, 1) != 1:
        raise InputError(
            f"{path} asks viewers to turn it: save it the way it is stored, or read it with jaxcxr "
            "(--config.run=predict)"
        )


def _to_grey(image: Image.Image, path: str | Path) -> np.ndarray:
    if image.mode in ("I;16", "I;16L", "I;16B", "I;16N"):
        pixels = np.asarray(image).astype(np.uint16)
        is_tiff = isinstance(image, TiffImagePlugin.TiffImageFile)
        # Pillow turns TIFFs round whose 0 is white, but not those of 16 bits.
        return (
            ~pixels
            if is_tiff and image.tag_v2.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 0
            else pixels
        )
    if image.mode in ("I", "F"):
        wide = np.asarray(image)
        if image.mode == "F" or wide.min() < 0 or wide.max() > np.iinfo(np.uint16).max:
            raise InputError(f"{path} has 32-bit values: save it with 8 or 16 bits")
        return wide.astype(np.uint16)
    if image.mode in ("P", "LA", "La", "PA", "RGBA", "RGBa"):
        image = Image.alpha_composite(
            Image.new("RGBA", image.size, (0, 0, 0, 255)), image.convert("RGBA")
        )
        image = image.convert("RGB")
    if image.mode not in ("1", "L", "RGB"):
        image = image.convert("RGB")
    return np.asarray(image.convert("L"))


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """Arrays of a safetensors file whose hash is right: {name: float32 array}."""
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    arrays = {}
    for name, entry in json.loads(content[8:start]).items():
        if name == "__metadata__":
            continue
        if entry["dtype"] != "F32":
            raise InputError(
                f"{path}: {name} is {entry['dtype']}, and only F32 is written and read here"
            )
        first, end = entry["data_offsets"]
        arrays[name] = np.frombuffer(content[start + first : start + end], "<f4").reshape(
            entry["shape"]
        )
    return arrays


def _read_spec(folder: Path) -> dict[str, Any]:
    path = folder / SPEC
    with _reading(path, "make it with --config.run=export"):
        spec = json.loads(path.read_text(encoding="utf-8"))
        form = spec["format"]
        if form != FORMAT:
            raise InputError(
                f"{path} is of format {form}, and this program reads {FORMAT}: run the {RUNNER} "
                "beside it"
            )
        for name, kind in _FIELDS.items():
            if not isinstance(spec[name], kind):
                raise TypeError(f"{name} is no {kind.__name__}")
    return spec


def spec_hash(spec: Mapping[str, Any]) -> str:
    """SHA-256 of the content of model.json in canonical form, without its own field `sha256`."""
    content = {name: value for name, value in spec.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _check_runner(folder: Path, spec: Mapping[str, Any]) -> None:
    """Checks the hash of the export's run.py, where this process runs it.

    Raises:
        InputError: it has changed since the export.
    """
    runner = folder / RUNNER
    if RUNNER in spec["files"] and runner.is_file() and runner.samefile(__file__):
        try:
            _check_hash(runner, spec)
        except InputError as error:
            raise InputError(
                f"{error}, or copy it under another name to run it as it is"
            ) from error


@contextlib.contextmanager
def _reading(path: Path, what_to_do: str = "export again") -> Iterator[None]:
    """Turns what the block raises into an InputError naming the file, as `files.reading`."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.strerror:
            raise InputError(f"{path} cannot be read ({error.strerror}): {what_to_do}") from error
        raise InputError(f"{path} is damaged ({_reason(error)}): {what_to_do}") from error


def _reason(error: Exception) -> str:
    """Message of an exception, in one line without memory addresses."""
    text = re.sub(r"( object)? at 0x[0-9a-fA-F]+", "", " ".join(str(error).split()))[:200]
    return f"{type(error).__name__}: {text}"


def _check_hash(path: Path, spec: Mapping[str, Any]) -> None:
    expected = spec["files"][path.name]["sha256"]
    with _reading(path), path.open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if actual != expected:
        raise InputError(
            f"{path} is damaged or of another export: its SHA-256 is {actual}, and {SPEC} says "
            f"{expected}; export again"
        )


def _deserialize(path: Path, spec: Mapping[str, Any]) -> export.Exported:
    made_by = spec["versions"]["jax"]
    if _version(jax.__version__) < _version(made_by):
        raise InputError(
            f"{path} was exported by JAX {made_by}, which the installed {jax.__version__} cannot "
            f"read: pip install jax=={made_by}, or export with the older one"
        )
    try:
        exported = export.deserialize(bytearray(path.read_bytes()))
    except ImportError as error:
        raise InputError(
            f"{path}: exported programs are read with flatbuffers: pip install flatbuffers"
        ) from error
    except Exception as error:  # JAX has no type for what is more than half a year old
        raise InputError(
            f"{path} was exported by JAX {made_by}, and the installed {jax.__version__} cannot "
            f"read it ({error}): pip install jax=={made_by}, or export again"
        ) from error
    return exported


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:2])


def main(arguments: Sequence[str]) -> int:
    """The command line; returns the exit status, 1 where a file could not be used."""
    parser = argparse.ArgumentParser(
        prog=f"python {RUNNER}" if Path(__file__).name == RUNNER else "python -m jaxcxr.exported",
        description=(
            "Class probabilities, or lung masks, of X-rays by an exported model. Research use only."
        ),
    )
    parser.add_argument("export", metavar="EXPORT", help="folder that --config.run=export wrote")
    files = "PNG, JPEG, GIF, BMP or TIFF files, or folders of them, lungs dark"
    parser.add_argument("images", metavar="IMAGE", nargs="+", help=files)
    parser.add_argument(
        "--lungs", metavar="EXPORT", help="an exported segmenter, for a model that looks at lungs"
    )
    where = "of a segmenter: writes FOLDER/<IMAGE>.png"
    parser.add_argument("--masks-to", metavar="FOLDER", type=Path, help=where)
    options = parser.parse_args(arguments)
    # Whatever the terminal's encoding, no name stops a print.
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # pyright: ignore[reportAttributeAccessIssue]
    try:
        model = Model.open(options.export)
        segmenter = Model.open(options.lungs) if options.lungs else None
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    values = [f"probability_{name}" for name in model.spec["classes"]] or ["lung_area_share"]
    opened = [model, *([segmenter] if segmenter else [])]
    note = "; ".join(dict.fromkeys("; ".join(m.spec.get("note", NOTE) for m in opened).split("; ")))
    table, failed, taken = csv.writer(sys.stdout, lineterminator="\n"), 0, set[str]()
    # Earlier exports do not say which convention of a lung their masks follow.
    lungs = next((m for m in opened if m.spec["task"] == "segment"), None)
    used = lungs is not None and (lungs is model or model.spec["lungs"]["needed"])
    structure = lungs.spec["lungs"].get("structure", "") if lungs is not None and used else ""
    table.writerow(["file", *values, "note", "structure"])
    for name in [file for given in options.images for file in _files(given)]:
        mask = options.masks_to / _mask_name(name, taken) if options.masks_to else None
        try:
            numbers = _predict_file(model, segmenter, Path(name), mask)
        except Exception as error:  # of one file: the remaining files are predicted
            message = str(error) if isinstance(error, InputError) else _reason(error)
            message = message if name in message else f"{name}: {message}"
            shown = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in message)
            print(f"error: {''.join(shown)}", file=sys.stderr)
            failed += 1
        else:
            name = f"'{name}" if re.match(r"'*[=+\-@\t\r\n]", name) else name  # no formula
            table.writerow([name, *(f"{number:.6g}" for number in numbers), note, structure])
    return 1 if failed else 0


def _files(name: str) -> list[str]:
    """A file, or the files of a folder in the order of their names, without hidden ones."""
    if not os.path.isdir(name):
        return [name]
    found = sorted(entry.path for entry in os.scandir(name) if entry.is_file())
    return [file for file in found if not os.path.basename(file).startswith(".")] or [name]


def _mask_name(image: str, taken: set[str]) -> str:
    """'<the file's name>.png', with a hash of the path where that is taken or too long."""
    name = Path(image).name
    cut = name.encode(errors="surrogateescape")[:200].decode(errors="ignore")
    if cut != name or name.casefold() in taken:
        cut += f"~{hashlib.sha256(image.encode(errors='surrogateescape')).hexdigest()[:8]}"
    taken.add(cut.casefold())
    return f"{cut}.png"


def _predict_file(
    model: Model, segmenter: Model | None, path: Path, mask_file: Path | None
) -> Sequence[float]:
    pixels = read_image(path)
    if model.spec["task"] == "segment":
        lungs = model.find_lungs(pixels)
        if mask_file is not None:
            mask_file.parent.mkdir(parents=True, exist_ok=True)
            mask = enlarged(lungs, pixels.shape).astype(np.uint8) * 255
            Image.fromarray(mask).save(mask_file)
        return [lungs.mean()]
    lungs = None
    if segmenter is not None and model.spec["lungs"]["needed"]:
        lungs = enlarged(segmenter.find_lungs(pixels), pixels.shape)
    image, mask = model.preprocess(pixels, lungs)
    return model.predict(image[None], None if mask is None else mask[None])[0].tolist()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
