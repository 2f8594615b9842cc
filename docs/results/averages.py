"""Means of networks beside each other: `python -m docs.results.averages SET [SET ...]`.

A SET is a learner's or ensemble's folder (fold0/, fold1/, ... below it), or several joined by "+",
whose probabilities are averaged; "FOLDER@1" takes of fold k the network of the next fold, which
sees the same test images and was trained on other patients. Prints macro-F1 of each set and the
first one's differences to the others, with 95 % intervals by bootstrap over patients and an exact
test by patient. `--without ID ...` leaves images out.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxcxr.metrics.by_rows import BootstrapScores
from jaxcxr.metrics.over_folds import Fold, difference
from jaxcxr.storage.predictions import Predictions, check_same_split

SPLITS = ("test", "oof")


class Part(NamedTuple):
    """Of one fold: labels [N], patients [N], and the mean of a set's probabilities [N, C]."""

    labels: np.ndarray
    patient_ids: np.ndarray
    probabilities: np.ndarray


def parts(text: str, split: str, without: Sequence[str] = ()) -> list[Part] | None:
    """A set's images of a split, fold by fold; None where another fold's network saw them."""
    members = []
    for name in text.split("+"):
        folder, _, shift = name.partition("@")
        if shift and split == "oof":
            return None
        paths = sorted(Path(folder).glob("fold*/predictions.npz"))
        if not paths:
            raise SystemExit(f"{folder} has no fold*/predictions.npz")
        members.append(np.roll(np.array(paths), -int(shift or 0)).tolist())
    found = []
    for fold in zip(*members, strict=True):
        files = [Predictions.load(path).select(split) for path in fold]
        check_same_split(files, splits=(split,))
        rows = ~np.isin(files[0].ids, without)
        mean = np.mean([file.probabilities for file in files], axis=0)
        found.append(Part(files[0].labels[rows], files[0].patient_ids[rows], mean[rows]))
    return found


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="+", metavar="SET")
    parser.add_argument("--without", nargs="*", default=(), metavar="ID")
    arguments = parser.parse_args()
    for split in SPLITS:
        sets = {text: parts(text, split, arguments.without) for text in arguments.sets}
        print(f"\n{split}")
        for text, own in sets.items():
            if own is not None:
                scores = [_macro_f1(part) for part in own]
                each = ", ".join(f"{score:.4f}" for score in scores)
                print(f"  {np.mean(scores):.4f}  ({each})  {text}")
        first = sets[arguments.sets[0]]
        for text, other in [*sets.items()][1:]:
            if first is not None and other is not None:
                print(f"  {_difference(first, other)}  minus {text}")


def _macro_f1(part: Part) -> float:
    scores = BootstrapScores(part.labels, part.probabilities)
    return float(scores.overall(np.ones((len(part.labels), 1)))[1, 0])


def _difference(first: list[Part], other: list[Part]) -> str:
    folds = [
        Fold(a.labels, a.patient_ids, a.probabilities, b.probabilities)
        for a, b in zip(first, other, strict=True)
    ]
    found = difference(folds)
    errors = found.errors
    return (
        f"{found.mean:+.4f} ({found.low:+.4f} to {found.high:+.4f}), "
        f"{errors.only_first} against {errors.only_second} errors, p = {errors.p_patients:.2g}"
    )


if __name__ == "__main__":
    main()
