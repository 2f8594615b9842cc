"""The other data set of `evaluate.data`: what of it a run's own data know nothing of."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Mapping

import numpy as np
from ml_collections import ConfigDict

from jaxcxr import data
from jaxcxr.commands import segmentation_images
from jaxcxr.data import leakage
from jaxcxr.data.dataset import Dataset
from jaxcxr.errors import InputError
from jaxcxr.report.document import read_predictions
from jaxcxr.storage import files
from jaxcxr.storage.run_files import MANIFEST
from jaxcxr.storage.run_folder import RunFolder
from jaxcxr.tasks import is_classifier

FOLDER = "external"


def name_of(config: ConfigDict) -> str:
    """The name of its folder: of its builders."""
    return "-".join(module.rpartition(".")[2] for module in config.evaluate.data.builders)


@dataclasses.dataclass(frozen=True)
class OwnData:
    """The data that the run was made with, all splits.

    Images, their patients by every key, and the section of the config that opened them.
    """

    dataset: Dataset
    patients: np.ndarray
    section: ConfigDict


def own_data(config: ConfigDict, folder: RunFolder) -> OwnData:
    """The run's own data, without pixels, compared with what its manifest says of them.

    Raises:
        InputError: it is not there, or is not what the run was made with.
    """
    section = config.data.copy_and_resolve_references()
    saved = folder.config().get("data", {})
    for name in ("manual_dir", "data_dir"):
        section[name] = section[name] or saved.get(name, "")
    where = (
        "evaluate.data is measured without the patients of the run's own data "
        "(--config.data.manual_dir)"
    )
    try:
        dataset = data.open_dataset(section)
    except InputError as error:
        raise InputError(f"{where}, which are not there: {error}") from error
    recorded = folder.read_json(MANIFEST, {}).get("dataset", {})
    ids = read_predictions(folder.path).ids if is_classifier(config) else _held_out(folder)
    # Else some were unreadable or had an empty mask, and are in no split.
    whole = len(dataset) == recorded.get("images")
    changed = whole and dataset.fingerprint != recorded["fingerprint"]
    if changed or len(dataset) < recorded.get("images", 0) or not np.isin(ids, dataset.ids).all():
        raise InputError(f"{where}, and what is there now is not what {folder.path} was made with")
    return OwnData(dataset, leakage.patient_names(dataset, section), section)


def _held_out(folder: RunFolder) -> list[str]:
    """Ids of a segmenter's held-out images; [] of a run from before these were written."""
    path = folder.path / segmentation_images.CSV
    if not path.exists():
        return []
    with (
        files.reading(path, "put the file back."),
        open(path, newline="", encoding="utf-8") as table,
    ):
        return [row["id"] for row in csv.DictReader(table)]


def unseen(
    config: ConfigDict,
    dataset: Dataset,
    section: ConfigDict,
    own: OwnData,
    left_out: dict[str, int],
) -> tuple[np.ndarray, list[str]]:
    """The rows that the run's own data know nothing of; counts the others.

    With a warning where they share a source.
    """
    drop = config.evaluate.same_source == "left_out"
    patients = leakage.patient_names(dataset, section)
    leaked = leakage.find_leakage(
        dataset,
        patients,
        own.dataset,
        own.patients,
        copies=leakage.copied(dataset, section, own.dataset, own.section),
        sources=drop,
    )
    left_out |= {reason: len(rows) for reason, rows in leaked.items()}
    rows = np.setdiff1d(np.arange(len(dataset)), np.concatenate(list(leaked.values())))
    if not len(rows):
        hint = (
            "; evaluate.same_source=kept measures on other patients of the same source"
            if drop
            else ""
        )
        raise InputError(
            "no image of evaluate.data is left that the run's own data do not have: "
            f"{listed(left_out)}{hint}"
        )
    shared = np.isin(dataset.sources[rows], own.dataset.sources)
    if not shared.any():
        return rows, []
    sources = ", ".join(np.unique(dataset.sources[rows][shared]).tolist())
    return rows, [
        (
            f"{int(shared.sum()):,} of {len(rows):,} images are of a source that the run's own "
            f"data have ({sources}): they are other patients, but no external test."
        )
    ]


def listed(left_out: Mapping[str, int]) -> str:
    """Reasons with their numbers of images."""
    return "; ".join(f"{reason} ({count:,})" for reason, count in left_out.items() if count)
