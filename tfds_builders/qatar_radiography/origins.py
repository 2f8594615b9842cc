"""Origins of the images: collection, address, and patient of kcx or ccx.

The database names no patients and renames its images, so that only a comparison of pixels
identifies them; index.csv contains the result of one (see README.md).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path, PurePath

from tfds_builders import attributes, manual_folder, tables
from tfds_builders.ccx import metadata
from tfds_builders.kcx import names
from tfds_builders.qatar_radiography import layouts

INDEX = ("image", "kcx_same_image", "ccx_same_image")
# Kermany's among the Normal images of 2021, by pixels. Normal.metadata.xlsx says 8852 to 10192, but
# those are adults (see README.md).
KERMANY_NORMAL = range(63, 1404)


@dataclasses.dataclass(frozen=True)
class Origin:
    """The provenance of an image; '' for what is unknown."""

    source: str
    patient_id: str
    strict_patient_id: str
    view: str
    age_group: str
    is_unknown: bool = False  # whose image it is


def of_collection(image: layouts.Image) -> Origin:
    """The origin of an image that no index lists: a patient of its own.

    Which images are of one person is unknown, so that those of one collection share a strict key.
    """
    finding = image.kind.finding
    kermany = finding == "viral" or (
        finding == "normal" and (image.release == "2020" or image.number in KERMANY_NORMAL)
    )
    if finding == "covid19":
        source = "qatar-mixed"
    else:
        source = "qatar-kcx" if kermany else "qatar-rsna"
    return Origin(
        source=source,
        patient_id=image.key.replace("radiography-", "radiography-image_", 1),
        strict_patient_id=f"{source}-unknown",
        view="AP" if kermany else "",
        age_group="paediatric" if kermany else "",
        is_unknown=True,
    )


def find_origins(images: Iterable[layouts.Image], root: Path) -> dict[str, Origin]:
    """Origins by the images' keys, the index's where it has the image.

    Args:
        images: all images of the release.
        root: the manual folder. Beside qatar/index.csv, kcx/chest_xray is looked at, and
            ccx/metadata.csv where the index names pictures of ccx.

    Raises:
        FileNotFoundError: the index lists images that are not there, or ccx/metadata.csv is
            missing.
        ValueError: the index contradicts itself, or names a picture that kcx or ccx cannot have.
    """
    images = list(images)
    origins = {image.key: of_collection(image) for image in images}
    path = root / layouts.FOLDER / "index.csv"
    if not path.exists():
        return origins
    files = {image.path.name: image.path for image in images}
    rows = read_index(path, files)
    kcx = kcx_patients(root / "kcx" / "chest_xray")
    names_ccx = any(row["ccx_same_image"] for row in rows.values())
    ccx, patients = ccx_rows(root / "ccx" / "metadata.csv", index=path) if names_ccx else ({}, {})
    for image in images:
        row = rows.get(image.path.name)
        if row is None:
            continue
        kcx_name, ccx_name = row["kcx_same_image"], row["ccx_same_image"]
        if kcx_name and ccx_name:
            raise ValueError(f"{path}: {image.path.name} is both {kcx_name} and {ccx_name}")
        try:
            if kcx_name:
                origins[image.key] = of_kcx(kcx_name, kcx)
            elif ccx_name:
                origins[image.key] = of_ccx(ccx_name, ccx, patients)
        except ValueError as error:
            raise ValueError(f"{path}: {image.path.name}: {error}") from error
    return origins


def read_index(path: Path, files: dict[str, Path]) -> dict[str, tables.Row]:
    """The rows of index.csv by the images' file names.

    Raises:
        FileNotFoundError: it lists images that are not among `files`.
        ValueError: it lacks a column, or two rows of one image differ.
    """
    table = tables.read_table(path, required=INDEX)
    absent = [row["image"] for row in table.rows if file_name(row) not in files]
    if absent:
        problem = (
            f"{path} lists {len(absent)} images that are not there: {layouts.shortened(absent)}."
        )
        raise manual_folder.missing_data("qatar_radiography", problem, layouts.INSTRUCTIONS)
    rows, _, _ = tables.choose_rows(
        table, files, file_name=file_name, reject_reason=lambda row: None, origin=path
    )
    return rows


def file_name(row: tables.Row) -> str:
    """The name alone, which tells class and number, of the path in a row of the index."""
    return re.split(r"[/\\]", row["image"])[-1]


def of_kcx(name: str, there: Collection[str]) -> Origin:
    """The patient that the builder kcx gives to the picture `name`.

    All 1,345 viral and 1,341 normal pictures are from Kaggle's train folder. A copy of kcx with
    other splits may have the patient in test; the id then follows the one that builder gives.

    Args:
        name: file name.
        there: `patient_id` of all pictures in the copy of kcx, if there is one.

    Raises:
        ValueError: kcx has no such name.
    """
    patient = names.parse(PurePath("train", "PNEUMONIA", name)) or names.parse(
        PurePath("train", "NORMAL", name)
    )
    if patient is None:
        raise ValueError(f"kcx has no picture of the name {name!r}")
    moved = patient.patient_id.replace("kcx-train-", "kcx-test-", 1)
    return Origin(
        source="qatar-kcx",
        patient_id=moved
        if moved in there and patient.patient_id not in there
        else patient.patient_id,
        strict_patient_id=patient.strict_patient_id,
        view="AP",
        age_group="paediatric",
    )


def of_ccx(name: str, rows: Mapping[str, metadata.Row], patients: Mapping[str, str]) -> Origin:
    """The patient that the builder ccx gives to the picture `name`.

    Raises:
        ValueError: metadata.csv has no such name, or no patient for it.
    """
    if name not in rows:
        raise ValueError(f"ccx/metadata.csv has no picture {name!r} with a patient")
    row = rows[name]
    return Origin(
        source="qatar-mixed",
        patient_id=patients[row.patient],
        strict_patient_id=patients[row.patient],
        view=attributes.frontal_view(row.view) or "",
        age_group=attributes.age_group(row.age),
    )


def kcx_patients(folder: Path) -> set[str]:
    """`patient_id` of all pictures of kcx below `folder`; none where there is no such folder."""
    parsed = [names.parse(path) for path in folder.rglob("*")] if folder.is_dir() else []
    return {name.patient_id for name in parsed if name is not None}


def ccx_rows(path: Path, *, index: Path) -> tuple[dict[str, metadata.Row], Mapping[str, str]]:
    """The first row with a patient of each picture of ccx, and the ids of the patients.

    Raises:
        FileNotFoundError: there is no such file.
    """
    if not path.is_file():
        problem = (
            f"{index} names pictures of ccx, whose patients are in {path}, which is missing. Put "
            "it there (github.com/ieee8023/covid-chestxray-dataset), or move the index away: then "
            "each image is a patient of its own."
        )
        raise manual_folder.missing_data("qatar_radiography", problem, layouts.INSTRUCTIONS)
    rows: dict[str, metadata.Row] = {}
    table = metadata.read_metadata(path).rows
    patients = metadata.read_patients(table).ids
    for row in table:
        if row.patient in patients:
            rows.setdefault(row.filename, row)
    return rows, patients


def read_urls(release: Path, images: Iterable[layouts.Image]) -> dict[str, str]:
    """Addresses by the images' keys, from the *.metadata.csv that there are in `release`.

    Raises:
        FileNotFoundError: a table lists images that are not there.
        ValueError: a table lacks a column or has a name that is none of the database's.
    """
    keys = {(image.kind, image.number): image.key for image in images}
    urls: dict[str, str] = {}
    for path in sorted(release.iterdir()):
        # The release of 2020 has 'Viral Pneumonia.matadata'.
        if not re.fullmatch(r".+\.m[ae]tadata\.csv", path.name, re.IGNORECASE):
            continue
        absent = []
        for row in tables.read_table(path, required=("file name", "url")).rows:
            named = listed_image(row["file name"])
            if named is None:
                raise ValueError(f"{path}: {row['file name']!r} is no name of an image")
            if named in keys:
                urls[keys[named]] = row["url"]
            else:
                absent.append(row["file name"])
        if absent:
            problem = (
                f"{path} lists {len(absent)} images that are not there: "
                f"{layouts.shortened(absent)}."
            )
            raise manual_folder.missing_data("qatar_radiography", problem, layouts.INSTRUCTIONS)
    return urls


def listed_image(name: str) -> tuple[layouts.Kind, int] | None:
    """Class and number of 'NORMAL-3', 'COVID-19(134)' or 'COVID 119', as the tables write them."""
    for kind in layouts.KINDS:
        # COVID before COVID-19: 'COVID-191' is number 191 of 2021.
        pattern = rf"(?:{'|'.join(kind.names)})(?:[ -]?(\d+)| ?\((\d+)\))(?:\.png)?"
        if match := re.fullmatch(pattern, name, re.IGNORECASE):
            return kind, int(match[1] or match[2])
    return None
