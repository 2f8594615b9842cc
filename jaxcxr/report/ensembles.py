"""Is the focal-loss ensemble better than what is simpler? Its learners combined in other ways."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.linear_model import LogisticRegression

from jaxcxr.metrics import over_folds, paired
from jaxcxr.metrics.by_rows import BootstrapScores
from jaxcxr.report import document, score_rows, tables
from jaxcxr.report.document import SPLIT_TITLES, Report
from jaxcxr.report.entries import Entry, named
from jaxcxr.storage.names import further_ensemble

MEAN, LOGISTIC, BEST = "mean of the learners", "logistic regression", "best learner"
_LEAST = 1e-6  # a probability below it has this one's logarithm


def combinations(ensemble: Entry) -> dict[str, list[np.ndarray]]:
    """Test probabilities [N, C] of every fold, of what combines the same learners otherwise.

    The mean gives all learners the same weight. The logistic regression is trained as the ensemble
    is, on the out-of-fold predictions of the other folds, with balanced classes; it is left out
    where these have fewer than two classes. The best learner has the largest mean macro-F1 over the
    out-of-fold images: which one it is the test images have no part in.
    """
    folds = range(len(ensemble.folders))
    test = [[_input(ensemble, member, k, "test") for member in ensemble.members] for k in folds]
    found = {MEAN: [np.mean(of_fold, axis=0) for of_fold in test]}
    stacked = [_logistic(ensemble, k, test[k]) for k in folds]
    if all(probabilities is not None for probabilities in stacked):
        found[LOGISTIC] = [probabilities for probabilities in stacked if probabilities is not None]
    best = max(
        range(len(ensemble.members)),
        key=lambda n: ensemble.members[n].summary("oof")["macro_f1"].mean,
    )
    title = f"{BEST}: {named(ensemble.members[best])}"
    return {**found, title: [of_fold[best] for of_fold in test]}


def further(ensemble: Entry, texts: Sequence[str]) -> dict[str, list[np.ndarray]]:
    """Test probabilities [N, C] of every fold of the study's further ensembles.

    `texts`: items of its `study.ensembles`. By what is different: `ensemble, loss.gamma=2`.
    """
    folders = {text: ensemble.root / further_ensemble(text) for text in texts}
    return {
        f"ensemble, {text}": [
            document.read_predictions(folder / fold.name).select("test").probabilities
            for fold in ensemble.folders
        ]
        for text, folder in folders.items()
    }


def add_combinations(
    report: Report, entries: Sequence[Entry], split: str, texts: Sequence[str] = ()
) -> None:
    """Section of the ensembles beside other combinations of their learners, on test images.

    `texts`: the report's own study's `study.ensembles`.
    """
    whole = [
        entry
        for entry in entries
        if entry.members and all("oof" in member.scores for member in entry.members)
    ]
    report.facts["combinations"] = None
    if split != "test" or not whole:
        return
    rows, facts = [], {}
    for ensemble in whole:
        ids = ensemble.predictions[0].select("test").patient_ids
        labels = ensemble.predictions[0].select("test").labels
        own = [_of(ensemble, k, "test") for k in range(len(ensemble.folders))]
        rows.append(
            [f"**{named(ensemble)}**", str(tables.mean_std(_macro(labels, own))), "", "", ""]
        )
        facts[named(ensemble)] = of_ensemble = {}
        own_texts = texts if ensemble.root.resolve() == report.folder.resolve() else ()
        others = {**combinations(ensemble), **further(ensemble, own_texts)}
        differences = [
            over_folds.difference(
                [over_folds.Fold(labels, ids, *b) for b in zip(probabilities, own, strict=True)]
            )
            for probabilities in others.values()
        ]
        corrected = paired.holm([d.errors.p_patients for d in differences]).tolist()
        for (name, probabilities), d, holm in zip(
            others.items(), differences, corrected, strict=True
        ):
            score = tables.mean_std(_macro(labels, probabilities))
            p = d.errors.p_patients
            change = f"{d.mean:+.4f} ({d.low:+.4f} to {d.high:+.4f})"
            cells = [score_rows.p_value(p), score_rows.p_value(holm)]
            rows.append([name, str(score), change, *cells])
            of_ensemble[name] = {
                "macro_f1": score.to_json(),
                "minus_ensemble": round(d.mean, 4),
                "interval": [round(d.low, 4), round(d.high, 4)],
                "p_patients": p,
                "p_holm": holm,
            }
    report.facts["combinations"] = facts
    report.add("### Other ways to combine the same learners")
    report.table(
        ["Combination", "Macro-F1", "Minus the ensemble (95 % interval)", "p", "Holm"], rows
    )
    report.add(
        f"On the {SPLIT_TITLES['test']}, mean over the folds; intervals by bootstrap over "
        "patients; p of the errors of all folds' models, by exchanging the two patient by patient; "
        "Holm: p, corrected for the number of an ensemble's rows. "
        "The logistic regression reads the logarithms of the learners' probabilities and "
        "is trained on the out-of-fold images of the other folds"
        + (
            ", as the ensemble is"
            if all(e.config.get("inputs", {}).get("stacking") == "out_of_fold" for e in whole)
            else ""
        )
        + "; the best learner is that of the out-of-fold images."
        + " An `ensemble, FIELD=VALUE` is the study's with that change of its config; one that is "
        "stacked in sample (`in_sample`) reads the learners' training images, too, and its "
        "checkpoint is chosen on validation images." * bool(texts)
    )


def _of(entry: Entry, fold: int, split: str) -> np.ndarray:
    return entry.predictions[fold].select(split).probabilities


def _input(ensemble: Entry, member: Entry, fold: int, split: str) -> np.ndarray:
    """What the ensemble reads of a learner: of patches not always what their votes are."""
    output = ensemble.config.get("inputs", {}).get("base_output", "probabilities")
    return member.predictions[fold].select(split).output(output)


def _logistic(ensemble: Entry, fold: int, test: Sequence[np.ndarray]) -> np.ndarray | None:
    """None where the other folds do not have images of two classes."""
    others = [k for k in range(len(ensemble.folders)) if k != fold]
    if not others:
        return None
    inputs = np.concatenate(
        [
            _inputs([_input(ensemble, member, k, "oof") for member in ensemble.members])
            for k in others
        ]
    )
    labels = np.concatenate(
        [ensemble.members[0].predictions[k].select("oof").labels for k in others]
    )
    if len(np.unique(labels)) < 2:
        return None
    model = LogisticRegression(class_weight="balanced", max_iter=10_000).fit(inputs, labels)
    probabilities = np.zeros_like(test[0])
    probabilities[:, model.classes_] = model.predict_proba(_inputs(test))
    return probabilities


def _inputs(learners: Sequence[np.ndarray]) -> np.ndarray:
    return np.log(np.maximum(np.concatenate(learners, axis=1), _LEAST))


def _macro(labels: np.ndarray, probabilities: Sequence[np.ndarray]) -> list[float]:
    return [BootstrapScores(labels, of_fold).of_all()["macro_f1"] for of_fold in probabilities]
