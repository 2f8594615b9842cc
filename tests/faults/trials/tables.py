"""Tables and prepared data sets: what is damaged is named, rebuilt or refused."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

from jaxcxr.data import open_dataset, prepared
from jaxcxr.errors import InputError
from tests.data.fakes import data_config
from tests.faults.limits import mutants
from tests.faults.limits import reading as within_limits
from tests.faults.mutations import damage
from tests.faults.promises import Context, promise
from tfds_builders import tables
from tfds_builders.ccx import ccx_dataset_builder as ccx
from tfds_builders.ccx import metadata
from tfds_builders.v7_darwin import darwin, regions

_CCX_COLUMNS = "patientid,offset,sex,age,finding,view,modality,folder,filename,clinical_notes"


def _csv(encoding: str, separator: str = ",") -> bytes:
    rows = [
        (
            f'{n // 2},{n},F,{30 + n},"COVID-19, ARDS",AP Supine,X-ray,images,im{n}.png,"Fièvre '
            '""39""\nsecond line"'
        )
        for n in range(24)
    ]
    text = "\n".join([_CCX_COLUMNS, *rows]) + "\n"
    return (text if separator == "," else text.replace(",", separator)).encode(encoding)


@promise("mutants/metadata", "a damaged metadata.csv is one error", full=10_000, quick=150)
def metadata_csv(context: Context) -> Iterator[str]:
    path = context.folder / "metadata.csv"
    files = {f"im{n}.png" for n in range(24)}

    def read(content: bytes) -> None:
        path.write_bytes(content)
        try:
            ccx.select_rows(metadata.read_metadata(path), files)
        except ValueError as error:
            raise _one_error(error, path) from error

    samples = [_csv("utf-8"), _csv("cp1252"), _csv("utf-16"), _csv("utf-8-sig", ";")]
    yield from mutants(context, samples, read)


@promise(
    "mutants/index", "damaged tables of the other data sets are one error", full=2_000, quick=50
)
def index_csv(context: Context) -> Iterator[str]:
    path = context.folder / "index.csv"
    required = ("image", "v7_id")

    def read(content: bytes) -> None:
        path.write_bytes(content)
        try:
            tables.read_table(path, required=required)
        except ValueError as error:
            raise _one_error(error, path) from error

    rows = [f"chest_xray/train/NORMAL/IM-{n}.jpeg,,{n}" for n in range(30)]
    text = "\n".join(["image,label,v7_id", *rows])
    yield from mutants(context, [text.encode(), text.replace(",", "\t").encode()], read)


@promise("mutants/darwin", "damaged Darwin JSON is one error", full=10_000, quick=150)
def darwin_json(context: Context) -> Iterator[str]:
    path = context.folder / "1.json"

    def read(content: bytes) -> None:
        path.write_bytes(content)
        try:
            regions.draw(darwin.read(path))
        except ValueError as error:
            raise _one_error(error, path) from error

    points = [{"x": 10.5 + n, "y": 20.0 + n % 7} for n in range(12)]
    image = {
        "width": 300,
        "height": 280,
        "filename": "a.png",
        "url": "https://x/images/12/original",
    }
    first = {
        "image": image,
        "annotations": [
            {"name": "Lung", "polygon": {"path": points}},
            {"name": "Ignore", "complex_polygon": {"path": [points, points[:5]]}},
            {"name": "COVID-19", "tag": {}},
        ],
    }
    second = {
        "version": "2.0",
        "item": {
            "name": "a.png",
            "slots": [{"width": 300, "height": 280, "source_files": [{"file_name": "a.png"}]}],
        },
        "annotations": [{"name": "Lung", "polygon": {"paths": [points, points[3:]]}}],
    }
    yield from mutants(context, [json.dumps(d).encode() for d in (first, second)], read)


@promise(
    "mutants/dataset_table",
    "a damaged table of a prepared data set is made again",
    full=10_000,
    quick=60,
)
def dataset_table(context: Context) -> Iterator[str]:
    config = data_config(context.folder)
    expected = open_dataset(config)
    (path,) = context.folder.rglob("jaxcxr_table*.npz")
    whole = path.read_bytes()
    log = logging.getLogger("jaxcxr")
    level = log.level
    log.setLevel(logging.ERROR)

    def read(content: bytes) -> None:
        path.write_bytes(content)
        columns = prepared._read_cached(path)
        if content != whole and columns is not None:
            raise AssertionError("a damaged table was read")

    try:
        yield from mutants(context, [whole], read)
    finally:
        log.setLevel(level)
    path.write_bytes(whole[: len(whole) // 2])
    if open_dataset(config).fingerprint != expected.fingerprint:
        raise AssertionError("the table that was made again is another one")


@promise(
    "flips/prepared",
    "a damaged file of a prepared data set is noticed or has no effect",
    full=1_000,
    quick=30,
)
def prepared_files(context: Context) -> Iterator[str]:
    sound = context.folder / "sound"
    config = data_config(sound)
    expected = _content(config)
    files = sorted(path.relative_to(sound) for path in sound.rglob("*") if path.is_file())
    for n in range(context.trials):
        folder = context.folder / f"damaged{n}"
        # With the times of the files, by which the table knows its data.
        shutil.copytree(sound, folder)
        path = folder / files[n % len(files)]
        what = damage(context.rng, path) if path.stat().st_size else ""

        def read(folder: Path = folder) -> None:
            if _content(data_config(folder)) != expected:
                raise AssertionError("other content, without a word")

        problem = within_limits(read)
        shutil.rmtree(folder)
        yield f"{what}: {problem}" if problem else ""


def _content(config) -> list:
    dataset = open_dataset(config)
    rows = range(len(dataset))
    counts = {reason: found.count for reason, found in dataset.dropped.items()}
    return [
        dataset.fingerprint,
        counts,
        dataset.findings.tolist(),
        [dataset.image(row).tobytes() for row in rows],
        [dataset.examples[int(dataset.rows[row])]["mask_lung"] for row in rows],
    ]


def _one_error(error: ValueError, path: Path) -> InputError:
    """As `open_dataset` does with a ValueError that names the file; any other error of a builder is
    a failure.
    """
    if type(error) is not ValueError or str(path) not in str(error):
        raise error
    return InputError(str(error))
