"""`--config.run=check_data`: copies, leaks and shortcuts of a data set, before any training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from jaxcxr import data, hints, parallel, schema
from jaxcxr.audit import data_checks
from jaxcxr.data import dropped, image_facts
from jaxcxr.errors import InputError
from jaxcxr.report import composition, plots
from jaxcxr.report import data_checks as section
from jaxcxr.report.document import Report
from jaxcxr.storage.run_files import DATA_CHECKS as FOLDER
from jaxcxr.storage.run_files import MANIFEST
from jaxcxr.storage.run_folder import RunFolder
from jaxcxr.training.composition import composition as composed
from jaxcxr.training.examples import Examples, SplitExamples, copies, split, with_targets


@schema.checked
def run(config: ConfigDict, workdir: Path) -> None:
    """Looks at every image of `data`, and at what the splits of `split` do with them.

    Writes `data_checks/report.md`, `report.json` and `plots/copies.png`. Nothing is trained, no
    mask is needed, and the run folder is not claimed: it can be trained afterwards. Of a study it
    checks the data of the first learner.

    Raises:
        InputError: a config without images, or images that cannot be read.
    """
    config = _with_images(config)
    with RunFolder.open(
        workdir, config.to_dict(), active=parallel.is_main(), claims=False
    ) as folder:
        dataset = data.open_dataset(config.data)
        if parallel.is_main():
            dropped.print_once(dataset.dropped, dataset.notices)
        facts = image_facts.look(dataset, config.data)
        own = with_targets(config, split(config, Examples.of(dataset), copies(config, dataset)))
        found = data_checks.findings(own, facts)
        unreadable = facts.unreadable[facts.unreadable != ""].tolist()
        if not parallel.is_main():
            return
        report = Report(folder.path / FOLDER, {"kind": "data_checks", "config": config.to_dict()})
        warnings = section.warnings(found)
        if unreadable:
            report.facts["unreadable"] = unreadable
            shown = "; ".join(unreadable[:3]) + "; ..." * (len(unreadable) > 3)
            warnings.append(f"{len(unreadable):,} images cannot be read: {shown}")
        report.open("Checks of the data", warnings)
        if pairs := section.shown_pairs(found, every_pair=True):
            folder.write_bytes(f"{FOLDER}/{section.COPIES}", picture(dataset, pairs))
        manifest = {"data_checks": found, "split": {"composition": composed(own)}}
        section.add(report, manifest, pictures=report.folder)
        composition.add_run(report, manifest)
        report.write()
    print("\n".join([*section.lines(found), *(f"Warning. {text}" for text in warnings)]))
    print(f"\nreport       {report.folder / 'report.md'}")
    print(f"train        {hints.again('train', workdir)}")
    print("Research use only. Not for diagnosis.")


def write_pictures(dataset: data.Dataset | None, folder: RunFolder) -> None:
    """Writes plots/copies.png of the copies that the manifest of a training names, if any."""
    found = section.of_manifest(folder.read_json(MANIFEST, {}))
    if dataset is None or found is None:
        return
    if pairs := section.shown_pairs(found, every_pair=False):
        folder.write_bytes(section.COPIES, picture(dataset, pairs))


def picture(dataset: data.Dataset, pairs: list[Any]) -> bytes:
    """A PNG of pairs of images side by side."""
    rows = [pair["rows"] for pair in pairs]
    images = [(dataset.image(first), dataset.image(second)) for first, second in rows]
    return plots.to_png(section.figure(images))


def of_training(config: ConfigDict, dataset: data.Dataset, own: SplitExamples) -> dict[str, Any]:
    """The findings of a run that trains, for its manifest; prints its warnings."""
    found = data_checks.findings(own, image_facts.look(dataset, config.data))
    if parallel.is_main():
        print("\n".join(section.lines(found)))
        for text in section.warnings(found):
            print(f"WARNING: {text}")
    return found


def _with_images(config: ConfigDict) -> ConfigDict:
    """The config, or of a study that of its first learner."""
    for _, stage in schema.stages(config):
        if stage.task == "classify" or (stage is config and stage.task == "segment"):
            return stage
    raise InputError(
        f"config.task={config.task!r} has no images of its own: check the data of one of its "
        "learners, such as --config=configs/patched_densenet.py --config.run=check_data"
    )
