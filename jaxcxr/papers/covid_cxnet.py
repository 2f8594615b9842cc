"""COVID-CXNet (Haghanifar et al., 2020), its tables."""

from __future__ import annotations

# Model -> title, accuracy, its range over ten runs, F-score of COVID-19, images of the data set.
TABLE_6 = {
    "base": ("Base Model v2", 0.9868, (0.9400, 0.9930), 0.94, 3400),
    "cxnet_v1": ("COVID-CXNet v1", 0.9904, (0.9643, 0.9954), 0.96, 3628),
    "cxnet_v2": ("COVID-CXNet v2", 0.9862, (0.9714, 0.9928), 0.94, 3628),
    "multiclass": ("Flat Multiclass COVID-CXNet", 0.8104, (0.8025, 0.8486), 0.85, 7700),
    "hierarchical": ("Hierarchical Multiclass COVID-CXNet", 0.8721, (0.8603, 0.8912), 0.92, 7700),
}

NOT_COMPARABLE = (
    "The published models were tested on the images that chose their checkpoints, split without "
    "regard to patients, and started from CheXNet's weights (base model: random values). The "
    "published ranges are over ten trainings."
)
