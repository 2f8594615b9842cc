"""A whole system as a chain of stages, and its report; see `jaxcxr.studies.stages`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from jaxcxr import parallel, schema
from jaxcxr.report.models_report import write_models_report
from jaxcxr.report.study_report import write_study_report
from jaxcxr.storage.run_folder import RunFolder
from jaxcxr.studies import classifiers, flannel
from jaxcxr.studies.stages import report, run_stages


def _flannel_report(folder: Path, config: ConfigDict) -> str:
    named = ([Path(p).expanduser() for p in config.study[f]] for f in ("learners_of", "beside"))
    learners_of, beside = named
    return write_study_report(
        folder,
        learners_of=learners_of,
        beside=beside,
        further_ensembles=config.study.ensembles,
    )


def _models_report(folder: Path, config: ConfigDict) -> str:
    del config
    return write_models_report(folder)


# config.study.system -> (its stages, the writer of its report)
SYSTEMS: dict[str, tuple[Callable[..., Any], Callable[[Path, ConfigDict], str]]] = {
    "flannel": (flannel.stages, _flannel_report),
    "classifiers": (classifiers.stages, _models_report),
}


@schema.checked
def run(config: ConfigDict, workdir: Path) -> None:
    """`--config.run=study`."""
    stages, write_report = SYSTEMS[config.study.system]
    with RunFolder.open(workdir, config.to_dict(), active=parallel.is_main()) as folder:
        run_stages(folder, stages(config, workdir), config)
        report(
            folder,
            "study folder",
            lambda path: write_report(path, config),
            {"task": "study", "seed": config.seed},
        )
