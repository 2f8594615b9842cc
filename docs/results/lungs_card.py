"""The numbers of the ready-made lungs' card that no run prints, as tables in Markdown.

`python -m docs.results.lungs_card DATA_DIR`, with the folders that docs/DATASETS.md describes. The
weights are those that ship, and the held-out images those of their training. Fifteen minutes on two
CPU cores. The pictures of anything else are those of a test: it needs requirements-test.txt.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy import stats
from tqdm import tqdm

from jaxcxr import shipped
from jaxcxr.data.lung_doubts import ON_ITS_SIDE, UPSIDE_DOWN
from jaxcxr.data.xray_files import XRay, XRayFile, read_file
from jaxcxr.inference import MaskProvider, Predictor, xray_predictions
from jaxcxr.inference.mask_confidence import LIMIT
from jaxcxr.inference.xray_predictions import Result, Source
from jaxcxr.training.experiment import Experiment
from jaxcxr.training.prepare import prepare
from tests.inference import other_pictures
from tests.inference.test_other_pictures import REAL, images, is_flagged

STRUCTURES = ("lung_field", "lung")
# What KCX's own number of a patient tells of the disease.
_GROUPS = {"virus": "viral pneumonia", "bacteria": "bacterial pneumonia", "IM": "normal"}
_ABOVE = (0.3, 0.4, 0.5)  # of the mean mask: the best on the training images counts
_TURNED = 80  # X-rays of each source
_OTHERS = 6  # seeds of pictures of anything else


class Drawn(NamedTuple):
    """X-rays [256, 256] uint8 with masks [256, 256] bool of one structure, and their groups."""

    structure: str
    xrays: list[np.ndarray]
    masks: list[np.ndarray]
    groups: list[str]


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, metavar="DATA_DIR")
    parser.add_argument("--data_dir", default="", help="of prepared images")
    options = parser.parse_args()
    predictors = {structure: ready_made(structure) for structure in STRUCTURES}
    config = shipped.config("lungs", "small")
    config.data.manual_dir, config.data.data_dir = str(options.data), options.data_dir
    config.data.patient_key = "patient_id"  # when they were trained; the preset's is safer
    experiment = prepare(config)
    held_out = {name: drawn(experiment, name) for name in STRUCTURES}
    print_held_out(predictors, experiment, held_out)
    print_confidences(predictors, [*held_out.values(), shenzhen(options.data)])
    print_other_pictures(predictors["lung"])
    files = {name: images(options.data / folder) for name, folder in REAL.items()}
    print_warnings(predictors, files)
    print_turned(predictors["lung"], files)


def ready_made(structure: str) -> Predictor:
    """What predicts one of the structures with the weights that ship."""
    config = shipped.config("lungs")
    config.evaluate.batch_size, config.predict.structure = 16, structure
    return Predictor.of_weights(config)


def drawn(experiment: Experiment, structure: str, split: str = "oof") -> Drawn:
    """The images of a split whose mask is of this structure."""
    number = experiment.config.masks.structures.index(structure) + 1
    found = Drawn(structure, [], [], [])
    for index in experiment.splits[split]:
        mask = np.asarray(experiment.arrays["mask"][index])
        if not (mask == number).any():
            continue
        found.xrays.append(np.asarray(experiment.arrays["image"][index]))
        found.masks.append(mask == number)
        patient = str(experiment.examples.patient_ids[index])
        source = str(experiment.examples.sources[index])
        kinds = [name for word, name in _GROUPS.items() if word in patient]
        found.groups.append(kinds[0] if source == "kcx" else source)
    return found


def shenzhen(data: Path) -> Drawn:
    """All X-rays of Shenzhen at hand, as the network sees them."""
    found = Drawn("lung_field", [], [], [])
    for path in sorted((data / "lungs/cxr").glob("CHNCXR*.jpg")):
        small = Image.open(path).convert("L").resize((256, 256), Image.Resampling.BILINEAR)
        mask = Image.open(data / "lungs/masks" / f"{path.stem}.png").convert("L")
        found.xrays.append(np.asarray(small))
        found.masks.append(np.asarray(mask.resize((256, 256), Image.Resampling.NEAREST)) > 127)
        found.groups.append("shenzhen")
    return found


def results(predictor: Predictor, pictures: Sequence[np.ndarray], what: str) -> list[Result]:
    """What the network makes of pictures [h, w] uint8, in their order."""
    sources = [
        Source(str(n), functools.partial(XRay, pixels, ())) for n, pixels in enumerate(pictures)
    ]
    return list(_progress(predictor, sources, what))


def _progress(predictor: Predictor, sources: Sequence[Source], what: str) -> Iterator[Result]:
    found = xray_predictions.predict(predictor, MaskProvider(), sources)
    return iter(tqdm(found, desc=what, total=len(sources), unit="picture"))


def dice(a: np.ndarray, b: np.ndarray) -> float:
    """Of two masks."""
    return float(2 * (a & b).sum() / max(1, a.sum() + b.sum()))


def print_held_out(
    predictors: Mapping[str, Predictor], experiment: Experiment, held_out: Mapping[str, Drawn]
) -> None:
    """Dice of each group, the share of bright lung that is found, and the mean mask as control."""
    rows = []
    for structure, of in held_out.items():
        found = results(predictors[structure], of.xrays, f"held out, {structure}")
        masks = [result.lungs for result in found]
        own = [dice(m, true) for m, true in zip(_all(masks), of.masks, strict=True)]
        same_for_all = mean_mask(drawn(experiment, structure, "train").masks)
        control = [dice(same_for_all, true) for true in of.masks]
        bright = [
            _bright_recall(*three) for three in zip(of.xrays, _all(masks), of.masks, strict=True)
        ]
        for group in ("", *dict.fromkeys(of.groups)):
            chosen = [n for n, name in enumerate(of.groups) if group in ("", name)]
            means = [np.mean([values[n] for n in chosen]) for values in (own, bright, control)]
            rows.append([structure, group or "all", len(chosen), *(f"{m:.4f}" for m in means)])
    print_table("Held out", ["output", "group", "images", "Dice", "bright lung", "mean mask"], rows)


def mean_mask(masks: Sequence[np.ndarray]) -> np.ndarray:
    """Where the mean of masks is above the number that is best for these masks."""
    mean = np.mean(masks, axis=0)
    candidates = [mean > above for above in _ABOVE]
    return max(candidates, key=lambda c: np.mean([dice(c, mask) for mask in masks]))


def _bright_recall(xray: np.ndarray, found: np.ndarray, true: np.ndarray) -> float:
    """Of the lung's pixels brighter than the median outside it: the share that is found."""
    bright = true & (xray > np.median(xray[~true]))
    return float((found & bright).sum() / bright.sum()) if bright.any() else 1.0


def print_confidences(predictors: Mapping[str, Predictor], sets: Sequence[Drawn]) -> None:
    """Spearman's correlation of confidence and Dice, and the poor masks that are told."""
    true, confidence, worse = [], [], []
    rows = []
    for of in sets:
        copies = [other_pictures.worse(x, n) for n, x in enumerate(of.xrays)]
        found = results(predictors[of.structure], [*of.xrays, *copies], "confidence")
        scores = [
            dice(m, t) for m, t in zip(_all(r.lungs for r in found), of.masks * 2, strict=True)
        ]
        sure = [result.mask_confidence or 0.0 for result in found]
        n = len(of.xrays)
        name = f"{of.structure}, {'Shenzhen' if 'shenzhen' in of.groups else 'held out'}"
        rows.append(_confidence_row(name, scores[:n], sure[:n]))
        true += scores
        confidence += sure
        worse += [False] * n + [True] * n
    as_they_are = ~np.array(worse)
    rows.append(
        _confidence_row("all", np.array(true)[as_they_are], np.array(confidence)[as_they_are])
    )
    rows.append(_confidence_row("all, and a worse copy of each", true, confidence))
    header = ["masks", "number", "Spearman", "mean confidence", "mean Dice", "Dice < .9",
              "of these told at 5 %", f"under {LIMIT}", f"others under {LIMIT}"]  # fmt: skip
    print_table("Confidence", header, rows)


def _confidence_row(name: str, true: Iterable[float], confidence: Iterable[float]) -> list[str]:
    t, c = np.array(list(true)), np.array(list(confidence))
    poor = t < 0.9
    told = c[poor] < np.quantile(c[~poor], 0.05)
    numbers = (stats.spearmanr(t, c)[0], c.mean(), t.mean())
    return [name, str(len(t)), *(f"{x:.3f}" for x in numbers), str(poor.sum()),
            *(f"{x:.3f}" for x in (told.mean(), (c[poor] < LIMIT).mean(),
                                   (c[~poor] < LIMIT).mean()))]  # fmt: skip


def print_other_pictures(predictor: Predictor) -> None:
    """How many pictures of anything else have no lungs or a warning, by kind and seed."""
    rows = {}
    for seed in range(_OTHERS):
        for kind, pixels in other_pictures.pictures(seed).items():
            told = [is_flagged(result) for result in results(predictor, pixels, f"{kind}, {seed}")]
            rows.setdefault(kind, []).append(f"{sum(told)} of {len(told)}")
    header = ["kind", *(f"seed {seed}" for seed in range(_OTHERS))]
    print_table("Pictures of anything else", header, [[k, *cells] for k, cells in rows.items()])


def print_warnings(
    predictors: Mapping[str, Predictor], files: Mapping[str, Sequence[Path]]
) -> None:
    """X-rays as they are that have a warning about the lungs, and which warning."""
    rows, texts = [], {}
    for structure, predictor in predictors.items():
        for name, paths in files.items():
            sources = [Source.of_file(XRayFile(path.name, path)) for path in paths]
            found = list(_progress(predictor, sources, f"{name}, {structure}"))
            if errors := [f"{result.name}: {result.error}" for result in found if result.error]:
                raise SystemExit(f"X-rays of {name} have no mask: {'; '.join(errors[:3])}")
            rows.append([structure, name, len(found), sum(map(is_flagged, found))])
            for text in (t for r in found if is_flagged(r) for t in r.warnings):
                texts[structure, text] = texts.get((structure, text), 0) + 1
    print_table("Frontal X-rays", ["output", "source", "X-rays", "with a warning"], rows)
    print_table(
        "Their warnings", ["output", "warning", "X-rays"], [[*k, n] for k, n in texts.items()]
    )


def print_turned(predictor: Predictor, files: Mapping[str, Sequence[Path]]) -> None:
    """Frontal X-rays upside down and on their side, and how many have the warning for it."""
    chosen = [
        read_file(XRayFile(paths[n].name, paths[n])).pixels
        for paths in files.values()
        for n in sorted(np.random.default_rng(0).permutation(len(paths))[:_TURNED].tolist())
    ]
    turns = {
        "half a turn": (lambda x: np.rot90(x, 2), UPSIDE_DOWN),
        "top for bottom": (np.flipud, UPSIDE_DOWN),
        "a quarter turn": (np.rot90, ON_ITS_SIDE),
        "three quarters": (lambda x: np.rot90(x, 3), ON_ITS_SIDE),
    }
    rows = []
    for name, (turn, warning) in turns.items():
        found = results(predictor, [np.ascontiguousarray(turn(x)) for x in chosen], name)
        told = [warning in result.warnings for result in found]
        rows.append([name, len(told), sum(told), sum(map(is_flagged, found))])
    header = ["turned", "X-rays", "with the warning for it", "with any about the lungs"]
    print_table("Turned", header, rows)


def print_table(title: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """In Markdown."""
    print(f"\n## {title}\n\n| {' | '.join(header)} |\n|{' --- |' * len(header)}")
    for row in rows:
        print(f"| {' | '.join(map(str, row))} |", flush=True)


def _all(masks: Iterable[np.ndarray | None]) -> list[np.ndarray]:
    """Masks that are there, of a network that gives all of its X-rays one."""
    found = list(masks)
    assert all(mask is not None for mask in found)
    return [mask for mask in found if mask is not None]


if __name__ == "__main__":
    main()
