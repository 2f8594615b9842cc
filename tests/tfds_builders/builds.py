"""Helpers of the builder tests: tiny images, one-line preparation, a run without TensorFlow."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]


def encode(pixels: np.ndarray, *, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def write_image(path: Path, *, seed: int = 0, size: tuple[int, int] = (6, 5)) -> bytes:
    """A tiny grey noise image of `size` (height, width); returns the encoded bytes."""
    pixels = np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)
    data = encode(pixels, kind="PNG" if path.suffix.lower() == ".png" else "JPEG")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return data


def write_csv(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Writes `rows` with the columns of the first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def prepare(builder_class, tmp_path: Path, manual_dir: Path | None, **options):
    """Builds into tmp_path/tfds."""
    config = builder_class.configure(**options)
    builder = builder_class(data_dir=tmp_path / "tfds", config=config, file_format="array_record")
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(manual_dir=manual_dir)
    )
    return builder


def read(builder) -> dict[str, dict]:
    """Examples by id: texts as str, images and masks as encoded bytes."""
    images = [
        name for name, f in builder.info.features.items() if isinstance(f, tfds.features.Image)
    ]
    source = builder.as_data_source(
        split="all", decoders={name: tfds.decode.SkipDecoding() for name in images}
    )
    examples = {}
    for example in source:
        example = {
            name: value if name in images else value.decode() for name, value in example.items()
        }
        examples[example["id"]] = example
    assert len(examples) == len(source), "ids are not unique"
    return examples


def metadata(builder) -> dict:
    """What the builder counted: kept, rejected, ..."""
    return dict(builder.info.metadata)


def column(examples: dict[str, dict], name: str) -> dict[str, str]:
    return {key: example[name] for key, example in examples.items()}


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def count_without_tensorflow(name: str, tmp_path: Path, manual_dir: Path) -> int:
    """Prepares and reads a builder in a process of its own; fails if that imports TensorFlow."""
    program = f"""
import sys
import tensorflow_datasets as tfds
from tfds_builders.{name}.{name}_dataset_builder import Builder
builder = Builder(data_dir={str(tmp_path / "tf_free")!r}, file_format="array_record")
config = tfds.download.DownloadConfig(manual_dir={str(manual_dir)!r})
builder.download_and_prepare(download_config=config)
source = builder.as_data_source("all", decoders={{"image": tfds.decode.SkipDecoding()}})
sizes = [len(source[i]["image"]) for i in range(len(source))]
heavy = [name for name in ("tensorflow", "torch", "jaxcxr") if name in sys.modules]
assert not heavy, heavy
print("examples", len(sizes))
"""
    run = subprocess.run(
        [sys.executable, "-c", program],
        check=False,  # the assertion shows what it printed
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    return int(run.stdout.split("examples")[-1])
