"""Further ensembles of a study's learners, `study.ensembles`: each a few changes of its own."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from jaxcxr import hints, schema
from jaxcxr.errors import InputError
from jaxcxr.storage.names import further_ensemble
from jaxcxr.storage.predictions import Predictions

# The study decides the rest: data, split, seed and learners are those of all ensembles.
CHANGEABLE = r"loss\..+|optim\..+|train\..+|model\.(?!name$).+|inputs\.(stacking|base_output)"
_IN_SAMPLE = ("train", "valid", "oof", "test")


def configs(config: ConfigDict) -> dict[str, ConfigDict]:
    """Folder of each further ensemble -> its config.

    Raises:
        InputError: an item changes nothing, or what is the study's, or has no value of a field; or
            two ensembles are one.
    """
    made: dict[str, ConfigDict] = {}
    text_of = {_content(config.ensemble): "the study's ensemble (config.ensemble)"}
    for text in config.study.ensembles:
        try:
            ensemble = schema.changed(config.ensemble, _changes(text))
            schema.check(ensemble)
        except InputError as error:
            raise InputError(f"study.ensembles has {text!r}: {_in_an_item(error)}") from error
        if twin := text_of.get(_content(ensemble)):
            raise InputError(
                f"study.ensembles has {text!r}, which is the same as {twin}: leave it out"
            )
        text_of[_content(ensemble)] = f"its {text!r}"
        made[further_ensemble(text)] = ensemble
    return made


def _content(ensemble: ConfigDict) -> str:
    return ensemble.to_json_best_effort(sort_keys=True)


def _in_an_item(error: InputError) -> str:
    """A message about a field of the ensemble, which here is named in a text."""
    return re.sub(r"--config\.|\bconfig\.(?=[a-z])", "", str(error))


def _changes(text: str) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    for change in text.split(","):
        field, equals, value = (part.strip() for part in change.partition("="))
        if not equals or "/" in change:
            raise InputError(
                "give field=value, such as 'loss.gamma=2', or several with commas between them"
            )
        if field in changes:
            raise InputError(f"{field} stands there twice")
        if not re.fullmatch(CHANGEABLE, field):
            raise InputError(
                f"{field} is the same for all ensembles of a study; loss, optim, train, model, "
                "inputs.stacking and inputs.base_output can differ"
            )
        try:
            changes[field] = ast.literal_eval(value)
        except (SyntaxError, ValueError):
            changes[field] = value
    return changes


def check_in_sample(
    config: ConfigDict,
    ensembles: Mapping[str, ConfigDict],
    workdir: Path,
    others: Sequence[Path],
) -> None:
    """Raises InputError where stacking as published would miss the learners' training images.

    Before anything is trained: a learner whose predictions are there already is asked for them,
    another for its `predict.splits`.

    Args:
        config: of the study.
        ensembles: all of them, by folder.
        workdir: of the study.
        others: folders of learners of other studies.
    """
    published = [name for name, e in ensembles.items() if e.inputs.stacking == "in_sample"]
    if not published:
        return
    own = {workdir / "learners" / name: name for name in config.study.learners}
    for learner in (*own, *others):
        for fold in range(config.study.folds):
            folder = learner / f"fold{fold}"
            if (folder / "finished.json").exists():
                splits = set(Predictions.load(folder / "predictions.npz").split.tolist())
                if not splits >= set(_IN_SAMPLE):
                    raise InputError(_of_finished(published[0], folder))
            elif not set(config.learners[own[learner]].predict.splits) >= set(_IN_SAMPLE):
                field = f"--config.learners.{own[learner]}.predict.splits"
                raise InputError(
                    f"{_reads(published[0])}, and {own[learner]} will not predict them: add "
                    f'{field}="{_IN_SAMPLE}"'
                )


def _reads(name: str) -> str:
    return f"{name} reads the learners' predictions of their own training images (in_sample)"


def _of_finished(name: str, folder: Path) -> str:
    return (
        f"{_reads(name)}, and {folder} has none: write them, of every fold of every learner, with\n"
        f'  {hints.again("predict", folder)} --config.predict.splits="{_IN_SAMPLE}"\n'
        "or leave it out of study.ensembles"
    )
