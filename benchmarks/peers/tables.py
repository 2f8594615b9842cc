"""The ensemble in PyTorch, metrics by scikit-learn, intervals by plain NumPy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import experiments
from benchmarks.predictions import load, load_numbers
from benchmarks.protocol import Prepared


def ensemble(folder: Path, *, config: str, fields: Mapping[str, Any], where: str) -> Prepared:
    """An epoch of FLANNEL's neural weight module: tanh of a linear layer on the outer product,
    focal loss, Adam.
    """
    import torch

    from benchmarks.peers import device

    c = experiments.load(config, fields)
    table, numbers = load(folder), load_numbers(folder)
    inputs, labels = (torch.from_numpy(table[name]) for name in ("inputs", "labels"))
    learners, classes = inputs.shape[1:]
    alpha = (c.loss.alpha_scale / torch.bincount(labels)).to(where)
    linear = torch.nn.Linear((learners * classes) ** 2, learners)
    linear.load_state_dict({name: torch.from_numpy(value) for name, value in numbers.items()})
    linear.to(where)
    o, size = c.optim, c.train.batch_size
    optimizer = torch.optim.Adam(
        linear.parameters(), lr=o.learning_rate, weight_decay=o.weight_decay, fused=True
    )
    first: dict[str, np.ndarray] = {}

    def step(x: Any, y: Any) -> Any:
        flat = x.flatten(1)
        weights = torch.tanh(linear((flat[:, :, None] * flat[:, None]).flatten(1)))
        q = torch.softmax((weights[:, :, None] * x).sum(1), 1).gather(1, y[:, None])[:, 0]
        losses = -alpha[y] * (1 - q) ** c.loss.gamma * torch.log(q + 1e-9)
        loss = losses.sum() if c.loss.reduction == "sum" else losses.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    def run() -> None:
        losses = [
            step(inputs[i : i + size].to(where), labels[i : i + size].long().to(where))
            for i in range(0, len(inputs) - size + 1, size)
        ]
        mean = torch.stack(losses).mean().cpu().numpy()
        device.wait(where)
        if not first:
            found = {
                name: value.detach().cpu().numpy().copy()
                for name, value in linear.state_dict().items()
            }
            first.update(loss=mean, **found)

    return Prepared(run, lambda: first, lambda: device.measures(where))


def macro_f1(folder: Path) -> Prepared:
    """scikit-learn's."""
    from sklearn import metrics

    table = load(folder)
    predicted, classes = table["probabilities"].argmax(axis=1), table["probabilities"].shape[1]
    found: dict[str, float] = {}

    def run() -> None:
        found["macro_f1"] = metrics.f1_score(
            table["labels"],
            predicted,
            labels=range(classes),
            average="macro",
            zero_division=0,  # pyright: ignore
        )

    return Prepared(run, lambda: {"macro_f1": np.asarray(found["macro_f1"])})


def bootstrap(folder: Path, *, draws: int) -> Prepared:
    """A loop over draws, and in each over patients and classes, as one writes it down first."""
    table = load(folder)
    labels, probabilities = table["labels"], table["probabilities"]
    predicted, classes = probabilities.argmax(axis=1), probabilities.shape[1]
    names = np.unique(table["patients"])
    rows_of = [np.flatnonzero(table["patients"] == name) for name in names]
    found: list[np.ndarray] = []

    def scores(rows: np.ndarray) -> list[float]:
        y, guess = labels[rows], predicted[rows]
        of_classes: list[list[float]] = []
        for c in range(classes):
            hits = int(((y == c) & (guess == c)).sum())
            support, claimed = int((y == c).sum()), int((guess == c).sum())
            score = probabilities[rows, c]
            inside, outside = score[y == c], np.sort(score[y != c])
            places = np.searchsorted(outside, inside, "left") + np.searchsorted(
                outside, inside, "right"
            )
            f1 = 2 * hits / (support + claimed)
            of_classes.append(
                [hits / claimed, hits / support, f1, float(places.mean()) / (2 * len(outside))]
            )
        macro_f1 = sum(row[2] for row in of_classes) / classes
        return [
            float((y == guess).mean()),
            macro_f1,
            *(value for row in of_classes for value in row),
        ]

    def run() -> None:
        rng = np.random.default_rng(0)
        values = []
        for _ in range(draws):
            drawn = rng.integers(len(names), size=len(names))
            values.append(scores(np.concatenate([rows_of[i] for i in drawn])))
        found[:] = [np.quantile(values, [0.025, 0.975], axis=0)]

    return Prepared(run, lambda: {"intervals": found[0]})
