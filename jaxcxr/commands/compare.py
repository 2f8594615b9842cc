"""Two finished classifiers or ensembles on the same test images, pair by pair."""

from __future__ import annotations

from pathlib import Path

from ml_collections import ConfigDict

from jaxcxr import parallel, schema
from jaxcxr.errors import InputError
from jaxcxr.report.comparison import FOLDER, compare, write_comparison
from jaxcxr.report.document import NOTICE
from jaxcxr.storage.files import write_text
from jaxcxr.tasks import task_of


@schema.checked
def run(config: ConfigDict, workdir: Path) -> None:
    """`--config.run=compare --config.compare.other=RUN`.

    Writes `compare/<name of the other>/` below the workdir.

    Both run folders are only read, as their finished training or prediction left them, whatever
    their configurations: a stage of a study can be compared, too.

    Raises:
        InputError: nothing to compare with, or the two do not belong together.
    """
    if not task_of(config).has_classes:
        raise InputError("compare reads class probabilities; a segment run has none")
    if not config.compare.other:
        raise InputError(
            "compare.other is empty: name the run folder to compare with, "
            "--config.compare.other=RUN"
        )
    if not parallel.is_main():
        return
    comparison = compare(workdir, config.compare.other)
    target = workdir / FOLDER / comparison.names[1].replace("/", "-")
    if target.exists():
        print(f"replaces the comparison in {target}")
    text = write_comparison(comparison, target)
    write_text(target / "table.txt", text)
    print(f"{text}\n\nwrote {target / 'compare.md'}. {NOTICE}")
