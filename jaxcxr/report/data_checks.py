"""Checks of the data: what a run's manifest says of copies, leaks and what tells classes apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from jaxcxr.audit import acquisition, copies
from jaxcxr.report import plots
from jaxcxr.report.document import Report
from jaxcxr.report.tables import class_title

COPIES = "plots/copies.png"
SHOWN = 12  # pairs of the figure
_SIDE = 160  # pixels of an X-ray there
_ABSENT = (
    "Checks of the data (copies, leaks, what tells the classes apart): {where} has none, which "
    "every new training writes; `--config.run=check_data` makes them without training."
)


def of_manifest(manifest: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The findings in a run's manifest; None where it has none."""
    return (manifest or {}).get("data_checks")


def add_section(
    report: Report, manifest: Mapping[str, Any] | None, *, pictures: Path | None
) -> None:
    """A section with `add`'s findings, in the report of a training or a study."""
    if of_manifest(manifest) is not None:
        report.add("### Checks of the data")
    add(report, manifest, pictures=pictures, every_pair=False)


def add(
    report: Report,
    manifest: Mapping[str, Any] | None,
    *,
    pictures: Path | None,
    every_pair: bool = True,
) -> None:
    """The findings.

    Args:
        report: gets it, and the findings as the fact "data_checks".
        manifest: the run's.
        pictures: folder of the run whose `plots/copies.png` is shown, the report's own or one
            below it; None: it is not.
        every_pair: also lists those of one patient, class and split, which harm no result.
    """
    found = report.facts["data_checks"] = of_manifest(manifest)
    if found is None:
        report.left_out.append(_ABSENT.format(where="manifest.json"))
        return
    report.add("\n".join(f"- {line}" for line in _sentences(found)))
    listed = shown_pairs(found, every_pair=every_pair, most=copies.LISTED)
    if listed:
        report.table(
            ["Pair", "First", "Second", "Classes", "Splits", "Similarity"],
            [_row(n, pair) for n, pair in enumerate(listed, start=1)],
        )
        more = found["copies"]["pairs"] - len(listed)
        report.add(
            "Copies are found by their pixels whatever their size, compression, grey levels or "
            "borders; similarity: correlation of fine structures after alignment."
            + f" {more:,} further pairs are not listed: most or all are of one patient each."
            * (more > 0)
        )
        if pictures is not None and (pictures / COPIES).exists():
            shown = (pictures / COPIES).relative_to(report.folder).as_posix()
            report.add(f"![Pairs of images that are one X-ray]({shown})")
    if found["acquisition"]:
        report.add("What tells the class without a look at the lungs:")
        report.table(*_told_rows(found["acquisition"]))
        report.add(
            "Areas under the ROC curves of a logistic regression (categories) or a small tree "
            "(numbers) of this alone, on patients that it was not fitted on; 0.5 is chance. In "
            "brackets: 95 % interval, bootstrap over patients. A disease can change the histogram, "
            "the sharpness and the bytes per pixel, too."
        )


def warnings(found: Mapping[str, Any] | None) -> list[str]:
    """What a reader of any score must know first; nothing where nothing was looked at."""
    if found is None:
        return []
    texts = []
    for splits, patients in found["patients_in_two_splits"].items():
        texts.append(
            f"Leak: {len(patients):,} patients have images in more than one split ({splits}): "
            f"{_few(patients)}. Scores on these are of patients that were trained on."
        )
    copied = found["copies"]
    if parted := copied["of_two_splits"]:
        texts.append(
            f"Leak: {parted:,} pairs of images are one X-ray and lie in two splits "
            f"({_few(_pairs(copied, 'split'))}). --config.split.duplicates=together keeps them in "
            "one."
        )
    if contradicting := copied["of_two_classes"]:
        texts.append(
            f"{contradicting:,} pairs of images are one X-ray and have two classes "
            f"({_few(_pairs(copied, 'class'))}): one label is wrong."
        )
    if told := acquisition.told(found["acquisition"]):
        rows = {acquisition.TITLES[name]: found["acquisition"][name] for name in told}
        areas = ", ".join(
            f"{class_title(row['class'])} from {title} {row['class_roc_auc']:.2f}"
            for title, row in rows.items()
        )
        texts.append(
            "A class can be told without a look at the lungs, on patients held out (ROC-AUC, 0.50 "
            f"is chance): {areas}. A network may have learned that instead of the disease."
        )
    return texts


def lines(found: Mapping[str, Any]) -> list[str]:
    """The findings for the terminal, in a few lines."""
    copied = found["copies"]
    text = f"{found['images']:,} images of {found['patients']:,} patients: "
    if not copied["pairs"]:
        return [text + "no copies of an X-ray under another id"]
    counts = [
        f"{copied[f'of_two_{name}']:,} of two {name}"
        for name in copies.OF_TWO
        if copied[f"of_two_{name}"]
    ]
    if alone := copied["pairs"] - copied["of_two_patients"]:
        counts.append(f"{alone:,} of one patient each")
    are = "pair of images is" if copied["pairs"] == 1 else "pairs of images are"
    apart = [p for p in copied["listed"] if p["first"]["patient"] != p["second"]["patient"]]
    return [
        f"{text}{copied['pairs']:,} {are} one X-ray ({', '.join(counts)})",
        *(f"  {_pair(pair)}" for pair in apart[:3]),
    ]


def _pair(pair: Mapping[str, Any]) -> str:
    first, second = pair["first"], pair["second"]
    return (
        f"{first['id']} (patient {first['patient']}) and {second['id']} (patient "
        f"{second['patient']}), similarity {pair['similarity']:.2f}"
    )


def _pairs(copied: Mapping[str, Any], field: str) -> list[str]:
    return [
        f"{pair['first']['id']} ({_value(pair['first'], field)}) and "
        f"{pair['second']['id']} ({_value(pair['second'], field)})"
        for pair in copied["listed"]
        if pair["first"][field] and pair["second"][field]
        if pair["first"][field] != pair["second"][field]
    ]


def _value(image: Mapping[str, str], field: str) -> str:
    return class_title(image[field]) if field == "class" else image[field]


def _few(texts: Sequence[str]) -> str:
    return ", ".join(texts[:3]) + ", ..." * (len(texts) > 3)


def figure(images: Sequence[tuple[np.ndarray, np.ndarray]]) -> plots.Figure:
    """Pairs of X-rays [H, W] side by side, numbered as in the table, for a person to look at."""
    rows = {
        f"Pair {n}": np.stack([_small(image) for image in both])
        for n, both in enumerate(images, start=1)
    }
    return plots.class_samples(rows, title="Pairs of images that are one X-ray")


def shown_pairs(
    found: Mapping[str, Any], *, every_pair: bool, most: int = SHOWN
) -> list[Mapping[str, Any]]:
    """The pairs to show, the worst first; `every_pair`: see `add`."""
    listed = found["copies"]["listed"]
    kept = listed if every_pair else [pair for pair in listed if copies.is_of_two(pair)]
    return list(kept[:most])


def _small(pixels: np.ndarray) -> np.ndarray:
    """[_SIDE, _SIDE] in [0, 1], from the darkest to the brightest pixel."""
    small = cv2.resize(pixels.astype(np.float32), (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    low, high = float(small.min()), float(small.max())
    return (small - low) / max(high - low, 1e-6)


def _sentences(found: Mapping[str, Any]) -> list[str]:
    parted = found["patients_in_two_splits"]
    patients = sum(len(names) for names in parted.values())
    of_patients = (
        f"{patients:,} patients have images in more than one split."
        if patients
        else "No patient has images in more than one split."
    )
    return [*(f"{line.strip()}." for line in lines(found)[:1]), of_patients]


def _row(number: int, pair: Mapping[str, Any]) -> list[str]:
    first, second = pair["first"], pair["second"]

    def both(field: str) -> str:
        values = dict.fromkeys(_value(image, field) for image in (first, second))
        return ", ".join(value for value in values if value) or "none"

    kind = "".join(f", {name}" for name in ("inverted", "mirrored") if pair[name])
    return [
        str(number),
        f"{first['id']} ({first['patient']})",
        f"{second['id']} ({second['patient']})",
        both("class"),
        both("split"),
        f"{pair['similarity']:.2f}{kind}",
    ]


def _told_rows(found: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    known = sorted(found.items(), key=lambda item: -(item[1]["class_roc_auc"] or 0))
    rows = [
        [
            acquisition.TITLES[name],
            *_areas(row),
            f"{row['images']:,}",
        ]
        for name, row in known
    ]
    return ["Told from", "Class told best", "ROC-AUC", "Mean of the classes", "Images"], rows


def _areas(row: Mapping[str, Any]) -> list[str]:
    if row["roc_auc"] is None:
        return ["none", "not defined", "not defined"]
    low, high = row["interval"]
    area = f"{row['class_roc_auc']:.2f} ({low:.2f} to {high:.2f})"
    return [class_title(row["class"]), area, f"{row['roc_auc']:.2f}"]
