"""Do patches do as well as whole images? Networks that were trained on both, patient by patient."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from jaxcxr.metrics import over_folds, paired
from jaxcxr.report import score_rows, tables
from jaxcxr.report.document import SPLIT_TITLES, Report
from jaxcxr.report.entries import ENSEMBLE, Entry
from jaxcxr.report.tables import VARIANT_TITLES

_HOW = (
    "Difference: macro-F1 of the first minus that of the second, mean over the folds; intervals by "
    "bootstrap over patients, 95 %. Errors: of the models of all folds together. p: exact "
    "test that exchanges the two models patient by patient, a patient's images in all folds "
    "together (McNemar's test where a patient has one image and there is one fold); Holm: p, "
    "corrected for the number of rows of the same images."
)


def pairs(entries: Sequence[Entry]) -> Iterator[tuple[Entry, Entry]]:
    """Entries of the same model that see other parts of the images.

    Whole images come before patches, and an ensemble of both before those of one kind.
    """
    order = ["mixed", *(name for name in VARIANT_TITLES if name != "mixed")]
    seeing = sorted((e for e in entries if e.variant), key=lambda e: order.index(e.variant or ""))
    for first, second in itertools.combinations(seeing, 2):
        if first.model == second.model and first.variant != second.variant:
            yield first, second


def add_differences(report: Report, entries: Sequence[Entry], splits: Sequence[str]) -> None:
    """Section of the differences, for each of the splits; none where there are no such pairs.

    An ensemble's checkpoint was chosen on its out-of-fold images, which therefore tell nothing of
    it: it has the test images alone.
    """
    report.facts["whole_and_patched"] = None
    found = list(pairs(entries))
    if not found:
        return
    rows, facts = [], []
    for split in splits:
        of_split = [p for p in found if split == "test" or ENSEMBLE not in (e.model for e in p)]
        differences = [_difference(first, second, split) for first, second in of_split]
        corrected = paired.holm([d.errors.p_patients for d in differences]).tolist()
        for (first, second), d, p in zip(of_split, differences, corrected, strict=True):
            names = [_name(first), _name(second)]
            e = d.errors
            rows.append([
                SPLIT_TITLES[split], tables.learner_title(first.model),
                " − ".join(names), f"{d.mean:+.4f} ({d.low:+.4f} to {d.high:+.4f})",
                f"{e.first:,} and {e.second:,} of {e.images:,}",
                score_rows.p_value(e.p_patients), score_rows.p_value(p),
            ])  # fmt: skip
            facts.append({
                "split": split, "model": first.model, "first": names[0], "second": names[1],
                "difference": round(d.mean, 4), "interval": [round(d.low, 4), round(d.high, 4)],
                "errors": [e.first, e.second], "images": e.images, "patients": e.patients,
                "p_patients": e.p_patients, "p_holm": p,
            })  # fmt: skip
    report.facts["whole_and_patched"] = facts
    report.add("### Whole images and patches, patient by patient")
    report.table(
        ["Images", "Model", "Compared", "Difference (95 % interval)", "Errors", "p", "Holm"], rows
    )
    report.add(_HOW)


def _name(entry: Entry) -> str:
    """What an entry sees, and its study where another entry sees the same."""
    what = VARIANT_TITLES[entry.variant or ""].lower()
    return what if entry.is_alone else f"{what} ({entry.study})"


def _difference(first: Entry, second: Entry, split: str) -> over_folds.Difference:
    parts = [
        [p.select(split) for p in both]
        for both in zip(first.predictions, second.predictions, strict=True)
    ]
    return over_folds.difference(
        [
            over_folds.Fold(a.labels, a.patient_ids, a.probabilities, b.probabilities)
            for a, b in parts
        ]
    )
