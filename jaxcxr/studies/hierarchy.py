"""Hierarchical classification.

The probabilities of several classifiers, each of its own targets, are multiplied along the tree.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from jaxcxr import data, parallel, schema
from jaxcxr.commands import evaluate
from jaxcxr.errors import InputError
from jaxcxr.inference.best import best_variables
from jaxcxr.storage.predictions import Predictions
from jaxcxr.storage.provenance import upstream
from jaxcxr.storage.run_folder import RunFolder
from jaxcxr.training.prepare import prepare

LEARNER = "covid_cxnet_hierarchical"


@schema.checked
def run(config: ConfigDict, workdir: Path) -> None:
    """Predicts all images of the study with the trained levels in `workdir/<level>` and reports.

    Args:
        config: level name -> the config that the level was trained with, from the root of the tree.
        workdir: gets predictions.npz over the classes of the study, and the report.
    """
    with RunFolder.open(workdir, config.to_dict(), active=parallel.is_main()) as folder:
        levels, rows, splits, first = [], None, {}, None
        for name, level in config.items():
            experiment = prepare(level)
            if first is None:
                first, rows, splits = experiment, experiment.study.examples, experiment.study.splits
            elif (
                experiment.own.sha256 != first.own.sha256
                or experiment.record.fingerprint != first.record.fingerprint
            ):
                raise InputError(
                    f"{workdir}: the levels {', '.join(config)} are of different data or splits"
                )
            with RunFolder.open(
                workdir / name, level.to_dict(), active=parallel.is_main()
            ) as trained:
                variables = best_variables(experiment.task, trained)
            names = [s for s in level.predict.splits if len(splits[s])]
            index = np.concatenate([splits[s] for s in names])
            parts = list(experiment.predict(variables, index, count=1))
            probabilities = np.concatenate([part["probabilities"] for part in parts])
            levels.append(
                (probabilities, data.target_map(level.data), data.output_classes(level.data))
            )
        assert first is not None and rows is not None
        predictions = Predictions(
            ids=rows.ids[index],
            patient_ids=rows.patient_ids[index],
            split=np.concatenate([np.full(len(splits[s]), s) for s in names]),
            labels=rows.labels[index],
            probabilities=compose(levels, rows.classes),
            classes=rows.classes,
            fold=first.config.split.fold,
            group_by=first.config.split.group_by,
            learner=LEARNER,
            split_sha256=first.own.sha256,
            dataset_fingerprint=first.record.fingerprint,
            extra={"source": rows.sources[index], "age_group": rows.age_groups[index]},
        )
        if parallel.is_main():
            predictions.save(folder.path / "predictions.npz")
        checkpoints = [upstream(workdir / name / "finished.json") for name in config]
        folder.write_manifest(
            {"task": "hierarchy", "devices": parallel.describe(), "upstream": checkpoints}
        )
        evaluate.report(folder, segments=False)


def compose(
    levels: list[tuple[np.ndarray, dict[str, str], tuple[str, ...]]], classes: tuple[str, ...]
) -> np.ndarray:
    """P(class) as the product of its targets' probabilities along the tree.

    Args:
        levels: from the root, each (probabilities [N, c], class -> target of this level or '',
            targets in the order of the probabilities' columns).
        classes: of the study.

    Returns:
        [N, C] float32. Rows sum to 1 where each level tells apart the classes of one target of the
        level before.

    Raises:
        InputError: they do not sum to 1: the targets are no tree over the classes.
    """
    product = np.ones((len(levels[0][0]), len(classes)))
    for probabilities, target_of, targets in levels:
        for column, name in enumerate(classes):
            if target_of[name]:
                product[:, column] *= probabilities[:, targets.index(target_of[name])]
    if not np.allclose(product.sum(axis=1), 1, atol=1e-4):
        raise InputError(
            "the levels' data.targets are no tree over the classes: the probabilities do not sum "
            "to 1"
        )
    return product.astype(np.float32)
