"""predictions.npz."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from jaxcxr.storage.predictions import Predictions
from tests.faults.limits import mutants
from tests.faults.promises import Context, promise


@promise("mutants/predictions", "a damaged predictions.npz is one error", full=10_000, quick=100)
def predictions(context: Context) -> Iterator[str]:
    path = context.folder / "predictions.npz"
    n = 30
    Predictions(
        ids=np.array([f"image-{i}" for i in range(n)]),
        patient_ids=np.array([f"patient-{i // 2}" for i in range(n)]),
        split=np.array(["train", "valid", "test"] * 10),
        labels=np.arange(n) % 4,
        probabilities=np.full((n, 4), 0.25, np.float32),
        classes=("covid19", "viral", "bacterial", "normal"),
        fold=0,
        learner="densenet161",
        split_sha256="0" * 64,
        dataset_fingerprint="1" * 64,
    ).save(path)

    def read(content: bytes) -> None:
        path.write_bytes(content)
        Predictions.load(path)

    yield from mutants(context, [path.read_bytes()], read)
