"""A whole system as a chain of stages, and its report; see `jaxcxr.studies.stages`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from jaxcxr import parallel, schema
from jaxcxr.report import summary as summaries
from jaxcxr.report.models_report import write_models_report
from jaxcxr.storage.run_folder import RunFolder
from jaxcxr.studies import classifiers, flannel
from jaxcxr.studies.stages import report, run_stages

# config.study.system -> (its stages, the writer of its report)
SYSTEMS: dict[str, tuple[Callable[..., Any], Callable[[Path], str]]] = {
    "flannel": (flannel.stages, summaries.write_study_report),
    "classifiers": (classifiers.stages, write_models_report),
}


@schema.checked
def run(config: ConfigDict, workdir: Path) -> None:
    """`--config.run=study`."""
    stages, write_report = SYSTEMS[config.study.system]
    with RunFolder.open(workdir, config.to_dict(), active=parallel.is_main()) as folder:
        run_stages(folder, stages(config, workdir), config)
        report(folder, "study folder", write_report, {"task": "study", "seed": config.seed})
