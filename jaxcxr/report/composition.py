"""Class by source, view and split: Patched FLANNEL's Table 2, of a run or a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxcxr.report import document, tables
from jaxcxr.report.document import Report

_HEADING = "### Images and patients by class, source, view and split"
_SPLITS = {
    "train": "Training",
    "valid": "Validation",
    "oof": "Out-of-fold",
    "test": "Test",
    "cross_validation": "Cross-validation",
}
_UNKNOWN = "unknown"
_ABSENT = (
    "Images and patients by class, source, view and split: {where} has no composition of the "
    "splits, which every new training writes (of a hierarchy, the trainings of its levels do)."
)


def add_run(report: Report, manifest: Mapping[str, Any] | None) -> None:
    """Section of one run.

    Args:
        report: gets it, and as the fact "composition" what the manifest has (see
            `training.composition.composition`), None where it has none.
        manifest: the run's.
    """
    found = report.facts["composition"] = _of(manifest)
    if found is None:
        report.left_out.append(_ABSENT.format(where="manifest.json"))
        return
    splits = found["splits"]
    # Of an ensemble the validation images are the out-of-fold images.
    names = [s for s in ("train", "valid", "oof", "test") if splits.get(s, _EMPTY)["all"]["images"]]
    report.add(_HEADING)
    _table_2(report, found, {_SPLITS[name]: splits[name] for name in names})
    _crossed(report, {_SPLITS[name]: splits[name] for name in names})


def add_study(report: Report, folders: Sequence[Path]) -> None:
    """Section of a study: images of the cross-validation and of the test, then of each fold.

    Args:
        report: gets it, and as the fact "composition" that of each fold, by the folder's name.
        folders: of one learner's folds; all learners have the same splits.
    """
    manifests = {path.name: document.read_json(path / "manifest.json") for path in folders}
    found = {name: facts for name, m in manifests.items() if (facts := _of(m)) is not None}
    report.facts["composition"] = found or None
    if absent := [f"{folders[0].parent.name}/{name}" for name in manifests.keys() - found.keys()]:
        report.left_out.append(
            _ABSENT.format(where=f"manifest.json of {', '.join(sorted(absent))}")
        )
    if not found:
        return
    first = next(iter(found.values()))
    whole = {
        _SPLITS[name]: first["splits"][name]
        for name in ("cross_validation", "test")
        if first["splits"].get(name, _EMPTY)["all"]["images"]
    }
    report.add(_HEADING)
    _table_2(report, first, whole)
    _crossed(report, whole)
    rows = [
        [name, _SPLITS[split], *_cells(facts["splits"][split]["all"])]
        for name, facts in found.items()
        for split in ("train", "valid", "oof")
        if facts["splits"].get(split, _EMPTY)["all"]["images"]
    ]
    report.add("Images (patients) of each fold; its test images are those above.")
    report.table(["Fold", "Split", "All", *_classes(first)], rows)


_EMPTY: Mapping[str, Any] = {"all": {"images": 0}}


def _of(manifest: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    found = (manifest or {}).get("split", {}).get("composition", {})
    return found if "all" in found.get("splits", {}) else None


def _classes(found: Mapping[str, Any]) -> list[str]:
    return [tables.class_title(name) for name in found["splits"]["all"]["all"]["classes"]]


def _table_2(
    report: Report, found: Mapping[str, Any], splits: Mapping[str, Mapping[str, Any]]
) -> None:
    """The paper's table: each of source, view and split alone."""
    whole = found["splits"]["all"]
    rows = _named("Source", whole["source"])
    has_views = any(whole["view"].keys() - {""})
    if has_views:
        rows += _named("View", whole["view"])
    else:
        rows.append(["View", "not recorded", *_cells(whole["all"])])
    rows += _named("Split", {name: split["all"] for name, split in splits.items()})
    rows.append(["Total", "", *_cells(whole["all"])])
    report.add(
        "Images, in brackets patients, as in Patched FLANNEL's Table 2. A patient counts once in "
        "each number, so that numbers of patients do not add up."
    )
    report.table(["", "", "All", *_classes(found)], rows)
    if not found.get("views"):
        report.add(
            "View: not recorded, as an ensemble reads predictions, which do not have it; its "
            "learners' reports do."
        )
    elif not has_views:
        report.add("View: the data set records none.")


def _named(what: str, rows: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    """Rows of a part of the table, the unknown group last; the part's name stands once."""
    names = sorted(rows, key=lambda name: not name) if what != "Split" else list(rows)
    return [
        [what if n == 0 else "", name or _UNKNOWN, *_cells(rows[name])]
        for n, name in enumerate(names)
    ]


def _crossed(report: Report, splits: Mapping[str, Mapping[str, Any]]) -> None:
    """Each source and view within each split."""
    first = next(iter(splits.values()), None)
    if first is None:
        return
    rows = [
        [split, source or _UNKNOWN, view or _UNKNOWN, *_cells(row)]
        for split, facts in splits.items()
        for source, views in facts["source_view"].items()
        for view, row in sorted(views.items(), key=lambda item: not item[0])
    ]
    classes = [tables.class_title(name) for name in first["all"]["classes"]]
    report.add("Each source and view within each split:")
    report.table(["Split", "Source", "View", "All", *classes], rows)


def _cells(row: Mapping[str, Any]) -> list[str]:
    """'1,288 (640)' of all, then of each class; 0 where there is none."""
    return [
        f"{of['images']:,} ({of['patients']:,})" if of["images"] else "0"
        for of in (row, *row["classes"].values())
    ]
