"""Excluded images: those of the data set that the run does not use, by reason.

CLAIM 2024, items on exclusion criteria.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxcxr.report import document
from jaxcxr.report.document import Report
from jaxcxr.storage.run_files import MANIFEST


def add_excluded(report: Report, folder: Path) -> None:
    """A section of reasons, numbers and names from `dataset.dropped` of a run's manifest.json."""
    manifest = document.read_json(folder / MANIFEST) or {}
    dataset: Mapping[str, Any] = manifest.get("dataset", {})
    notices = [*dataset.get("notices", ()), *manifest.get("masks", {}).get("doubts", ())]
    dropped = dataset.get("dropped")
    if dropped is None:
        report.left_out.append("Excluded images (manifest.json does not list them).")
        return
    report.facts["excluded_images"] = dropped
    report.facts["data_notices"] = notices
    report.add("## Excluded images")
    order = sorted(dropped.items(), key=lambda item: (not item[1]["is_fault"], -item[1]["count"]))
    if order:
        rows = [
            [
                reason,
                "unusable" if entry["is_fault"] else "outside the study",
                f"{entry['count']:,}",
                ", ".join(entry["names"])
                + (", ..." if entry["count"] > len(entry["names"]) > 0 else ""),
            ]
            for reason, entry in order
        ]
        report.table(["Reason", "Kind", "Images", "Examples"], rows)
    else:
        report.add("None: every image of the data set is used.")
    if notices:
        report.add("\n".join(f"- Note: {notice}" for notice in notices))


def add_counts(report: Report, left_out: Mapping[str, int]) -> None:
    """A section of reasons and numbers, of an external test set."""
    report.add("## Excluded images", counts(left_out)[0])
    if left_out:
        report.table(["Reason", "Images"], [[reason, f"{n:,}"] for reason, n in left_out.items()])


def counts(left_out: Mapping[str, int]) -> list[str]:
    """The same as lines for the terminal."""
    total = sum(left_out.values())
    first = f"{total:,} images were excluded{':' if total else '.'}"
    return [first, *(f"  {n:>6,}  {reason}" for reason, n in left_out.items())]
