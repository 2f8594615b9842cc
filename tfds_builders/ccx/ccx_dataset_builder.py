"""TFDS builder of the COVID-19 image data collection: frontal X-rays, label from `finding`."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import tensorflow_datasets as tfds

from tfds_builders import (
    attributes,
    choices,
    file_names,
    ids,
    patient_ids,
    rejection,
    tables,
    xray_builder,
)
from tfds_builders.ccx import labels, metadata, source


class Builder(xray_builder.XrayBuilder):
    """ieee8023/covid-chestxray-dataset.

    Options:
        pneumocystis: the class of its pneumonia ('bacterial' as published | 'fungal': left out).
        findings: those that have a class ('published' | 'extended': all named bacteria and
            viruses, see labels.py).
    """

    # 1.2: one id for all spellings of a patient; 1.2.2: the same in other sets;
    # 1.2.3: four more patients under two numbers
    VERSION = tfds.core.Version("1.2.3")
    BUILDER_CONFIGS = choices.all_configs(
        {"pneumocystis": ("bacterial", "fungal"), "findings": ("published", "extended")}
    )
    MANUAL_DOWNLOAD_INSTRUCTIONS = source.INSTRUCTIONS
    HOMEPAGE = "https://github.com/ieee8023/covid-chestxray-dataset"

    def select(self, dl_manager: tfds.download.DownloadManager) -> xray_builder.Selection:
        folder = source.find_or_download(dl_manager)
        table = metadata.read_metadata(folder / "metadata.csv")
        files = file_names.files_by_name(folder / "images")
        kept, rejected, notices = select_rows(table, files)
        patients = metadata.read_patients(table.rows)
        findings = [row.finding for rows in kept.values() for row in rows]
        return xray_builder.Selection(
            images=(folder / "images", kept, patients.ids),
            count=len(kept),
            rejected=rejected,
            notices=[*notices, *patients.notices],
            unknown_findings=tables.unknown(findings, labels.known_findings()),
            known_findings=labels.known_findings(),
            more={"metadata_era": table.era},
        )

    def examples(
        self, images: tuple[Path, dict[str, list[metadata.Row]], Mapping[str, str]]
    ) -> Iterator[xray_builder.Example]:
        folder, kept, patients = images
        table = labels.label_table(**self.options)
        classes = {finding.casefold(): label for finding, label in table.items()}
        image_ids = ids.unique_ids(kept, prefix="ccx")
        for name, rows in kept.items():
            row_labels = {classes.get(row.finding.casefold(), "") for row in rows}
            if (
                len(row_labels - {""}) > 1
                and len({patient_ids.key(row.patient) for row in rows}) > 1
            ):
                named = ", ".join(f"{row.patient} ({row.finding})" for row in rows)
                raise ValueError(
                    f"{folder / name}: metadata.csv gives this one image to patients whose labels "
                    f"contradict each other, {named}: correct the rows, or remove them"
                )
            patient_id = patients[rows[0].patient]
            yield xray_builder.Example(
                id=image_ids[name],
                image=(folder / name).read_bytes(),
                patient_id=patient_id,
                strict_patient_id=patient_id,
                # Rows that disagree about one image (there are such) leave it without a class.
                label=row_labels.pop() if len(row_labels) == 1 else "",
                finding=" | ".join(dict.fromkeys(row.finding for row in rows)),
                view=attributes.frontal_view(rows[0].view) or "",
                source="ccx",
                age_group=attributes.age_group(rows[0].age),
            )


def select_rows(
    table: metadata.Metadata, files: Collection[str]
) -> tuple[dict[str, list[metadata.Row]], rejection.Rejected, list[str]]:
    """The usable rows by file name, in the table's order; the rejected ones; and notices."""
    kept: dict[str, list[metadata.Row]] = {}
    rejected = rejection.Rejected()
    file_of = file_names.match((row.filename for row in table.rows), files)
    for row in table.rows:
        reason, name = metadata.reject_reason(row), file_of.get(row.filename)
        if reason is None and name is None:
            reason = rejection.MISSING
        elif reason is None and name in kept:
            reason = rejection.Reason("file named again", is_fault=False)
            kept[name].append(row)  # still heard: its finding may contradict the first
        elif reason is None and name is not None:
            kept[name] = [row]
        if reason is not None:
            rejected.add(reason, [row.filename])
    notices = [
        *table.notices,
        *file_names.respelt({n: f for n, f in file_of.items() if f in kept}),
        *file_names.not_named(files, file_of.values(), table="metadata.csv"),
    ]
    return kept, rejected, notices
