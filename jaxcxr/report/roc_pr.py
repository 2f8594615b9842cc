"""ROC and precision-recall curves of a run and of a study's learners and ensembles."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from jaxcxr.metrics import intervals
from jaxcxr.metrics.areas import (
    AREAS,
    AVERAGES,
    MACRO,
    MICRO,
    PR,
    ROC,
    BootstrapAreas,
    Curve,
    mean_pr,
    mean_roc,
)
from jaxcxr.report import plots, score_rows, tables
from jaxcxr.report.document import SPLIT_TITLES, Report
from jaxcxr.report.entries import ENSEMBLE, Entry, named
from jaxcxr.storage.predictions import Predictions

_TITLES = {MICRO: "Micro average", MACRO: "Macro average"}
_AREA_TITLES = {ROC: "ROC-AUC", PR: "PR-AUC"}
_MEANS = {ROC: mean_roc, PR: mean_pr}
_DASHES = ("-", "-.", (0, (6, 2)))  # of the classes; 18 are told apart
_HEADING = "ROC and precision-recall curves"
_OF_CLASSES = (
    "One class against the rest. Micro average: of all pairs of an image and a class; macro "
    "average: the mean over the classes. To know the proportions of the classes alone makes the "
    "micro averages larger than 0.5 and than one over the number of classes. "
)
_PR_AUC = (
    "PR-AUC is the average precision, the area in steps; the one of a classifier that knows "
    "nothing is the class's proportion, its ROC-AUC 0.5."
)


def draw(
    curves: Mapping[str, Mapping[str, Curve]],
    texts: Mapping[str, Mapping[str, str]],
    titles: Mapping[str, str],
    *,
    title: str,
) -> Figure:
    """ROC curves at the left, precision over recall at the right.

    Args:
        curves: 'roc_auc' and 'pr_auc' -> name -> curve; a name may be missing from either.
        texts: the same keys -> the area as it is shown beside the name.
        titles: name -> what it is called; 'micro' and 'macro' are drawn in black and grey.
        title: stands above both panels.
    """
    figure = plots.canvas(9.6, 4.6 + 0.17 * len(titles))
    figure.suptitle(plots.drawable(title), fontsize=12, color=plots.INK)
    classes = [name for name in titles if name not in AVERAGES]
    panels = figure.subplots(1, 2)
    for axes, area in zip(panels, AREAS, strict=True):
        plots.tidy(axes)
        if area == ROC:
            axes.plot([0, 1], [0, 1], color=plots.RULE, linewidth=1.0)
        for name in (n for n in titles if n in curves[area]):
            if name in AVERAGES:
                style = {MICRO: (plots.INK, "--"), MACRO: (plots.MUTED, ":")}[name]
            else:
                number = classes.index(name)
                colours = len(plots.COLOURS)
                style = plots.COLOURS[number % colours], _DASHES[number // colours % len(_DASHES)]
            axes.plot(
                *curves[area][name], color=style[0], linestyle=style[1], linewidth=1.6,
                drawstyle="default" if area == ROC else "steps-pre",
                label=f"{plots.drawable(titles[name])}: {texts[area][name]}",
            )  # fmt: skip
        axes.set_xlim(-0.01, 1.01)
        axes.set_ylim(-0.01, 1.02)
        axes.set_aspect("equal")
        if curves[area]:
            axes.legend(
                title=_AREA_TITLES[area], title_fontsize=8.5, frameon=False, fontsize=8,
                labelcolor=plots.INK, loc="upper center", bbox_to_anchor=(0.5, -0.13),
            )  # fmt: skip
    panels[0].set_xlabel("False positive rate")
    panels[0].set_ylabel("True positive rate")
    panels[1].set_xlabel("Recall")
    panels[1].set_ylabel("Precision")
    return figure


def add_run(
    report: Report,
    predictions: Predictions,
    scores: dict[str, Any],
    split: str,
    *,
    name: str,
    with_intervals: bool,
) -> None:
    """Curves and areas of one run on one split; of two classes those of the last, the positive.

    Args:
        report: gets them.
        predictions: of the split alone.
        scores: facts of the split in report.json; get "areas": {"roc_auc" | "pr_auc": {"micro" |
            "macro": {"value", "interval"}, "classes": {class: the same}}, "undefined": {class:
            reason}, "level", "method"}, None where an area or interval is not defined.
        split: its name.
        name: of the run, in the figure's title.
        with_intervals: False where the images chose the checkpoint.
    """
    areas = BootstrapAreas(predictions.labels, predictions.probabilities)
    values = areas.of_all()
    ends = np.full((2, len(values)), np.nan)
    if with_intervals:
        ends = intervals.bootstrap(areas, predictions.patient_ids)
    spans = dict(zip(areas.names, map(tuple, ends.T.tolist()), strict=True))
    has_spans = not np.isnan(ends).all()
    undefined = _undefined(predictions)
    classes = predictions.classes

    def fact(key: str) -> dict[str, Any]:
        low, high = spans[key]
        return {
            "value": score_rows.defined(values[key]),
            "interval": None if math.isnan(low) else [low, high],
        }

    scores["areas"] = {
        area: {
            **{average: fact(f"{area}/{average}") for average in AVERAGES},
            "classes": {n: fact(f"{area}/{c}") for c, n in enumerate(classes)},
        }
        for area in AREAS
    }
    scores["areas"] |= {
        "undefined": undefined,
        "level": 0.95 if has_spans else None,
        "method": "bootstrap over patients" if has_spans else None,
    }

    titles = _shown(classes)
    shares = _proportions(predictions)
    rows = [
        [
            title,
            tables.number(shares[of]),
            *(
                text
                for area in AREAS
                for text in (
                    score_rows.number(values[f"{area}/{of}"]),
                    score_rows.interval(*spans[f"{area}/{of}"]),
                )
            ),
        ]
        for of, title in titles.items()
    ]
    report.add(f"### {_HEADING}: {SPLIT_TITLES[split]}")
    if len(classes) == 2:
        area = score_rows.number(values[f"{ROC}/1"])
        span = f" ({score_rows.interval(*spans[f'{ROC}/1'])})" if has_spans else ""
        other, positive = map(tables.class_title, classes)
        report.add(f"ROC-AUC **{area}**{span} for {positive} against {other}. {_PR_AUC}")
    else:
        report.add(_OF_CLASSES + _PR_AUC)
    header = ["Class", "Proportion"]
    report.table([*header, *(c for a in AREAS for c in (_AREA_TITLES[a], "95 % interval"))], rows)
    report.add(
        "Intervals: bootstrap over patients."
        if has_spans
        else "No intervals: all images are of one patient."
        if with_intervals
        else f"No intervals: the {SPLIT_TITLES[split]} are no new patients to the network.",
        *_sentences(undefined, macro=len(classes) > 2),
    )
    texts = {
        area: {
            of: score_rows.number(values[f"{area}/{of}"])
            + (f" ({score_rows.interval(*spans[f'{area}/{of}'])})" if has_spans else "")
            for of in titles
        }
        for area in AREAS
    }
    figure = draw(areas.curves(), texts, titles, title=f"{name}: {SPLIT_TITLES[split]}")
    report.figure(f"roc_pr_{split}", figure, f"{_HEADING}, {SPLIT_TITLES[split]}")


def _shown(classes: Sequence[str]) -> dict[str, str]:
    """Class or average -> its title, for those that are drawn.

    Of two classes the last alone: the other's ROC curve is its mirror image.
    """
    named_classes = {str(c): tables.class_title(name) for c, name in enumerate(classes)}
    return {"1": named_classes["1"]} if len(classes) == 2 else {**named_classes, **_TITLES}


def _proportions(predictions: Predictions) -> dict[str, float | None]:
    """Class -> its proportion of the images, the average precision of chance; micro: of pairs."""
    classes = len(predictions.classes)
    counts = np.bincount(predictions.labels, minlength=classes) / len(predictions)
    return {**{str(c): float(n) for c, n in enumerate(counts)}, MICRO: 1 / classes, MACRO: None}


def _undefined(predictions: Predictions) -> dict[str, str]:
    """Class -> why an area of it is not defined."""
    counts = np.bincount(predictions.labels, minlength=len(predictions.classes))
    reasons = {0: "no image is of it", len(predictions): "no image is of another class"}
    found = zip(predictions.classes, counts.tolist(), strict=True)
    return {name: reasons[n] for name, n in found if n in reasons}


def _sentences(undefined: Mapping[str, str], *, macro: bool) -> list[str]:
    if not undefined:
        return []
    listed = "; ".join(f"{tables.class_title(c)} ({why})" for c, why in undefined.items())
    left = ", and so no macro average is given" * macro
    return [f"Not defined, for want of images{left}: {listed}."]


def add_entries(report: Report, entries: Sequence[Entry], split: str) -> None:
    """Section of a study: areas of all entries, of each class and curves of its ensembles."""
    report.add(f"### {_HEADING}: {SPLIT_TITLES[split]}")
    found = {entry.folders: _EntryAreas(entry, split) for entry in entries}
    report.table(
        ["Model", *(f"{_AREA_TITLES[a]}, {_TITLES[o].lower()}" for a in AREAS for o in AVERAGES)],
        [
            [named(e), *(found[e.folders].text(f"{a}/{o}") for a in AREAS for o in AVERAGES)]
            for e in entries
        ],
    )
    report.add(
        f"Mean over the folds' models, in brackets the sample standard deviation. {_OF_CLASSES}"
        f"{_PR_AUC}"
    )
    facts = report.facts["areas"] = {
        "split": split,
        "models": {named(e): found[e.folders].to_json() for e in entries},
    }
    ensembles = [entry for entry in entries if entry.model == ENSEMBLE]
    for entry in ensembles:
        areas = found[entry.folders]
        spans = areas.intervals()
        facts["models"][named(entry)]["intervals"] = spans and {
            key: None if math.isnan(low) else [low, high] for key, (low, high) in spans.items()
        }
        report.add(f"**{named(entry)}**")
        report.table(
            ["Class", *(c for a in AREAS for c in (_AREA_TITLES[a], "95 % interval"))],
            [
                [
                    title,
                    *(
                        text
                        for area in AREAS
                        for text in (
                            areas.text(f"{area}/{of}"),
                            score_rows.interval(*spans[f"{area}/{of}"]) if spans else "–",
                        )
                    ),
                ]
                for of, title in _shown(areas.classes).items()
            ],
        )
        report.add(
            "95 % intervals of the mean over the folds: bootstrap over the test patients."
            if spans
            else "No intervals: the folds have different images, or images of one patient alone."
        )
        _add_figure(report, areas)
    lines = [
        f"{named(e)}: {line}"
        for e in entries
        for line in _sentences(found[e.folders].undefined, macro=len(found[e.folders].classes) > 2)
    ]
    if lines:
        report.add("\n".join(f"- {line}" for line in lines))


def add_learners(report: Report, entries: Sequence[Entry], split: str) -> None:
    """Section of a study's details: the curves of each learner."""
    learners = [entry for entry in entries if entry.model != ENSEMBLE]
    if learners:
        report.add(
            f"### {_HEADING} of the learners: {SPLIT_TITLES[split]}",
            "Each curve is the mean over the folds' models: of true positive rates at each false "
            "positive rate, of precisions at each recall. The area under it is the mean area.",
        )
    for entry in learners:
        _add_figure(report, _EntryAreas(entry, split))


def _add_figure(report: Report, areas: _EntryAreas) -> None:
    entry, split = areas.entry, areas.split
    titles = _shown(areas.classes)
    texts = {area: {of: areas.text(f"{area}/{of}") for of in titles} for area in AREAS}
    title = f"{named(entry)}: {SPLIT_TITLES[split]}"
    figure = draw(areas.curves(), texts, titles, title=title)
    report.figure(entry.file("roc_pr", split), figure, f"{_HEADING} of {named(entry)}")


class _EntryAreas:
    """Areas of a learner or ensemble: of each fold's model on its images, and their means.

    Attributes:
        entry: the learner or ensemble.
        split: of its images.
        classes: their names.
        undefined: class -> why it has no area, in which folds.
    """

    def __init__(self, entry: Entry, split: str):
        self.entry, self.split = entry, split
        self.classes = entry.predictions[0].classes
        self._folds = [p.select(split) for p in entry.predictions]
        self._areas = [BootstrapAreas(p.labels, p.probabilities) for p in self._folds]
        self._values = [areas.of_all() for areas in self._areas]
        reasons: dict[str, list[str]] = {}
        for predictions in self._folds:
            for name, why in _undefined(predictions).items():
                reasons.setdefault(name, []).append(f"fold {predictions.fold}: {why}")
        self.undefined = {name: "; ".join(parts) for name, parts in reasons.items()}

    def mean(self, key: str) -> tables.MeanStd | None:
        """Of an area over the folds; None where a fold has none."""
        values = [fold[key] for fold in self._values]
        return None if any(map(math.isnan, values)) else tables.mean_std(values)

    def text(self, key: str) -> str:
        return "–" if (mean := self.mean(key)) is None else str(mean)

    def to_json(self) -> dict[str, Any]:
        """{"roc_auc" | "pr_auc": {"micro" | "macro": mean, "classes": {class: mean}}, ...}."""

        def fact(key: str) -> dict[str, Any] | None:
            return None if (mean := self.mean(key)) is None else mean.to_json()

        means = {
            area: {
                **{average: fact(f"{area}/{average}") for average in AVERAGES},
                "classes": {n: fact(f"{area}/{c}") for c, n in enumerate(self.classes)},
            }
            for area in AREAS
        }
        return {**means, "undefined": self.undefined}

    def intervals(self) -> dict[str, intervals.Interval] | None:
        """Name of each area -> interval of its mean over the folds.

        None where the folds' models are not of the same images, of two patients or more.
        """
        first = self._folds[0]
        if any(not np.array_equal(first.ids, p.ids) for p in self._folds):
            return None
        ends = intervals.bootstrap(
            lambda counts: np.mean([areas(counts) for areas in self._areas], axis=0),
            first.patient_ids,
        )
        if np.isnan(ends).all():
            return None
        pairs = [(float(low), float(high)) for low, high in ends.T]
        return dict(zip(self._areas[0].names, pairs, strict=True))

    def curves(self) -> dict[str, dict[str, Curve]]:
        """As `BootstrapAreas.curves`, means over the folds; without those that a fold has not."""
        folds = [areas.curves() for areas in self._areas]
        return {
            area: {
                of: mean([fold[area][of] for fold in folds])
                for of in self._areas[0].averages_and_classes
                if all(of in fold[area] for fold in folds)
            }
            for area, mean in _MEANS.items()
        }
