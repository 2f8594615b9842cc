"""One experiment trained, with several seeds on one split if requested.

What its numbers owe to chance.
"""

from __future__ import annotations

from pathlib import Path

from ml_collections import ConfigDict

from jaxcxr import parallel, schema
from jaxcxr.commands import train
from jaxcxr.errors import InputError
from jaxcxr.report.models_report import write_models_report
from jaxcxr.storage.run_folder import RunFolder
from jaxcxr.studies.stages import report, run_stages, training
from jaxcxr.tasks import is_classifier


@schema.checked
def run(config: ConfigDict, workdir: Path) -> None:
    """`--config.run=train`: once or, with `config.repeats` above 1, several times.

    The latter in `models/<model>/repeat0`, ... with a report.
    """
    if config.repeats == 1:
        train.run(config, workdir)
        return
    if not is_classifier(config):
        raise InputError(
            f"only classifiers are repeated, and this config's task is {config.task!r}; set "
            "repeats=1"
        )
    todo = []
    for number in range(config.repeats):
        one = config.copy_and_resolve_references()
        one.repeats, one.seed = 1, config.seed + number
        name = f"models/{config.model.name}/repeat{number}"
        todo.append(training(name, one, workdir / name))
    with RunFolder.open(workdir, config.to_dict(), active=parallel.is_main()) as folder:
        run_stages(folder, todo, config)
        report(folder, "run folder", write_models_report, {"task": "repeats", "seed": config.seed})
