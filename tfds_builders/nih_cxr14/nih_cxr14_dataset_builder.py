"""TFDS builder of NIH ChestX-ray14: normal, and what stands for community-acquired pneumonia."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import tensorflow_datasets as tfds

from tfds_builders import (
    attributes,
    choices,
    file_names,
    ids,
    manual_folder,
    patient_ids,
    rejection,
    tables,
    xray_builder,
)
from tfds_builders.nih_cxr14 import table

LISTS = {"train_val": "train_val_list.txt", "test": "test_list.txt"}
INSTRUCTIONS = """\
Expected under the manual folder (https://nihcc.app.box.com/v/ChestXray-NIHCC or Kaggle
nih-chest-xrays/data, archives unpacked; part of the images will do):
  nih_cxr14/
    Data_Entry_2017_v2020.csv   or Data_Entry_2017.csv, or sample_labels.csv of Kaggle's sample
    images/                     00000001_000.png, ...
    images_001/images/ ...      Kaggle's twelve folders, beside images/ or instead of it
    train_val_list.txt          only for the option list='train_val'
    test_list.txt               only for the option list='test'
"""


class Builder(xray_builder.XrayBuilder):
    """Wang et al. 2017.

    Options:
        cap: the findings that are pneumonia ('pneumonia': that finding alone | 'consolidation': or
            Consolidation | 'pneumonia_like': or Infiltration).
        list: the images taken ('all' | 'train_val' | 'test': NIH's own lists).
    """

    VERSION = tfds.core.Version("1.2.1")  # 1.2: one id for all spellings of a patient
    BUILDER_CONFIGS = choices.all_configs({"cap": tuple(table.PNEUMONIA), "list": ("all", *LISTS)})
    MANUAL_DOWNLOAD_INSTRUCTIONS = INSTRUCTIONS
    HOMEPAGE = "https://nihcc.app.box.com/v/ChestXray-NIHCC"

    def select(self, dl_manager: tfds.download.DownloadManager) -> xray_builder.Selection:
        name = LISTS.get(self.options["list"])
        folder = self.manual_root(dl_manager, f"nih_cxr14/{name}" if name else "nih_cxr14")
        folder = folder / "nih_cxr14"
        origin = table.find(folder)
        if origin is None:
            hint = manual_folder.spreadsheet(folder / name for name in table.FILES)
            problem = f"{folder} has none of {', '.join(table.FILES)}. {hint}".rstrip()
            raise manual_folder.missing_data("nih_cxr14", problem, INSTRUCTIONS)
        files = file_names.files_by_name(*image_folders(folder))
        rows = tables.read_table(origin, required=table.REQUIRED)
        table.check_patients(rows.rows, origin=origin)
        listed, list_notices = None, []
        if name:
            names, list_notices = tables.read_list(folder / name)
            known = {row["image index"] for row in rows.rows}
            listed, unmatched = tables.find_listed(names, known, origin=folder / name)
            list_notices += unmatched

        def reject_reason(row: tables.Row) -> rejection.Reason | None:
            if listed is not None and row["image index"] not in listed:
                return rejection.Reason(f"not in {name}", is_fault=False)
            return table.reject_reason(row)

        kept, rejected, notices = tables.choose_rows(
            rows,
            files,
            file_name=lambda row: row["image index"],
            reject_reason=reject_reason,
            origin=origin,
            # Part of the images will do: the table lists all that there are.
            missing=rejection.Reason("missing file", is_fault=False),
        )
        findings = {part for row in kept.values() for part in table.findings(row["finding labels"])}
        strange = tables.unknown(findings, table.FINDINGS)
        return xray_builder.Selection(
            images=(files, kept),
            count=len(kept),
            rejected=rejected,
            notices=[*list_notices, *notices],
            unknown_findings={
                row["finding labels"]
                for row in kept.values()
                if table.findings(row["finding labels"]) & strange
            },
            known_findings=table.FINDINGS,
            more={"table": origin.name},
        )

    def examples(
        self, images: tuple[dict[str, Path], dict[str, tables.Row]]
    ) -> Iterator[xray_builder.Example]:
        files, kept = images
        image_ids = ids.unique_ids(kept, prefix="nih_cxr14")
        for name, row in kept.items():
            # Zeros in front in 2017 only.
            patient_id = f"nih_cxr14-{patient_ids.key(row['patient id'])}"
            try:
                label = table.label(row["finding labels"], cap=self.options["cap"])
            except ValueError as error:
                raise ValueError(f"nih_cxr14: {files[name].name}: {error}") from error
            yield xray_builder.Example(
                id=image_ids[name],
                image=files[name].read_bytes(),
                patient_id=patient_id,
                strict_patient_id=patient_id,
                label=label,
                finding=row["finding labels"],
                view=attributes.frontal_view(row["view position"]) or "",
                source="nih_cxr14",
                age_group=table.age_group(row["patient age"]),
            )


def image_folders(folder: Path) -> list[Path]:
    """images/ and Kaggle's images_001/images/ to images_012/images/, those there are.

    Raises:
        FileNotFoundError: there is none; shows the tree.
    """
    found = [folder / "images", *sorted(folder.glob("images_[0-9][0-9][0-9]/images"))]
    found = [path for path in found if path.is_dir()]
    if not found:
        problem = f"{folder} has neither images/ nor images_001/images/."
        raise manual_folder.missing_data("nih_cxr14", problem, INSTRUCTIONS)
    return found
