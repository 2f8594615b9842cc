"""Pictures of annotations in ccx's, kcx's or V7's own folder, and their patients.

V7's pictures are those of `ccx` and `kcx`. A picture from there has the patient ids that their
builders give.
"""

from __future__ import annotations

import collections
import dataclasses
import re
from collections.abc import Iterable
from pathlib import Path, PurePath

from tfds_builders import attributes, file_names, rejection, tables
from tfds_builders.ccx import ccx_dataset_builder as ccx
from tfds_builders.ccx import metadata
from tfds_builders.kcx import kcx_dataset_builder as kcx
from tfds_builders.kcx import names as kcx_names
from tfds_builders.v7_darwin import darwin, regions, tags

# Without a picture an annotation is an error, unless the option missing_images leaves it out on
# purpose.
MISSING = rejection.Reason("missing image", is_fault=False)
# Neither NC nor ND, nor SA, which would bind what is made of the picture.
OPEN_LICENCE = re.compile(r"(CC BY|CC0)( \d\.\d)?", re.IGNORECASE)
SEVERAL = rejection.Reason("several images of one name", is_fault=False)


@dataclasses.dataclass(frozen=True)
class Picture:
    """An image file and what is known of it; see `xray_builder.Example`."""

    image: Path
    patient_id: str
    strict_patient_id: str
    label: str
    finding: str
    view: str
    age_group: str
    source: str


class Pictures:
    """The pictures below a manual folder: ccx/, kcx/ and v7/images/, each of which may be
    absent.
    """

    def __init__(self, root: Path, tagged: Iterable[str] = ()):
        """Reads names, ccx's table and kcx's index; no image is opened, save kcx's that share a
        name.

        Args:
            root: the manual folder.
            tagged: patients whom annotations name.

        Raises:
            ValueError: ccx/metadata.csv or kcx/index.csv lacks a column, or kcx has files of other
                names.
        """
        self._own = _plain_files(root / "v7" / "images")
        self._own_stems = _by_key((path.stem, path) for path in self._own.values())
        pooled, _ = kcx.pool(root / kcx.FOLDER) if (root / kcx.FOLDER).is_dir() else ({}, [])
        self._kcx = _by_key((path.name, path) for path in pooled.values())
        self._kcx_patients = {
            name.patient_id for path in pooled.values() if (name := kcx_names.parse(path))
        }
        self._kcx_of_key = _read_index(root, set(pooled.values()))
        self._ccx = _plain_files(root / "ccx" / "images")
        path = root / "ccx" / "metadata.csv"
        self._ccx_names, self._ccx_patients = _read_ccx(path, set(self._ccx))
        self._open_names = _read_open_names(path)
        listed = metadata.read_metadata(path).rows if path.is_file() else ()
        others = (metadata.Row(patient, "", "", "", "", "") for patient in tagged)
        patients = metadata.read_patients([*listed, *others])
        self._ids, self.notices = patients.ids, patients.notices

    def is_open(self, picture: Picture, annotation: darwin.Annotation | None) -> bool:
        """Whether the licence of a picture allows changes and commercial use.

        KCX's is CC BY 4.0. A picture of CCX has one of its own, in metadata.csv.
        """
        if picture.source == "kcx":
            return True
        names = {picture.image.name, *(annotation.names if annotation else ())}
        return any(self._ccx_names.get(name, name) in self._open_names for name in names)

    def own_not_named(
        self, annotations: Iterable[darwin.Annotation], keys: Iterable[str]
    ) -> list[str]:
        """The files in v7/images that are of none of these annotations and numbers."""
        names = {name for annotation in annotations for name in annotation.names}
        stems = {PurePath(name).stem for name in names} | set(keys)
        return [
            name for name in self._own if name not in names and PurePath(name).stem not in stems
        ]

    def of_key(self, key: str) -> Picture | rejection.Reason | None:
        """The picture that kcx/index.csv pairs with Darwin's number `key`, why there is none, or
        None: no such row.
        """
        if key not in self._kcx_of_key:
            return None
        path = self._kcx_of_key[key]
        return MISSING if path is None else _kcx_picture(path)

    def of(self, annotation: darwin.Annotation) -> Picture | rejection.Reason:
        """The picture of `annotation` with its tags, or the reason why there is none."""
        kcx_name = next((name for name in annotation.names if _parse_kcx(name)), None)
        picture = self._from_kcx(annotation, kcx_name) if kcx_name else self._from_ccx(annotation)
        if isinstance(picture, rejection.Reason):
            return picture
        return dataclasses.replace(
            picture,
            label=tags.label(annotation.tags),
            finding=tags.finding(annotation.tags),
            view=tags.view(annotation.tags) or picture.view,
            age_group=picture.age_group or attributes.age_group(tags.value(annotation.tags, "Age")),
        )

    def _from_kcx(self, annotation: darwin.Annotation, name: str) -> Picture | rejection.Reason:
        paths = self._kcx.get(name, [])
        if len(paths) > 1:  # other pictures of that name in train and test: the size decides
            paths = [
                path
                for path in paths
                if regions.size_of(path) == (annotation.width, annotation.height)
            ]
            if len(paths) != 1:
                return SEVERAL
        if paths:
            return _kcx_picture(paths[0])
        own = self._from_own(annotation)
        if isinstance(own, rejection.Reason):
            return own
        # Whether train's or test's patient of that number is meant is unknown, unless kcx has one
        # of them only.
        picture, other = (
            _kcx_picture(PurePath(split) / _folder(name) / name) for split in ("train", "test")
        )
        there = {picture.patient_id, other.patient_id} & self._kcx_patients
        patient_id = there.pop() if len(there) == 1 else picture.strict_patient_id
        return dataclasses.replace(picture, image=own, patient_id=patient_id)

    def _from_ccx(self, annotation: darwin.Annotation) -> Picture | rejection.Reason:
        there = (self._ccx_names.get(name, name) for name in annotation.names)
        name = next((name for name in there if name in self._ccx), None)
        path = self._ccx[name] if name else self._from_own(annotation)
        if isinstance(path, rejection.Reason):
            return path
        patient = self._ccx_patients.get(name or "") or tags.value(annotation.tags, "PatientID")
        if patient not in self._ids:
            return rejection.NO_PATIENT
        patient_id = self._ids[patient]
        return Picture(
            image=path,
            patient_id=patient_id,
            strict_patient_id=patient_id,
            label="",
            finding="",
            view="",
            age_group="",
            source="ccx",
        )

    def _from_own(self, annotation: darwin.Annotation) -> Path | rejection.Reason:
        """The file in v7/images by Darwin's number, by one of the names, or by the stem of one of
        these.
        """
        for name in annotation.names:
            if name in self._own:
                return self._own[name]
        for stem in (annotation.key, *(PurePath(name).stem for name in annotation.names)):
            paths = self._own_stems.get(stem, [])
            if paths:
                return paths[0] if len(paths) == 1 else SEVERAL
        return MISSING


def _plain_files(folder: Path) -> dict[str, Path]:
    return file_names.files_by_name(folder) if folder.is_dir() else {}


def _by_key(pairs: Iterable[tuple[str, Path]]) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = collections.defaultdict(list)
    for key, path in pairs:
        found[key].append(path)
    return dict(found)


def _read_index(root: Path, known: set[Path]) -> dict[str, Path | None]:
    """kcx/index.csv: Darwin's number -> kcx's file, None where it is not there.

    Empty without that file.
    """
    path = root / "kcx" / "index.csv"
    if not path.is_file():
        return {}
    rows = [
        row for row in tables.read_table(path, required=("image", "v7_id")).rows if row["v7_id"]
    ]
    images: dict[str, str] = {}
    for row in rows:
        if images.setdefault(row["v7_id"], row["image"]) != row["image"]:
            both = f"{images[row['v7_id']]} and {row['image']}"
            raise ValueError(f"{path}: gives {row['v7_id']} to both {both}: keep the right one")
    # Being one of the pooled files is the only way to be found, so that ../x is never followed.
    return {key: file if (file := root / image) in known else None for key, image in images.items()}


def _read_ccx(path: Path, files: set[str]) -> tuple[dict[str, str], dict[str, str]]:
    """ccx's table: original file name -> file name, and file name -> the patient that ccx's builder
    sees.
    """
    if not path.is_file():
        return {}, {}
    table = tables.read_table(path, required=metadata.REQUIRED)
    # Copies that were encoded again keep the old name in a column of its own.
    original = {
        row.get("original_filename", "") or row["filename"]: row["filename"] for row in table.rows
    }
    found = file_names.match(original.values(), files)
    rows, _, _ = ccx.select_rows(metadata.read_metadata(path), files)
    return (
        {name: found.get(now, now) for name, now in original.items()},
        {name: same[0].patient for name, same in rows.items()},
    )


def _read_open_names(path: Path) -> set[str]:
    """The file names whose rows of ccx's table have an open licence."""
    rows = tables.read_table(path, required=metadata.REQUIRED).rows if path.is_file() else ()
    licences: dict[str, set[str]] = {}
    for row in rows:
        licences.setdefault(row["filename"], set()).add(row.get("license", "").strip())
    return {
        name for name, given in licences.items() if all(OPEN_LICENCE.fullmatch(x) for x in given)
    }


def _folder(name: str) -> str:
    """kcx's folder of a file name."""
    return "NORMAL" if kcx_names.NORMAL.fullmatch(name) else "PNEUMONIA"


def _parse_kcx(name: str) -> kcx_names.Name | None:
    return kcx_names.parse(PurePath("train") / _folder(name) / name)


def _kcx_picture(path: Path | PurePath) -> Picture:
    name = kcx_names.parse(path)
    assert name is not None, path  # all files of the pool and all names that come here are kcx's
    return Picture(
        image=Path(path),
        patient_id=name.patient_id,
        strict_patient_id=name.strict_patient_id,
        label=name.label,
        finding=name.finding,
        view="AP",  # as in kcx
        age_group="paediatric",
        source="kcx",
    )
