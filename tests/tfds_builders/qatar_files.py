"""Tiny releases of the COVID-19 Radiography Database, its index and its metadata tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.tfds_builders import builds

NEW = "qatar/COVID-19_Radiography_Dataset"
OLD = "qatar/COVID-19 Radiography Database"
RELEASES = {
    "2020, first": [
        f"{OLD}/COVID-19/COVID-19 (1).png",
        f"{OLD}/COVID-19/COVID-19(134).png",
        f"{OLD}/NORMAL/NORMAL (3).png",
        f"{OLD}/Viral Pneumonia/Viral Pneumonia (2).png",
    ],
    "2020, 1,200 of COVID-19": [
        f"{OLD}/COVID/COVID (1).png",
        f"{OLD}/COVID/COVID (134).png",
        f"{OLD}/NORMAL/NORMAL (3).png",
        f"{OLD}/Viral Pneumonia/Viral Pneumonia (2).png",
    ],
    "2021, without masks": [
        f"{NEW}/COVID/COVID-1.png",
        f"{NEW}/COVID/COVID-134.png",
        f"{NEW}/Normal/Normal-3.png",
        f"{NEW}/Viral Pneumonia/Viral Pneumonia-2.png",
        f"{NEW}/Lung_Opacity/Lung_Opacity-7.png",
    ],
    "2021, with masks": [
        f"{NEW}/COVID/images/COVID-1.png",
        f"{NEW}/COVID/images/COVID-134.png",
        f"{NEW}/Normal/images/Normal-3.png",
        f"{NEW}/Viral Pneumonia/images/Viral Pneumonia-2.png",
        f"{NEW}/Lung_Opacity/images/Lung_Opacity-7.png",
    ],
}
LATEST = RELEASES["2021, with masks"]
INDEX = ("image", "label", "kcx_same_image", "ccx_same_image")


def write_release(root: Path, files=LATEST) -> Path:
    for seed, name in enumerate(files):
        builds.write_image(root / name, seed=seed)
    return root


def write_mask(root: Path, image: str) -> np.ndarray:
    """A colour mask, as published, of another size than the image; returns what is inside."""
    path = root / image.replace("/images/", "/masks/")
    inside = np.zeros((8, 8), bool)
    inside[2:7, 1:4] = True
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(builds.encode(np.repeat(inside[..., None] * np.uint8(255), 3, axis=-1)))
    return inside


def write_index(root: Path, *rows: tuple[str, str, str]) -> None:
    """Rows of (class folder/file, picture of kcx, picture of ccx)."""
    records = []
    for image, kcx, ccx in rows:
        folder, name = image.split("/")
        path = f"{NEW}/{folder}/images/{name}"
        records.append(dict(zip(INDEX, (path, folder, kcx, ccx), strict=True)))
    builds.write_csv(root / "qatar" / "index.csv", records)


def write_ccx(root: Path, rows) -> None:
    """Rows of (patient, view, age, file name); the files are written too."""
    records = [
        dict(
            patientid=patient,
            finding="COVID-19",
            view=view,
            modality="X-ray",
            age=age,
            filename=name,
        )
        for patient, view, age, name in rows
    ]
    builds.write_csv(root / "ccx" / "metadata.csv", records)
    for seed, (*_, name) in enumerate(rows):
        builds.write_image(root / "ccx" / "images" / name, seed=seed)


def write_table(root: Path, name: str, images: list[str]) -> None:
    rows = [
        {"FILE NAME": image, "FORMAT": "PNG", "SIZE": "256*256", "URL": f"https://{i}.org"}
        for i, image in enumerate(images)
    ]
    builds.write_csv(root / name, rows)
