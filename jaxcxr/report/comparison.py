"""Comparison of two runs on the same test images: paired tests and intervals."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from jaxcxr import schema
from jaxcxr.errors import InputError
from jaxcxr.metrics import intervals, paired
from jaxcxr.metrics.by_rows import OF_A_CLASS, BootstrapScores
from jaxcxr.report import document, plots, run_warnings, score_rows, tables
from jaxcxr.report.document import NOTICE, Report
from jaxcxr.storage import files, provenance, run_identity
from jaxcxr.storage.predictions import Predictions, check_same_split
from jaxcxr.storage.run_files import CONFIG

FOLDER = "compare"
SPLIT = "test"
LEVEL = 0.05  # of a corrected p, below which a difference is significant
_HOW = (
    "Differences are A − B. Intervals: paired bootstrap over patients, 95 %. p: exact McNemar "
    "test, on images, and over patients with each patient's images exchanged together, since "
    "these are correlated; the latter decides. Holm: p of the classes, corrected for multiple "
    "tests; the intervals are not corrected."
)
_ONE_TRAINING = (
    "This compares two trained networks. The effect of their settings, beyond the chance of one "
    "seed, can be judged only from trainings with several seeds (--config.seed)."
)


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Two runs A and B on N test images.

    Attributes:
        folders, names: of A and of B.
        predictions: of the test images, in the same order.
        scores: name, see `BootstrapScores` -> (A, B, low, high), the last two of the interval
            of A − B; NaN: undefined.
        errors: '' for all images, then each class that has images -> the errors of the two.
        corrected: of each of these, p over patients; that of the classes after Holm.
    """

    folders: tuple[Path, Path]
    names: tuple[str, str]
    predictions: tuple[Predictions, Predictions]
    scores: Mapping[str, tuple[float, float, float, float]]
    errors: Mapping[str, paired.Errors]
    corrected: Mapping[str, float]

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes [C], the same of both runs."""
        return self.predictions[0].classes

    @property
    def smallest(self) -> tuple[str, ...]:
        """The minority class: the one with the fewest test images, of those that have any.

        Or several.
        """
        images = {name: e.images for name, e in self.errors.items() if name}
        return tuple(name for name, count in images.items() if count == min(images.values()))

    @property
    def counterpart(self) -> Mapping[str, str]:
        """Name of the score that is the proportion correct, for each entry of `errors`."""
        return {"": "accuracy"} | {name: f"recall/{c}" for c, name in enumerate(self.classes)}


def compare(first: Path | str, second: Path | str, *, draws: int = 2000) -> Comparison:
    """Reads the predictions.npz of two runs and compares them on the test images.

    Raises:
        InputError: a file is missing, or the two are not of the same test images, labels and split.
    """
    folders = (Path(first), Path(second))
    if folders[0].resolve() == folders[1].resolve():
        raise InputError(
            f"{first} is compared with itself: name another run folder, --config.compare.other=RUN"
        )
    a, b = (document.read_predictions(folder).select(SPLIT) for folder in folders)
    check_same_split([a, b], splits=(SPLIT,))
    if a.fold != b.fold:
        raise InputError(
            f"{a.name} is of fold {a.fold}, {b.name} of fold {b.fold}: they were trained on other "
            "patients. Compare runs of the same fold"
        )
    of_a, of_b = (BootstrapScores(p.labels, p.probabilities) for p in (a, b))
    ends = intervals.bootstrap(
        lambda counts: of_a(counts) - of_b(counts), a.patient_ids, draws=draws
    )
    columns = (of_a.of_all().values(), of_b.of_all().values(), *ends.tolist())
    overall = paired.errors(of_a.wrong, of_b.wrong, a.patient_ids)
    of_classes = {}
    for c, name in enumerate(a.classes):
        if (inside := a.labels == c).any():
            of_classes[name] = paired.errors(
                of_a.wrong[inside], of_b.wrong[inside], a.patient_ids[inside]
            )
    corrected = paired.holm([e.p_patients for e in of_classes.values()]).tolist()
    return Comparison(
        folders=folders,
        names=_names(*folders),
        predictions=(a, b),
        scores=dict(zip(of_a.names, zip(*columns, strict=True), strict=True)),
        errors={"": overall, **of_classes},
        corrected={"": overall.p_patients, **dict(zip(of_classes, corrected, strict=True))},
    )


def write_comparison(comparison: Comparison, folder: Path | str) -> str:
    """Writes compare.json, compare.md and plots/compare.png into a folder.

    Returns:
        the tables for the terminal and the verdicts.
    """
    report = Report(Path(folder), _facts(comparison))
    warned = {text: None for path in comparison.folders for text in run_warnings.of_run(path)}
    report.open(f"{comparison.names[0]} against {comparison.names[1]}", list(warned))
    all_images = comparison.errors[""]
    legend = [
        f"{letter}  {folder}" for letter, folder in zip("AB", comparison.folders, strict=True)
    ]
    where = f"{all_images.images:,} test images of {all_images.patients:,} patients"
    sentences = [*_equality(comparison), *verdicts(comparison)]
    report.add("\n".join(f"- {line}" for line in legend), "## Result", f"On {where}.")
    report.add("\n".join(f"- {line}" for line in sentences), _ONE_TRAINING)
    scores, counts = _scores_rows(comparison), _errors_rows(comparison)
    report.table(*scores)
    report.add("### Errors")
    report.table(*counts)
    report.add(_HOW)
    report.figure(FOLDER, draw(comparison), "Errors and differences with their intervals")
    _add_differing_fields(report, comparison)
    files.write_json(report.folder / "compare.json", report.facts)
    files.write_text(report.folder / "compare.md", "\n\n".join(report.blocks) + "\n")
    table = [tables.text_table(*_main_scores(comparison, scores)), "", tables.text_table(*counts)]
    end = [*sentences, _ONE_TRAINING, *(f"Warning. {text}" for text in warned)]
    return "\n".join([f"A against B: {where}", *legend, "", *table, "", *end])


def verdicts(comparison: Comparison) -> list[str]:
    """One sentence for all images, one for the minority class, one per further difference.

    The last are by class.
    """
    further = [name for name, p in comparison.corrected.items() if name and p < LEVEL]
    return [
        _verdict(comparison, name) for name in dict.fromkeys(("", *comparison.smallest, *further))
    ]


def _equality(comparison: Comparison) -> list[str]:
    a, b = (p.probabilities for p in comparison.predictions)
    return ["The probabilities of A and B are equal bit for bit."] if np.array_equal(a, b) else []


def _verdict(comparison: Comparison, name: str) -> str:
    e, p = comparison.errors[name], comparison.corrected[name]
    title = tables.class_title(name) if name else "All images"
    if (name,) == comparison.smallest:
        title += " (the minority class)"
    if not e.only_first + e.only_second:
        return (
            f"{title}: no statistically significant difference: A and B misclassify the same "
            f"{e.first} of {e.images} images."
        )
    after = f", after Holm {score_rows.p_value(p)}" if name else ""
    counts = (
        f"A misclassifies {e.first} of {e.images} images, B {e.second}; A alone {e.only_first}, "
        f"B alone {e.only_second} (p = "
        f"{score_rows.p_value(e.p_patients)}{after})."
    )
    _, _, low, high = comparison.scores[comparison.counterpart[name]]
    score = "recall" if name else "accuracy"
    ends = (
        "not available"  # of one patient
        if math.isnan(low) or math.isnan(high)
        else f"{100 * low:+.1f} to {100 * high:+.1f} percentage points"
    )
    fits = f"95 % interval of A − B in {score}: {ends}."
    if p < LEVEL:
        fewer = "A" if e.first < e.second else "B"
        return (
            f"{title}: statistically significant difference: {fewer} misclassifies fewer images. "
            f"{counts} {fits}"
        )
    verdict = f"{title}: no statistically significant difference: {counts} {fits}"
    if e.least_p >= LEVEL:
        patients = f"{e.deciding} patient{'s'[: e.deciding != 1]} on whom A and B differ"
        verdict += (
            f" With {patients} no outcome could be significant (smallest possible p "
            f"{score_rows.p_value(e.least_p)})."
        )
    return verdict


def draw(comparison: Comparison) -> Figure:
    """Figure of the errors per class (both, only A, only B) and of A − B with its intervals."""
    rows = list(comparison.errors)
    shown = (
        [comparison.counterpart[name] for name in rows]
        + ["macro_f1"]
        + score_rows.area(comparison.classes)
    )
    figure = plots.canvas(10.4, 1.5 + 0.42 * max(len(rows), len(shown)))
    figure.suptitle(
        f"A: {comparison.names[0]}   B: {comparison.names[1]}   ({NOTICE})",
        fontsize=10,
        color=plots.INK,
    )
    left, right = figure.subplots(1, 2)
    for axes in (left, right):
        plots.tidy(axes)
        axes.tick_params(axis="y", length=0)
    parts = {"both": [], "only A": [], "only B": []}
    for e in comparison.errors.values():
        for part, count in zip(
            parts, (e.first - e.only_first, e.only_first, e.only_second), strict=True
        ):
            parts[part].append(count)
    start = np.zeros(len(rows))
    for (part, counts), colour in zip(
        parts.items(), (plots.RULE, plots.ORANGE, plots.BLUE), strict=True
    ):
        bars = left.barh(
            range(len(rows)), counts, left=start, color=colour, label=part, height=0.66
        )
        left.bar_label(
            bars,
            [str(n) if n else "" for n in counts],
            label_type="center",
            fontsize=8,
            color="white" if colour == plots.BLUE else plots.INK,
        )
        start += counts
    titles = [
        f"{tables.class_title(n) if n else 'All'} (n = {comparison.errors[n].images:,})"
        for n in rows
    ]
    left.set_yticks(range(len(rows)), titles)
    left.set_xlabel("Misclassified test images")
    left.xaxis.get_major_locator().set_params(integer=True)
    left.legend(frameon=False, fontsize=8, labelcolor=plots.INK)
    for position, name in enumerate(shown):
        a, b, low, high = comparison.scores[name]
        if not math.isnan(a - b + low + high):
            right.plot(
                [100 * low, 100 * high], [position, position], color=plots.BLUE, linewidth=1.6
            )
            right.plot(100 * (a - b), position, "o", color=plots.BLUE, markersize=5)
    right.axvline(0, color=plots.MUTED, linewidth=1)
    right.set_yticks(
        range(len(shown)), [score_rows.title(name, comparison.classes) for name in shown]
    )
    right.set_ylim(-0.6, len(shown) - 0.4)
    right.set_xlabel("A − B, percentage points, 95 % interval")
    for axes in (left, right):
        axes.invert_yaxis()
    return figure


def _names(first: Path, second: Path) -> tuple[str, str]:
    """Names of the two runs: their paths from the folder that holds both."""
    paths = [first.resolve(), second.resolve()]
    shared = os.path.commonpath([path.parent for path in paths])
    a, b = (path.relative_to(shared).as_posix() for path in paths)
    return a, b


def _scores_rows(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """Every score of both."""
    rows = []
    for name in score_rows.order(list(comparison.scores), comparison.classes):
        a, b, low, high = comparison.scores[name]
        change = "–" if math.isnan(a - b) else f"{a - b:+.4f}"
        numbers = [score_rows.number(a), score_rows.number(b), change]
        title = score_rows.title(name, comparison.classes)
        rows.append([title, *numbers, score_rows.interval(low, high, sign="+")])
    return ["Score", "A", "B", "A − B", "95 % interval"], rows


def _main_scores(
    comparison: Comparison, rows: tuple[list[str], list[list[str]]]
) -> tuple[list[str], list[list[str]]]:
    """Those that stand first, and recall."""
    names = [n for n in comparison.scores if not n.startswith(("precision", "f1"))]
    titles = {score_rows.title(n, comparison.classes) for n in names}
    return rows[0], [row for row in rows[1] if row[0] in titles]


def _errors_rows(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    header = ["Class", "Images", "Errors A", "Errors B", "Only A", "Only B"]
    header += ["p, images", "p, patients", "Holm"]
    rows = []
    for name, e in comparison.errors.items():
        counts = (e.images, e.first, e.second, e.only_first, e.only_second)
        title = tables.class_title(name) if name else "All classes"
        p_values = (
            score_rows.p_value(e.p_images),
            score_rows.p_value(e.p_patients),
            score_rows.p_value(comparison.corrected[name]) if name else "–",
        )
        rows.append([title, *(f"{n:,}" for n in counts), *p_values])
    return header, rows


def _facts(comparison: Comparison) -> dict[str, Any]:
    def scores(name: str) -> dict[str, Any]:
        a, b, low, high = map(score_rows.defined, comparison.scores[name])
        change = None if a is None or b is None else a - b
        return {"a": a, "b": b, "difference": change, "interval": [low, high]}

    runs = zip("ab", comparison.folders, comparison.predictions, strict=True)
    return {
        "kind": "comparison",
        **{
            letter: {
                "folder": str(folder),
                "learner": p.learner,
                "predictions": provenance.upstream(p.path),
            }
            for letter, folder, p in runs
        },
        "classes": list(comparison.classes),
        "smallest_classes": list(comparison.smallest),
        "split_sha256": comparison.predictions[0].split_sha256,
        "scores": {name: scores(name) for name in ("accuracy", "macro_f1")},
        "per_class": {
            title: {score: scores(f"{score}/{c}") for score in OF_A_CLASS}
            for c, title in enumerate(comparison.classes)
        },
        "errors": {
            name or "all": {**dataclasses.asdict(e), "p_corrected": comparison.corrected[name]}
            for name, e in comparison.errors.items()
        },
        "verdicts": verdicts(comparison),
        "how": [_HOW, _ONE_TRAINING],
    }


def _add_differing_fields(report: Report, comparison: Comparison) -> None:
    """Section of the config fields in which the runs differ: possible causes of a difference."""
    a, b = (document.read_json(folder / CONFIG) for folder in comparison.folders)
    report.add("## Differing settings")
    if a is None or b is None:
        report.facts["differing_fields"] = None
        report.add("Not available: a run folder has no config.json.")
        return
    fields = run_identity.differing_fields(schema.completed(a), schema.completed(b))
    report.facts["differing_fields"] = {name: list(pair) for name, pair in fields.items()}
    if fields:
        report.table(
            ["Field", "A", "B"],
            [[f"`{n}`", *map(repr, pair)] for n, pair in sorted(fields.items())],
        )
    else:
        report.add("None: the configurations are equal.")
