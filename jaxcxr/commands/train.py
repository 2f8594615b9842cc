"""Trains one experiment, predicts with its best checkpoint and reports.

Everything a run folder holds.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from jaxcxr import parallel, schema, weights
from jaxcxr.commands import check_data, evaluate, predict, scoring, training_pictures
from jaxcxr.commands.export_spec import normalisation
from jaxcxr.errors import InputError
from jaxcxr.inference import best
from jaxcxr.inference.predictor import check_kept_head
from jaxcxr.state import Variables
from jaxcxr.storage import run_checksums
from jaxcxr.storage.checkpoint import Checkpointer
from jaxcxr.storage.metric_writer import MetricWriter
from jaxcxr.storage.provenance import upstream
from jaxcxr.storage.run_folder import RunFolder
from jaxcxr.training import frozen_features, loop
from jaxcxr.training.composition import composition
from jaxcxr.training.examples import SplitExamples
from jaxcxr.training.experiment import Experiment
from jaxcxr.training.prepare import prepare

# Share of the first weights in an average that is none of theirs any more.
_OF_THE_FIRST = 0.05


@schema.checked
def run(config: ConfigDict, workdir: Path) -> None:
    """Train, predict and evaluate; a finished run says so and changes nothing."""
    with RunFolder.open(workdir, config.to_dict(), active=parallel.is_main()) as folder:
        if folder.is_finished("train"):
            run_checksums.check(folder)
            best.check_best(folder)
            if parallel.is_main():
                print(f"{workdir} is finished; nothing to do. Its result:\n")
                print(evaluate.closing(folder))
            return
        is_fitted = folder.is_finished("fit")
        if not is_fitted:
            check(config, has_checkpoints=(folder.path / best.CHECKPOINTS).exists())
        experiment = prepare(config)
        if not is_fitted:
            check_split(experiment)
            check_average(experiment)
        run_checksums.unseal(folder)
        folder.write_manifest(manifest(experiment) | _data_checks(experiment))
        predict.keep_reference(experiment, folder)
        if not is_fitted:
            fit(experiment, folder)
        keep_best_checkpoint(experiment, folder)
        scoring.predict_and_score(experiment, folder)
        evaluate.report(folder, segments=not experiment.task.has_classes)
        run_checksums.seal(folder)
        folder.mark_finished("train", {"split_sha256": experiment.own.sha256})


def _data_checks(experiment: Experiment) -> dict[str, object]:
    """What the manifest says of the data; nothing of an ensemble, whose learners looked at them."""
    dataset = experiment.record.dataset
    if dataset is None:
        return {}
    return {"data_checks": check_data.of_training(experiment.config, dataset, experiment.own)}


def check(config: ConfigDict, *, has_checkpoints: bool) -> None:
    """Raises InputError for what training would only meet later, before any data are opened.

    Args:
        config: of what is to be trained.
        has_checkpoints: training has begun, and needs no weights to begin with.
    """
    if config.train.get("cache_features"):
        frozen_features.check(config)
    if config.model.pretrained and not has_checkpoints:
        check_pretrained(config)


def check_pretrained(config: ConfigDict) -> None:
    """Raises InputError unless the weights of `model.pretrained` are there and can be read.

    And unless it is known how their input is normalised. A file is read whole, as damage is found
    in no other way.
    """
    m = config.model
    with weights.from_config(m.pretrained):
        weights.check_network(m.pretrained, m.name, new_head=m.head == "new")
    source = find_pretrained(m)
    with weights.from_config(m.pretrained):
        weights.check(source)
    normalisation(config)


def check_split(experiment: Experiment) -> None:
    """Raises InputError where there is nothing to choose the checkpoint by."""
    if not len(experiment.splits["valid"]):
        raise InputError(
            f"split.valid_fraction={experiment.config.split.valid_fraction} leaves no validation "
            "patients, which choose the checkpoint; raise it"
        )


def check_average(experiment: Experiment) -> None:
    """Raises InputError where the average would still be of the weights that training begins with.

    Patience may stop a training earlier than its plan says; that is not known here.
    """
    average, steps = experiment.config.optim.average, loop.plan(experiment).steps
    if not steps or average**steps <= _OF_THE_FIRST:
        return
    most = math.floor(1000 * _OF_THE_FIRST ** (1 / steps)) / 1000
    raise InputError(
        f"optim.average={average:g} leaves {100 * average**steps:.0f} % of the first weights in "
        f"the average after this training's {steps:,} steps: set --config.optim.average={most:g} "
        "or less, or train longer"
    )


def find_pretrained(model: ConfigDict) -> weights.Source:
    """The weights that a `model` section names, fetched by one process; the others find them."""
    with weights.from_config(model.pretrained):
        if not parallel.is_main():
            parallel.barrier("weights")
            return weights.find(model.pretrained)
        try:
            return weights.find(model.pretrained)
        finally:
            parallel.barrier("weights")


def fit(experiment: Experiment, folder: RunFolder) -> None:
    """The training stage alone.

    Leaves checkpoints, metrics.jsonl, training.json and its timing behind.
    """
    config = experiment.config
    with (
        checkpointer(experiment, folder) as checkpoints,
        MetricWriter(folder.path, active=parallel.is_main()) as writer,
    ):
        if parallel.is_main():
            training_pictures.write_inputs(experiment, folder, writer)
            check_data.write_pictures(experiment.record.dataset, folder)
        pretrained: Callable[[Variables], Variables] | None = None
        if config.model.pretrained:
            pretrained = functools.partial(with_weights, experiment, folder)
        if config.train.get("cache_features"):
            # Read here, once: features need them before the loop has its arrays.
            first = loop.first_variables(experiment, checkpoints, pretrained)
            experiment = frozen_features.with_features(experiment, first)
            pretrained = lambda _: first  # noqa: E731
        result = loop.fit(
            experiment,
            checkpoints,
            writer,
            valid_count=valid_count(config),
            description=f"{config.task} {config.model.name}",
            pretrained=pretrained,
        )
        patches = config.patches.train_count if "patches" in config else 1
        images = result["images"]
        # Its files are written in another thread. What is marked as finished is never trained
        # again, so the mark comes after the last of them, and before the steps that training could
        # resume from go.
        checkpoints.check(result["best_step"])
        folder.add_timing(
            "train", seconds=result.pop("seconds"), images=images, patches=images * patches
        )
        folder.write_json(best.TRAINING, result)
        folder.mark_finished("fit", {"best_step": result["best_step"]})


def keep_best_checkpoint(experiment: Experiment, folder: RunFolder) -> None:
    """Deletes what only training needs, on every start after it.

    A kill may have come before or amid.
    """
    with checkpointer(experiment, folder) as checkpoints:
        checkpoints.keep_only(best.training_result(folder)["best_step"])


def with_weights(experiment: Experiment, folder: RunFolder, first: Variables) -> Variables:
    """The first variables with the weights of `model.pretrained` in them.

    `pretrained.json` says which and how.
    """
    c = experiment.config.model
    source = find_pretrained(c)
    with weights.from_config(c.pretrained):
        loaded = weights.load(source, first, arch=c.name, new_head=c.head == "new")
        if c.head == "pretrained":
            check_kept_head(experiment.config, source, loaded.header)
    entry = source.entry
    mean, std = normalisation(experiment.config)
    says, trained_with = f"the header of {source.path}", loaded.header
    if entry:
        says = f"the catalogue's {entry.name}"
        trained_with = {
            name: ",".join(map(str, values))
            for name, values in (("mean", entry.mean), ("std", entry.std))
        }
    doubts = [
        *loaded.doubts,
        *weights.header.other_normalisation(says, trained_with, mean=mean, std=std),
    ]
    if parallel.is_main():
        for doubt in doubts:
            print(f"WARNING: {doubt}")
    if loaded.checked_by == weights.NO_HASH and parallel.is_main():
        print(
            f"{source.path} carries no hash: its values are finite and its shapes fit, more "
            "cannot be checked"
        )
    folder.write_json(
        "pretrained.json",
        {
            "name": c.pretrained,
            "file": upstream(source.path),
            "licence": entry.licence if entry else "",
            "paper": entry.paper if entry else "",
            # What an export says of the network, such as that it was trained on phantoms.
            "note": loaded.header.get("note", ""),
            "not_in_the_file": loaded.newly_initialized,
            "not_used": loaded.unused,
            "checked_by": loaded.checked_by,
            "doubts": doubts,
        },
    )
    return loaded.variables


def checkpointer(experiment: Experiment, folder: RunFolder) -> Checkpointer:
    """The run's checkpoints."""
    return Checkpointer(
        folder.path / best.CHECKPOINTS,
        config_json=experiment.config.to_json_best_effort(),
    )


def valid_count(config: ConfigDict) -> int:
    """Patches an image in evaluations while training; 0 where the task draws none."""
    return config.patches.valid_count if "patches" in config else 0


def _excluded(experiment: Experiment) -> dict[str, object]:
    if experiment.record.dropped is None:
        return {}
    dropped = {reason: found.to_json() for reason, found in experiment.record.dropped.items()}
    return {"dropped": dropped, "notices": list(experiment.record.notices)}


def counts_by_split(own: SplitExamples) -> dict[str, dict[str, dict[str, dict[str, int]]]]:
    """Numbers of images, which the report needs of images that are never predicted, too.

    Returns:
        split, or "all" for every image once -> {"source": {source: {class: images}}, "age_group":
        {age group: {class: images}}}, both with "" where it is unknown; {} without classes.
    """
    rows = own.examples
    if not rows.classes:
        return {}
    counts: dict[str, dict[str, dict[str, dict[str, int]]]] = {}
    everything = np.unique(np.concatenate(list(own.splits.values())))
    for split, index in {"all": everything, **own.splits}.items():
        for field, groups in (("source", rows.sources), ("age_group", rows.age_groups)):
            table = counts.setdefault(split, {}).setdefault(field, {})
            for group in np.unique(groups[index]).tolist():
                labels = rows.labels[index[groups[index] == group]]
                of_class = np.bincount(labels, minlength=len(rows.classes)).tolist()
                table[group] = dict(zip(rows.classes, of_class, strict=True))
    return counts


def manifest(experiment: Experiment) -> dict[str, object]:
    """What made this run, beside the versions that the folder adds itself."""
    rows, config = experiment.examples, experiment.config
    return {
        "task": config.task,
        "seed": config.seed,
        "dataset": {
            "builders": dict(experiment.record.builders),
            "images": len(rows.ids),
            "patients": len(set(rows.patient_ids.tolist())),
            "classes": list(rows.classes),
            "fingerprint": experiment.record.fingerprint,
            **_excluded(experiment),
        },
        "masks": dict(experiment.record.mask_summary),
        "split": {
            "sha256": experiment.own.sha256,
            "sizes": {name: len(index) for name, index in experiment.splits.items()},
            "group_by": config.split.group_by,
            "counts": counts_by_split(experiment.own),
            "composition": composition(experiment.own),
        },
        "devices": parallel.describe(),
        "upstream": [upstream(path) for path in experiment.record.upstream],
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
