"""Keeps what a study's tables are computed from: `python -m docs.results.keep RUN_FOLDER`.

Predictions, losses, times and settings of every network go to docs/results/studies/NAME; weights,
pictures and reports do not, and neither does the place of anything on the machine that ran it. The
folder kept reads like the study's own: `study.beside` and `study.learners_of` take it.
"""

import argparse
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jaxcxr.storage.run_files import (
    CONFIG,
    FINISHED,
    MANIFEST,
    PRETRAINED,
    SEALED,
    STAGES,
    TIMINGS,
    TRAINING,
)

STUDIES = Path(__file__).parent / "studies"
KEPT = (CONFIG, FINISHED, MANIFEST, PRETRAINED, STAGES, TIMINGS, TRAINING, "metrics.jsonl",
        "predictions.npz", "biomarkers.csv", "lungs_*.json")  # fmt: skip
_DATA = {"manual_dir": "DATA_DIR", "data_dir": "PREPARED_DIR"}
_PACKAGES = re.compile(r"^.*/site-packages/")
_PLACE = re.compile(r"""["' =(,](/[^"/,\s]+/[^"',\s]*)""")  # a whole path


def keep(study: Path, target: Path) -> None:
    """Copies a study, its paths told as the documentation tells them; what was kept before goes.

    Raises:
        ValueError: a path of this machine would be kept.
    """
    config = json.loads((study / CONFIG).read_text())
    own = f"runs/{config['name']}"
    places = {str(study.resolve()): own, config["workdir"]: own, **dict(_data_places(config))}
    for other in (*config["study"].get("learners_of", ()), *config["study"].get("beside", ())):
        places[other] = f"runs/{json.loads((Path(other) / CONFIG).read_text())['name']}"
    runs = [study, *sorted(p.parent for p in study.glob("[lesb]*/**/predictions.npz"))]
    runs += [path.parent for path in study.glob("biomarkers/biomarkers.csv")]
    shutil.rmtree(target, ignore_errors=True)
    for run in (run for run in runs if ".old-" not in str(run.relative_to(study))):
        for path in sorted(file for name in KEPT for file in run.glob(name)):
            copy = target / path.relative_to(study)
            copy.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".npz":
                shutil.copyfile(path, copy)
                continue
            text = path.read_text()
            if path.suffix == ".json":
                value = json.loads(text)
                if path.name == FINISHED:
                    value.pop(SEALED, None)  # checksums.json also covers what is not kept
                told = _told(value, places)
                text = json.dumps(told, separators=(",", ":")) + "\n"
            if found := _PLACE.search(text):
                raise ValueError(f"{path} names {found[1]}, a place of this machine")
            copy.write_text(text)


def _told(value: Any, places: Mapping[str, str]) -> Any:
    """A JSON value with other words for the places in its texts, and in keys that are paths."""
    if isinstance(value, dict):
        told = {key: _told(key, places) if key.startswith("/") else key for key in value}
        return {told[key]: _told(part, places) for key, part in value.items()}
    if isinstance(value, list):
        return [_told(part, places) for part in value]
    if not isinstance(value, str):
        return value
    for place in sorted(filter(None, places), key=len, reverse=True):
        # The whole path, or one that goes on below it; not a part of another name.
        whole = re.compile(rf"(?<![\w./-]){re.escape(place)}(?![\w.-])")
        value = places[place].join(whole.split(value))
    return _PACKAGES.sub("", value)


def _data_places(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(folder of data, what the documentation calls it) of all sections of a config."""
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _data_places(value)
        elif name in _DATA and value:
            yield value, _DATA[name]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", type=Path)
    chosen = parser.parse_args().study
    keep(chosen, STUDIES / chosen.name)
    print(f"kept in {STUDIES / chosen.name}")
