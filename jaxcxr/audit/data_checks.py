"""The checks of a run's data before training: copies, leaks, and what tells the classes apart."""

from __future__ import annotations

from typing import Any

import numpy as np

from jaxcxr.audit import acquisition, copies
from jaxcxr.data.image_facts import ImageFacts
from jaxcxr.training.examples import SplitExamples


def findings(own: SplitExamples, facts: ImageFacts) -> dict[str, Any]:
    """All checks, as JSON values.

    Returns:
        {"images", "patients", "patients_in_two_splits" (see `copies`), "copies" (see
        `copies.findings`), "acquisition" (see `acquisition.findings`)}.
    """
    examples = own.examples
    return {
        "images": len(examples.ids),
        "patients": len(np.unique(examples.patient_ids)),
        "patients_in_two_splits": copies.patients_in_two_splits(examples, own.splits),
        "copies": copies.findings(examples, own.splits, facts.pairs),
        "acquisition": acquisition.findings(examples, facts),
    }
