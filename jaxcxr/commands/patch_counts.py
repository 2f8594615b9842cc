"""How many patches an image needs: the score and the time of a prediction with K of them.

Patched FLANNEL takes 100 (paper 2.4) and says neither what fewer would give nor what they cost.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict
from tqdm import tqdm

from jaxcxr import parallel, schema
from jaxcxr.errors import InputError
from jaxcxr.inference.best import best_variables
from jaxcxr.inference.predictor import Predictor
from jaxcxr.metrics.by_rows import BootstrapScores
from jaxcxr.report import plots
from jaxcxr.report.document import SPLIT_TITLES
from jaxcxr.report.patch_counts_curve import patch_counts_curve
from jaxcxr.report.tables import learner_title
from jaxcxr.storage import names
from jaxcxr.storage.run_folder import RunFolder
from jaxcxr.training.experiment import Experiment
from jaxcxr.training.prepare import prepare

FOLDER = "patch_counts"
COLUMNS = ("patches", "draws", "macro_f1", "lowest", "highest", "accuracy", "seconds_per_image")
NOTE = "Research use only. Not for diagnosis."
_ENOUGH = 0.005  # of macro-F1 below that of all patches


@schema.checked
def run(config: ConfigDict, workdir: Path) -> None:
    """`--config.run=patch_counts` of a finished patched classifier.

    Predicts the out-of-fold images, or the test images of a run without, from `patch_counts.most`
    patches one by one and scores each part of them: 100 patches are 10 draws of 10, whose mean,
    least and greatest macro-F1 are given; the more patches, the fewer draws there are to differ.
    Their mean probabilities are those of a prediction with K patches, which are means, too. The
    times are of predictions with K patches as they come, of `patch_counts.timed` images after a
    first batch; a batch that is not full takes the time of a full one.

    Writes `patch_counts/patch_counts.csv` and `patch_counts/patch_counts.png`.
    """
    if "patches" not in config or not config.patches.enabled:
        raise InputError(
            "patch_counts is of classifiers that see patches, and this one sees the whole image "
            "(patches.enabled=False)"
        )
    counts = _counts(config)
    with RunFolder.open(workdir, config.to_dict(), active=parallel.is_main()) as folder:
        experiment = prepare(config)
        variables = best_variables(experiment.task, folder)
        # The test images must not choose the number of patches.
        split = "oof" if len(experiment.splits["oof"]) else "test"
        index = experiment.splits[split]
        if not len(index):
            raise InputError("split.test_fraction leaves no test images to score")
        predictor = experiment.predictor(variables)
        of_patches = _of_single_patches(experiment, predictor, index, most=config.patch_counts.most)
        labels = experiment.examples.labels[index]
        timed = index[: config.patch_counts.timed]
        rows = []
        for count in counts:
            seconds = _seconds_per_image(experiment, predictor, timed, count=count)
            rows.append((count, *scores(of_patches, labels, count=count), seconds))
        lines = [names.csv_line(COLUMNS)]
        lines += [
            names.csv_line([*row[:2], *(round(float(value), 6) for value in row[2:])])
            for row in rows
        ]
        folder.write_text(f"{FOLDER}/patch_counts.csv", "".join(lines))
        images = f"{len(index):,} {SPLIT_TITLES[split]}"
        title = f"{learner_title(config.model.name)}, {images} (research use only)"
        figure = patch_counts_curve(rows, title=title)
        folder.write_bytes(f"{FOLDER}/patch_counts.png", plots.to_png(figure))
    if parallel.is_main():
        print(f"{images} of {len(np.unique(experiment.examples.patient_ids[index])):,} patients")
        print(_table(rows))
        print(sentence(rows, test=split == "test"))
        print(f"wrote {workdir / FOLDER}/patch_counts.csv and patch_counts.png. {NOTE}")


def _counts(config: ConfigDict) -> list[int]:
    p = config.patch_counts
    above = [count for count in p.counts if count > p.most]
    if above or not p.counts:
        raise InputError(
            f"patch_counts.counts={tuple(p.counts)} must name numbers of patches up to "
            f"patch_counts.most={p.most}"
        )
    return sorted(set(p.counts))


def _of_single_patches(
    experiment: Experiment, predictor: Predictor, index: np.ndarray, *, most: int
) -> np.ndarray:
    """[most, N, C] probabilities of each patch of the images, drawn independently."""
    total = len(experiment.examples.ids)
    found = []
    progress = {"desc": "patch_counts", "unit": "patch", "disable": not parallel.is_main()}
    with tqdm(total=most * len(index), **progress) as bar:
        for draw in range(most):
            numbers = np.arange(total) + draw * total  # other patches than any other draw's
            parts = []
            for part in predictor.rows(experiment.inputs, index, count=1, numbers=numbers):
                parts.append(part["probabilities"])
                bar.update(len(parts[-1]))
            found.append(np.concatenate(parts))
    return np.stack(found)


def scores(
    of_patches: np.ndarray, labels: np.ndarray, *, count: int
) -> tuple[int, float, float, float, float]:
    """Scores of predictions from `count` patches.

    Args:
        of_patches: [M, N, C] probabilities, or votes, of each of M patches of N images.
        labels: [N].
        count: K, at most M.

    Returns:
        (draws M // K, their mean, least and greatest macro-F1, their mean accuracy).
    """
    draws = len(of_patches) // count
    found = []
    for draw in range(draws):
        mean = of_patches[draw * count : (draw + 1) * count].mean(axis=0)
        of_all = BootstrapScores(labels, mean).of_all()
        found.append((of_all["macro_f1"], of_all["accuracy"]))
    macro, accuracy = np.array(found).T
    return draws, macro.mean(), macro.min(), macro.max(), accuracy.mean()


def _seconds_per_image(
    experiment: Experiment, predictor: Predictor, index: np.ndarray, *, count: int
) -> float:
    """Of a prediction with K patches; the first batch, which compiles, is not timed."""
    batch = experiment.config.evaluate.batch_size
    first = index[:batch]
    for _ in predictor.rows(experiment.inputs, first, count=count):
        pass
    started = time.monotonic()
    for _ in predictor.rows(experiment.inputs, index, count=count):
        pass
    return (time.monotonic() - started) / (math.ceil(len(index) / batch) * batch)


def _table(rows: Sequence[tuple[float, ...]]) -> str:
    lines = ["patches  macro-F1 (least to greatest of the draws)  seconds per image"]
    for count, draws, macro, low, high, _, seconds in rows:
        spread = f"{macro:.4f} ({low:.4f} to {high:.4f} of {draws})"
        lines.append(f"{count:7}  {spread:42}  {seconds:.3f}")
    return "\n".join(lines)


def sentence(rows: Sequence[tuple[float, ...]], *, test: bool = False) -> str:
    """From which number of patches on more of them do not change macro-F1.

    Args:
        rows: of COLUMNS, by growing number of patches.
        test: whether they are of the test images.
    """
    *fewer, most = rows
    if not fewer:
        return "one number of patches alone tells nothing of fewer"
    enough = most[0]
    for count, _, macro, *_ in reversed(fewer):
        if abs(macro - most[2]) > _ENOUGH:
            break
        enough = count
    if enough == most[0]:
        return (
            f"with K = {fewer[-1][0]} macro-F1 is still more than {_ENOUGH} from that with "
            f"K = {enough}"
        )
    where = ", on the test images, which should not choose" if test else ""
    return (
        f"with {enough} or more patches macro-F1 is within {_ENOUGH} of that of {most[0]}{where}; "
        f"another training can take as many: --config.patches.eval_count={enough}"
    )
