"""Darwin JSON, the annotation file of an image, in versions 1 and 2.

Version 1, as in V7's repository: `image` {filename, original_filename, width, height, url} and
`annotations`, each with a name and `polygon` {path: [{x, y}, ...]}, `complex_polygon` {path: [[{x,
y}, ...], ...]} or `tag` {}; late exports have `additional_paths` beside `path`. Version 2
("version": "2.0"): `item` {name, slots: [{width, height, source_files: [{file_name, url}]}]} and
`polygon` {paths: [[{x, y}, ...], ...]}.
"""

from __future__ import annotations

import dataclasses
import json
import re
import reprlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tfds_builders import image_files

# Canonical names of the classes that are read; `structure` finds them under other spellings.
LUNG, IGNORE = "Lung", "Ignore"
_SIDES = frozenset({"left", "right", "l", "r", "lt", "rt", "both", "bilateral"})
MAX_BYTES = 16 << 20  # those of covid-only have 60 kB
FAR = 100_000  # pixels off the image: no slip of an annotator's hand goes that far
_IMAGE_URL = re.compile(r"/images/(\d+)(/|$)")
_KINDS = {dict: "an object", list: "a list", str: "a text", int: "a whole number"}


@dataclasses.dataclass(frozen=True)
class Shape:
    """A drawn region: its class, and closed paths [n, 2] of float64 (x, y), in pixels.

    The paths are filled together by the even-odd rule. (0, 0) is the centre of the first pixel, in
    the image size of the annotation.
    """

    name: str
    paths: tuple[np.ndarray, ...]


@dataclasses.dataclass(frozen=True)
class Annotation:
    """The annotation of one image.

    Attributes:
        path: the JSON file.
        key: Darwin's number of the image, which also names the semantic mask; the file's stem if
            no address contains it.
        names: file names of the image, the one of its upload first.
        width, height: in pixels.
        tags: of the image.
        shapes: in the order in which they are painted.
        others: names of drawn classes that are not read, one per shape.
    """

    path: Path
    key: str
    names: tuple[str, ...]
    width: int
    height: int
    tags: tuple[str, ...]
    shapes: tuple[Shape, ...]
    others: tuple[str, ...]

    @property
    def has_lungs(self) -> bool:
        return any(shape.name == LUNG for shape in self.shapes)

    @property
    def unclear(self) -> tuple[str, ...]:
        """Classes that are not read although they may be lungs, or regions to ignore."""
        return tuple(
            name
            for name in dict.fromkeys(self.others)
            if "lung" in name.casefold() or "ignor" in name.casefold()
        )


def structure(name: str) -> str | None:
    """'Lung' or 'Ignore' for a class of that name in any case, plural or side, else None."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)  # LeftLung
    words = [word for word in re.split(r"[\W\d_]+", spaced.casefold()) if word]
    rest = [word.removesuffix("s") for word in words if word not in _SIDES]
    return {("lung",): LUNG, ("ignore",): IGNORE}.get(tuple(rest))


def same_content(first: Annotation, other: Annotation) -> bool:
    """Returns whether two files have the same annotation of one image."""

    def said(annotation: Annotation) -> tuple:
        shapes = [
            (shape.name, [path.tolist() for path in shape.paths]) for shape in annotation.shapes
        ]
        return (
            annotation.names,
            annotation.width,
            annotation.height,
            sorted(annotation.tags),
            sorted(annotation.others),
            shapes,
        )

    return said(first) == said(other)


def read(path: Path) -> Annotation:
    """Parses a file of either version.

    Raises:
        ValueError: no JSON, another version, or a field that is missing or makes no sense; names
            file and field.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"{path.stat().st_size} bytes, more than the allowed {MAX_BYTES}")
        data = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not JSON ({error})") from error
    if not isinstance(data, dict):
        raise ValueError(f"{path}: holds no object but {reprlib.repr(data)}")
    version = str(data.get("version", "1"))
    if version.partition(".")[0] not in ("1", "2"):
        raise ValueError(
            f"{path}: version is {reprlib.repr(version)}: only 1 and 2 of Darwin JSON are read"
        )
    if version.startswith("2"):
        names, url, size, at = _item(path, _get(data, "item", dict, path, ""))
    else:
        image = _get(data, "image", dict, path, "")
        texts = [
            _get(image, field, str, path, "image.", "")
            for field in ("original_filename", "filename", "url")
        ]
        names, url, size, at = texts[:2], texts[2], image, "image."
    width, height = (_get(size, field, int, path, at) for field in ("width", "height"))
    if min(width, height) < 1 or width * height > image_files.MAX_PIXELS:
        raise ValueError(
            f"{path}: {at}width and {at}height are {width} and {height}: no image of 1 to "
            f"{image_files.MAX_PIXELS} pixels"
        )
    tags, shapes, others = [], [], []
    for number, record in enumerate(_get(data, "annotations", list, path, "")):
        at = f"annotations[{number}]"
        name = _get(record, "name", str, path, f"{at}.").strip()
        if "tag" in record:
            tags.append(name)
        elif (found := structure(name)) is not None:
            shapes.append(Shape(name=found, paths=tuple(_paths(record, path, at))))
        else:
            others.append(name)
    numbered = _IMAGE_URL.search(url)
    return Annotation(
        path=path,
        key=numbered[1] if numbered else path.stem,
        names=tuple(dict.fromkeys(name for name in names if name)),
        width=width,
        height=height,
        tags=tuple(tags),
        shapes=tuple(shapes),
        others=tuple(others),
    )


def _item(path: Path, item: dict) -> tuple[list[str], str, dict, str]:
    """Version 2: names, address, the object that has width and height, and where that is."""
    slots = _get(item, "slots", list, path, "item.")
    if len(slots) != 1:
        raise ValueError(f"{path}: item.slots has {len(slots)} entries: an X-ray has one")
    at = "item.slots[0]."
    names, url = [_get(item, "name", str, path, "item.")], ""
    for number, file in enumerate(_get(slots[0], "source_files", list, path, at, [])):
        where = f"{at}source_files[{number}]."
        names.append(_get(file, "file_name", str, path, where, ""))
        url = url or _get(file, "url", str, path, where, "")
    return names, url, slots[0], at


def _get(record: Any, field: str, kind: type, path: Path, at: str, default: Any = None) -> Any:
    """`record[field]`, checked to be of `kind`; `default` (None: required) if it is absent."""
    value = record.get(field) if isinstance(record, dict) else None
    value = default if value is None else value
    if isinstance(value, float) and kind is int and value.is_integer():
        value = int(value)  # some exports write 1024.0
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"{path}: {at}{field} is {reprlib.repr(value)}: must be {_KINDS[kind]}")
    return value


def _paths(record: dict, path: Path, at: str) -> Iterator[np.ndarray]:
    """The closed paths of a drawn annotation, whichever of the forms it has."""
    form = next((form for form in ("complex_polygon", "polygon") if form in record), None)
    if form is None:
        raise ValueError(
            f"{path}: {at} is a {record['name']} without polygon or complex_polygon; it has "
            f"{', '.join(record)}"
        )
    polygon = _get(record, form, dict, path, f"{at}.")
    at = f"{at}.{form}"
    if "paths" in polygon:
        paths = _get(polygon, "paths", list, path, f"{at}.")
    else:
        first = _get(polygon, "path", list, path, f"{at}.")
        # A complex polygon's path is a list of paths, except in late version 1, which has further
        # paths beside it.
        several = bool(first) and isinstance(first[0], list)
        paths = (first if several else [first]) + _get(
            polygon, "additional_paths", list, path, f"{at}.", []
        )
    for number, points in enumerate(paths):
        yield _points(points, path, f"{at}, path {number}")


def _points(points: Any, path: Path, at: str) -> np.ndarray:
    """[{x, y}, ...] -> [n, 2] float64."""
    if not isinstance(points, list) or not points:
        raise ValueError(f"{path}: {at} is {reprlib.repr(points)}: must be a list of points")
    for number, point in enumerate(points):
        for axis in ("x", "y"):
            value = point.get(axis) if isinstance(point, dict) else None
            if not _is_pixel(value):
                problem = f"must be a number of pixels, {FAR} at most"
                raise ValueError(
                    f"{path}: {at}, point {number}: {axis} is {reprlib.repr(value)}: {problem}"
                )
    return np.array([(point["x"], point["y"]) for point in points], np.float64)


def _is_pixel(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and abs(value) <= FAR  # not so for NaN
