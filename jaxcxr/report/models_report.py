"""The report of several classifiers, each trained with several seeds.

COVID-CXNet's Table 6 and its figures.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxcxr.errors import InputError
from jaxcxr.metrics import intervals
from jaxcxr.metrics.by_rows import BootstrapScores
from jaxcxr.papers import covid_cxnet
from jaxcxr.report import (
    composition,
    confounding,
    document,
    excluded,
    first_weights,
    loss_level,
    plots,
    ranges,
    tables,
)
from jaxcxr.report.comparison import FOLDER, compare, verdicts, write_comparison
from jaxcxr.report.document import SPLIT_TITLES, Report
from jaxcxr.storage.predictions import Predictions

SPLIT = "test"
TITLES = {
    "cnn": "CNN",
    "cnn_augmented": "CNN, augmented images",
    "whole": "Whole image",
    "cut": "Borders cut (10 px)",
    "cut_wide": "Borders cut (20 px)",
    "masked": "Lungs alone",
}


@dataclasses.dataclass(frozen=True)
class Model:
    """One row: a model with its repeats.

    Attributes:
        name: its folder's.
        config: config.json of its first repeat; of a hierarchy the first level's.
        folders: its run folders in the order of the repeats.
        predictions: their test predictions.
        scores: their `classification_scores`.
    """

    name: str
    config: Mapping[str, Any]
    folders: tuple[Path, ...]
    predictions: tuple[Predictions, ...]
    scores: tuple[Mapping[str, Any], ...]

    @property
    def title(self) -> str:
        """The name of the model in tables, as published where it is."""
        if self.name in covid_cxnet.TABLE_6:
            return covid_cxnet.TABLE_6[self.name][0]
        return TITLES.get(self.name, self.name)

    @property
    def positive(self) -> str:
        """The class that the F-score is given of: the last."""
        return self.predictions[0].classes[-1]

    def values(self, score: str) -> list[float]:
        """Score of every repeat: 'accuracy', 'macro_f1' or 'f1' (of the positive class)."""
        if score == "f1":
            return [s["per_class"][self.positive]["f1"] for s in self.scores]
        return [s[score] for s in self.scores]

    def area(self) -> float | None:
        """Mean area under the ROC curve of the positive class; None where it is undefined."""
        values = [s["per_class"][self.positive]["roc_auc"] for s in self.scores]
        return None if None in values else float(np.mean(values))

    def over_patients(self) -> tuple[intervals.Interval, intervals.Interval]:
        """Bootstrap intervals of the mean accuracy and mean ROC area of the repeats."""
        of = [BootstrapScores(p.labels, p.probabilities) for p in self.predictions]
        columns = [
            of[0].names.index(n)
            for n in ("accuracy", f"roc_auc/{len(self.predictions[0].classes) - 1}")
        ]
        low, high = intervals.bootstrap(
            lambda counts: np.mean([scores(counts)[columns] for scores in of], axis=0),
            self.predictions[0].patient_ids,
        ).tolist()
        return (low[0], high[0]), (low[1], high[1])


def write_models_report(folder: Path | str) -> str:
    """Writes report.md, report.json and plots/ of a folder with `models/<name>/repeat<r>/`.

    Reads their predictions.npz and config.json, `training_sizes/<name>/<share>percent/`,
    segment/segmentation.json, stages.json and manifest.json; what is missing is listed
    as not available.

    Returns:
        the table for the terminal.

    Raises:
        InputError: there is no model, or the repeats of one are of different test images.
    """
    folder = Path(folder)
    models = read_models(folder)
    # The models have other classes and images; the one with the most classes has all of both.
    widest = max(models, key=lambda m: (len(m.predictions[0].classes), len(m.predictions[0])))
    of_widest = document.read_json(widest.folders[0] / "manifest.json")
    associations, warnings, left_out = confounding.confounding(
        [document.read_predictions(widest.folders[0])], document.counted(of_widest).get("all")
    )
    levels: dict[str, list[loss_level.LossLevel]] = {}
    for m in models:
        for title, folders, classes in _trainings(m):
            levels |= loss_level.of_learners({title: folders}, classes)
    warnings = [*warnings, *loss_level.warnings(levels)]
    report = Report(
        folder, {"kind": "models", "models": [_facts(m) for m in models]}, left_out=left_out
    )
    report.open(
        "COVID-CXNet" if any(m.name in covid_cxnet.TABLE_6 for m in models) else "Classifiers",
        warnings,
    )
    header, rows = table_6(models)
    report.add("## Result")
    report.table(header, rows)
    repeats = len(models[0].folders)
    report.add(
        f"On the {SPLIT_TITLES[SPLIT]}; {repeats} training{'s'[: repeats != 1]} of each model "
        "with different seeds on one split. F-score: of the class named, against the rest. Range: "
        "least and greatest accuracy of the repeats, called confidence interval in COVID-CXNet's "
        "paper. 95 % intervals: bootstrap over the test patients, of the mean of the repeats."
    )
    sentences = _pairs(report, folder, models)
    _beside_published(report, models)
    report.add("## Confusion matrices", "Summed over the repeats.")
    for m in models:
        titles = [tables.class_title(c) for c in m.predictions[0].classes]
        counts = np.sum([s["confusion"] for s in m.scores], axis=0)
        figure = plots.confusion_matrix(counts, titles, title=m.title)
        report.figure(f"confusion_{m.name}", figure, f"Confusion matrix of {m.title}")
    report.add(
        "## Receiver operating characteristic",
        "Of the class with the F-score; the first repeat of each model.",
    )
    curves = {m.title: (m.predictions[0].labels == len(m.predictions[0].classes) - 1,
                        m.predictions[0].probabilities[:, -1]) for m in models}  # fmt: skip
    report.figure("roc", ranges.roc(curves), "ROC curves")
    _training_sizes(report, folder, models)
    learners = {title: folders for m in models for title, folders, _ in _trainings(m)}
    began_with = first_weights.of_learners(learners)
    report.facts["pretrained"] = began_with
    document.add_provenance(
        report,
        document.read_json(folder / "manifest.json"),
        predictions=models[0].predictions[0],
        dataset=(of_widest or {}).get("dataset"),
        config=document.read_json(widest.folders[0] / "config.json"),
        first_weights=first_weights.sentences(began_with) if began_with else "",
    )
    level1 = widest.folders[0] / "level1"
    excluded.add_excluded(report, level1 if level1.is_dir() else widest.folders[0])
    report.add("## Details")
    loss_level.add_table(report, levels, over="repeats")
    composition.add_run(report, of_widest)
    document.add_confounding(report, associations)
    _segmentation(report, folder)
    stages = document.read_json(folder / "stages.json")
    if stages:
        report.facts["stage_seconds"] = {name: row["seconds"] for name, row in stages.items()}
        total = document.duration(sum(report.facts["stage_seconds"].values()))
        report.add(
            "### Time", f"All {len(stages)} stages, with compiling, reading and writing: {total}."
        )
        report.table(
            ["Stage", "Time"],
            [[n, document.duration(s)] for n, s in report.facts["stage_seconds"].items()],
        )
    report.write()
    return "\n".join(
        [tables.text_table(header, rows), *sentences, *(f"Warning. {w}" for w in warnings)]
    )


def _trainings(m: Model) -> Iterator[tuple[str, list[Path], int]]:
    """(title, run folders, number of classes) of a model; of each level of a hierarchy."""
    levels = [path.name for path in sorted(m.folders[0].glob("level*")) if path.is_dir()]
    if not levels:
        yield m.title, list(m.folders), len(m.predictions[0].classes)
    for level in levels:
        folders = [folder / level for folder in m.folders]
        yield f"{m.title}, {level}", folders, len(document.read_predictions(folders[0]).classes)


def read_models(root: Path) -> list[Model]:
    """The models of a folder, those of a paper in its order, with all their repeats."""
    names = [path.name for path in sorted((root / "models").glob("*")) if path.is_dir()]
    if not names:
        raise InputError(f"{root / 'models'} holds no model: run it again to resume")
    order = [*covid_cxnet.TABLE_6, *TITLES]
    names.sort(key=lambda n: (order.index(n) if n in order else len(order), n))
    return [_model(name, root / "models" / name) for name in names]


def _model(name: str, folder: Path) -> Model:
    repeats = [p for p in folder.glob("repeat*") if p.name.removeprefix("repeat").isdecimal()]
    repeats.sort(key=lambda p: int(p.name.removeprefix("repeat")))
    if not repeats:
        raise InputError(
            f"{folder} holds no repeat0, repeat1, ...: run the study again to resume it"
        )
    predictions = tuple(document.read_predictions(path).select(SPLIT) for path in repeats)
    if any(
        (p.ids != predictions[0].ids).any() for p in predictions if len(p) == len(predictions[0])
    ) or (len({len(p) for p in predictions}) > 1):
        raise InputError(f"{folder}: its repeats are of different test images; run the study again")
    config = document.read_json(repeats[0] / "config.json") or {}
    scores = tuple(tables.classification_scores(p) for p in predictions)
    return Model(name, config.get("level1", config), tuple(repeats), predictions, scores)


def table_6(models: Sequence[Model]) -> tuple[list[str], list[list[str]]]:
    """Header and rows: each model's inputs, its accuracy with intervals, its F-score."""
    header = [
        "Model",
        "Images",
        "Children",
        "Lungs only",
        "Epochs",
        "Accuracy",
        "Range",
        "95 % interval",
        "F-score of",
    ]
    header += ["F-score", "ROC-AUC", "95 % interval"]
    rows = []
    for m in models:
        accuracy, f1 = tables.mean_std(m.values("accuracy")), tables.mean_std(m.values("f1"))
        of_accuracy, of_area = m.over_patients()
        extremes = f"{min(accuracy.values):.4f} – {max(accuracy.values):.4f}"
        rows.append(
            [
                m.title,
                f"{_images(m):,}",
                _children(m),
                "yes" if m.config.get("data", {}).get("lungs", "whole") != "whole" else "no",
                f"{m.config.get('train', {}).get('epochs', 0):g}",
                f"{accuracy.mean:.4f}",
                extremes if len(accuracy.values) > 1 else "–",
                _span(of_accuracy),
                tables.class_title(m.positive),
                f"{f1.mean:.4f}",
                tables.number(m.area()),
                _span(of_area),
            ]
        )
    return header, rows


def _span(interval: intervals.Interval) -> str:
    return "–" if np.isnan(interval).any() else f"{interval[0]:.4f} – {interval[1]:.4f}"


def _images(m: Model) -> int:
    manifest = document.read_json(m.folders[0] / "level1" / "manifest.json") or document.read_json(
        m.folders[0] / "manifest.json"
    )
    return (manifest or {}).get("dataset", {}).get("images", len(m.predictions[0].ids))


def _children(m: Model) -> str:
    """Proportion of paediatric images among the negative test images.

    The paper's "pediatric bias".
    """
    p = m.predictions[0]
    ages = p.extra.get("age_group")
    if ages is None or not (ages != "").any():
        return "–"
    negative = p.labels != len(p.classes) - 1
    return f"{100 * float((ages[negative] == 'paediatric').mean()):.0f} %"


def _facts(m: Model) -> dict[str, Any]:
    accuracy, (of_accuracy, of_area) = m.values("accuracy"), m.over_patients()
    return {
        "name": m.name,
        "classes": list(m.predictions[0].classes),
        "repeats": len(m.folders),
        "accuracy": {
            **tables.mean_std(accuracy).to_json(),
            "interval_over_repeats": intervals.over_repeats(accuracy),
            "interval_over_patients": [None if np.isnan(x) else x for x in of_accuracy],
        },
        "roc_auc": {
            "mean": m.area(),
            "interval_over_patients": [None if np.isnan(x) else x for x in of_area],
        },
        "f1": tables.mean_std(m.values("f1")).to_json(),
        "macro_f1": tables.mean_std(m.values("macro_f1")).to_json(),
        "scores": list(m.scores),
    }


def _pairs(report: Report, folder: Path, models: Sequence[Model]) -> list[str]:
    """Writes `compare/<a>-<b>/` for each of `study.pairs`.

    Returns the verdicts for the terminal.
    """
    pairs = ((document.read_json(folder / "config.json") or {}).get("study") or {}).get(
        "pairs"
    ) or ()
    if not pairs:
        return []
    by_name, sentences = {m.name: m for m in models}, []
    report.add("## Pairwise comparisons", "On the same test images; the first repeat of each.")
    for pair in pairs:
        a, b = (by_name[name] for name in pair.split(":"))
        comparison = compare(a.folders[0], b.folders[0])
        target = folder / FOLDER / f"{a.name}-{b.name}"
        write_comparison(comparison, target)
        lines = verdicts(comparison)
        report.facts.setdefault("pairs", {})[pair] = lines
        report.add(
            f"### A: {a.title}. B: {b.title}.",
            "\n".join(f"- {line}" for line in lines),
            f"Details: [{target.name}]({target.relative_to(folder).as_posix()}/compare.md)",
        )
        sentences += ["", f"A: {a.title}. B: {b.title}.", *lines]
    return sentences


def _beside_published(report: Report, models: Sequence[Model]) -> None:
    compared = [m for m in models if m.name in covid_cxnet.TABLE_6 and m.positive == "covid19"]
    if not compared:
        report.left_out.append(
            "Comparison with published results: the classes are not those of the paper."
        )
        return
    rows = []
    for m in compared:
        title, accuracy, (low, high), f1, images = covid_cxnet.TABLE_6[m.name]
        ours = tables.mean_std(m.values("accuracy")).mean, tables.mean_std(m.values("f1")).mean
        rows.append([
            title, f"{ours[0]:.4f}", f"{accuracy:.4f}", f"{low:.4f} – {high:.4f}", f"{ours[1]:.4f}",
            f"{f1:.2f}",
            f"{images:,}",
        ])  # fmt: skip
    report.add("## Comparison with published results", covid_cxnet.NOT_COMPARABLE)
    report.table(
        [
            "Model",
            "Accuracy",
            "published",
            "published range",
            "F-score",
            "published",
            "published images",
        ],
        rows,
    )


def _training_sizes(report: Report, folder: Path, models: Sequence[Model]) -> None:
    """Section of the learning curves over the number of training patients (figures 9, 11)."""
    roots = [path for path in sorted((folder / "training_sizes").glob("*")) if path.is_dir()]
    if not roots:
        return
    report.add(
        "## Training-set size",
        "Nested fractions of the training patients; the test images stay the same.",
    )
    for root in roots:
        whole = [m.folders[0] for m in models if m.name == root.name]
        runs = {int(path.name.removesuffix("percent")): path for path in root.glob("*percent")}
        runs |= {100: whole[0]} if whole else {}
        points, logs, rows = [], {}, []
        for percent, path in sorted(runs.items()):
            scores = tables.classification_scores(document.read_predictions(path).select(SPLIT))
            manifest = document.read_json(path / "manifest.json") or {}
            images = manifest.get("split", {}).get("sizes", {}).get("train", 0)
            points.append((images, scores["accuracy"], scores["macro_f1"]))
            logs[f"{images:,} images"] = document.read_metrics(path)
            rows.append(
                [
                    f"{percent} %",
                    f"{images:,}",
                    f"{scores['accuracy']:.4f}",
                    f"{scores['macro_f1']:.4f}",
                ]
            )
        title = next((m.title for m in models if m.name == root.name), root.name)
        report.facts.setdefault("training_sizes", {})[root.name] = points
        report.table(["Training patients", "Training images", "Accuracy", "Macro-F1"], rows)
        report.figure(
            f"training_sizes_{root.name}",
            ranges.training_sizes(logs, title=title),
            f"Losses of {title}",
        )


def _segmentation(report: Report, folder: Path) -> None:
    overlap = document.read_segmentation(folder / "segment")
    if overlap is None:
        return
    report.facts["segmentation"] = overlap
    report.add(
        "### Lung segmentation",
        f"On {overlap['images']:,} {document.split_title(overlap['split'])}.",
    )
    report.table(*document.overlap_rows(overlap))
