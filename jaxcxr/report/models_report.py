"""The report of several classifiers, each trained with several seeds.

COVID-CXNet's Table 6 and its figures.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxcxr.metrics import intervals, paired
from jaxcxr.papers import covid_cxnet
from jaxcxr.report import (
    composition,
    confounding,
    data_checks,
    document,
    excluded,
    first_weights,
    loss_level,
    plots,
    ranges,
    score_rows,
    tables,
)
from jaxcxr.report.comparison import FOLDER, Comparison, compare, verdicts, write_comparison
from jaxcxr.report.document import SPLIT_TITLES, Report
from jaxcxr.report.models import SPLIT, Model, read_models


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
    warnings += data_checks.warnings(data_checks.of_manifest(of_widest))
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
        f"On the {SPLIT_TITLES[SPLIT]}; {repeats} training{'s'[: repeats != 1]} of each model"
        f"{' with different seeds' * (repeats != 1)} on one split. F-score: of the class "
        "named, against the rest. Range: least and greatest accuracy of the repeats, called "
        "confidence interval in COVID-CXNet's "
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
    data_checks.add_section(report, of_widest, pictures=None)
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


def table_6(models: Sequence[Model]) -> tuple[list[str], list[list[str]]]:
    """Header and rows: what each model sees, its accuracy with intervals, its F-score.

    Of more than two classes macro-F1 stands for the F-score and the area of one of them.
    """
    several = any(len(m.predictions[0].classes) > 2 for m in models)
    header = ["Model", "Images", "Children", "Sees", "Epochs", "Accuracy", "Range", "95 % interval"]
    header += ["Macro-F1", "95 % interval"] * several
    header += ["F-score of", "F-score", "ROC-AUC", "95 % interval"]
    rows = []
    for m in models:
        accuracy, f1 = tables.mean_std(m.values("accuracy")), tables.mean_std(m.values("f1"))
        extremes = f"{min(accuracy.values):.4f} – {max(accuracy.values):.4f}"
        row = [
            m.title,
            f"{_images(m):,}",
            _children(m),
            m.sees,
            f"{m.config.get('train', {}).get('epochs', 0):g}",
            f"{accuracy.mean:.4f}",
            extremes if len(accuracy.values) > 1 else "–",
            _span(m.over_patients["accuracy"]),
        ]
        if several:
            macro = tables.mean_std(m.values("macro_f1")).mean
            row += [f"{macro:.4f}", _span(m.over_patients["macro_f1"])]
        row += [
            tables.class_title(m.positive),
            f"{f1.mean:.4f}",
            tables.number(m.area()),
            _span(m.over_patients["roc_auc"]),
        ]
        rows.append(row)
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
    accuracy = m.values("accuracy")
    spans = {name: [score_rows.defined(x) for x in span] for name, span in m.over_patients.items()}
    return {
        "name": m.name,
        "classes": list(m.predictions[0].classes),
        "repeats": len(m.folders),
        "accuracy": {
            **tables.mean_std(accuracy).to_json(),
            "interval_over_repeats": intervals.over_repeats(accuracy),
            "interval_over_patients": spans["accuracy"],
        },
        "roc_auc": {
            "mean": m.area(),
            "interval_over_patients": spans["roc_auc"],
        },
        "f1": tables.mean_std(m.values("f1")).to_json(),
        "macro_f1": {
            **tables.mean_std(m.values("macro_f1")).to_json(),
            "interval_over_patients": spans["macro_f1"],
        },
        "scores": list(m.scores),
    }


def _pairs(report: Report, folder: Path, models: Sequence[Model]) -> list[str]:
    """Writes `compare/<a>-<b>/` for each of `study.pairs`.

    Returns the verdicts for the terminal.
    """
    config = document.read_json(folder / "config.json") or {}
    by_name = {m.name: m for m in models}
    pairs = [
        (by_name[a], by_name[b])
        for a, b in (pair.split(":") for pair in config.get("study", {}).get("pairs") or ())
    ]
    if not pairs:
        return []
    found = [compare(a.folders[0], b.folders[0]) for a, b in pairs]
    report.add("## Pairwise comparisons", "On the same test images; the first repeat of each.")
    report.table(*_differences(pairs, found))
    report.add(
        "Difference: A − B, with the interval of a paired bootstrap over patients. p: exact test "
        "that exchanges the two patient by patient; Holm: corrected for the number of pairs."
    )
    sentences = []
    for (a, b), comparison in zip(pairs, found, strict=True):
        target = folder / FOLDER / f"{a.name}-{b.name}"
        write_comparison(comparison, target)
        lines = verdicts(comparison)
        report.facts.setdefault("pairs", {})[f"{a.name}:{b.name}"] = lines
        report.add(
            f"### A: {a.title}. B: {b.title}.",
            "\n".join(f"- {line}" for line in lines),
            f"Details: [{target.name}]({target.relative_to(folder).as_posix()}/compare.md)",
        )
        sentences += ["", f"A: {a.title}. B: {b.title}.", *lines]
    return sentences


def _differences(
    pairs: Sequence[tuple[Model, Model]], found: Sequence[Comparison]
) -> tuple[list[str], list[list[str]]]:
    """Header and rows of all pairs: differences in accuracy and macro-F1, and the test."""
    p_values = [comparison.errors[""].p_patients for comparison in found]
    rows = []
    for (a, b), comparison, p, holm in zip(
        pairs, found, p_values, paired.holm(p_values), strict=True
    ):
        cells = []
        for name in ("accuracy", "macro_f1"):
            of_a, of_b, low, high = comparison.scores[name]
            cells.append(f"{of_a - of_b:+.4f} ({score_rows.interval(low, high, sign='+')})")
        rows.append(
            [a.title, b.title, *cells, score_rows.p_value(p), score_rows.p_value(float(holm))]
        )
    return ["A", "B", "Accuracy", "Macro-F1", "p", "Holm"], rows


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
