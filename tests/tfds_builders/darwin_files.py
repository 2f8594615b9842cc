"""Hand-made Darwin JSON of both versions, for the tests of v7_darwin."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path


def square(left: float, top: float, right: float, bottom: float) -> list[dict[str, float]]:
    """A path whose filled region has (right - left + 1) x (bottom - top + 1) pixels: its corners
    belong to it.
    """
    corners = ((left, top), (right, top), (right, bottom), (left, bottom))
    return [{"x": x, "y": y} for x, y in corners]


def shape(name: str, *paths: list[dict[str, float]], version: int = 1) -> dict:
    """A drawn annotation of one path, or of several, which make holes."""
    if version == 2:
        return {"id": "0", "name": name, "slot_names": ["0"], "polygon": {"paths": list(paths)}}
    if len(paths) == 1:
        return {"name": name, "polygon": {"path": paths[0]}}
    return {"name": name, "complex_polygon": {"path": list(paths)}}


def document(
    key: str,
    name: str,
    *,
    shapes: Sequence[tuple] = (),
    tags: Sequence[str] = (),
    size: tuple[int, int] = (20, 16),
    version: int = 1,
) -> dict:
    """The JSON of image `key`, uploaded as `name`. shapes: (class, path, ...). size: width,
    height.
    """
    annotations = [shape(*one, version=version) for one in shapes] + [
        {"name": tag, "tag": {}} for tag in tags
    ]
    width, height = size
    if version == 2:
        source = {"file_name": name, "url": f"https://example.org/uploads/{key}"}
        slot = {
            "slot_name": "0",
            "type": "image",
            "width": width,
            "height": height,
            "source_files": [source],
        }
        item = {"name": name, "path": "/", "slots": [slot]}
        return {"version": "2.0", "item": item, "annotations": annotations}
    image = {
        "filename": f"{int(key):08}.jpg",
        "original_filename": name,
        "width": width,
        "height": height,
        "url": f"https://example.org/api/images/{key}/original",
    }
    return {"dataset": "test", "image": image, "annotations": annotations}


def write(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path
