"""TFDS builder of the Kermany paediatric chest X-rays: labels from file names, folders pooled."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import tensorflow_datasets as tfds

from tfds_builders import choices, file_names, patient_ids, rejection, xray_builder
from tfds_builders.kcx import names

FOLDER = "kcx/chest_xray"
INSTRUCTIONS = """\
Expected under the manual folder (Kaggle paultimothymooney/chest-xray-pneumonia, unpacked; any of
the three splits may be absent):
  kcx/
    chest_xray/
      train/
        NORMAL/      IM-0115-0001.jpeg, NORMAL2-IM-0383-0001.jpeg, ...
        PNEUMONIA/   person1_bacteria_1.jpeg, person3_virus_15.jpeg, ...
      val/           NORMAL/, PNEUMONIA/
      test/          NORMAL/, PNEUMONIA/
"""
COPY = rejection.Reason("same file in two folders", is_fault=False)
RESPELT_COPY = rejection.Reason("same file under a name spelt otherwise", is_fault=False)


class Builder(xray_builder.XrayBuilder):
    """Kermany et al. 2018, train, val and test pooled; no options."""

    # 1.1.1: one id for all spellings of a patient; 1.1.2: of a file; 1.1.3: by the name alone
    VERSION = tfds.core.Version("1.1.3")
    BUILDER_CONFIGS = choices.all_configs({})
    MANUAL_DOWNLOAD_INSTRUCTIONS = INSTRUCTIONS
    HOMEPAGE = "https://data.mendeley.com/datasets/rscbjbr9sj"

    def select(self, dl_manager: tfds.download.DownloadManager) -> xray_builder.Selection:
        folder = self.manual_root(dl_manager, FOLDER) / FOLDER
        files, copies = pool(folder)
        rejected = rejection.Rejected()
        for path in copies:
            shown = str(path.relative_to(folder))
            is_named_so = path.name in {kept.name for kept in files.values()}
            rejected.add(COPY if is_named_so else RESPELT_COPY, [shown])
        return xray_builder.Selection(
            images=files,
            count=len(files),
            rejected=rejected,
            # All that either key joins by spelling: the strict one does not tell causes apart.
            notices=patient_ids.read(
                (names.parse(path).spelt for path in files.values()), prefix="kcx"
            ).notices,
        )

    def examples(self, images: dict[str, Path]) -> Iterator[xray_builder.Example]:
        for key, path in images.items():
            name = names.parse(path)
            yield xray_builder.Example(
                id=key,
                image=path.read_bytes(),
                patient_id=name.patient_id,
                strict_patient_id=name.strict_patient_id,
                label=name.label,
                finding=name.finding,
                view="AP",  # "All counted AP": the authors' protocol and FLANNEL's
                source="kcx",
                age_group="paediatric",  # one to five years old
            )


def pool(folder: Path) -> tuple[dict[str, Path], list[Path]]:
    """The images below `folder` by id, and the copies that are not used.

    A name that occurs once gives the id 'kcx-<stem>'. The same name, in any capitals and with any
    ending, and the same bytes is one image. The same name with other bytes gives
    'kcx-<split>-<stem>' for each.

    Raises:
        ValueError: files that are not named as the data set names them (lists up to 10), or two
            images of one split that have one stem.
    """
    paths = [
        path
        for path in sorted(folder.rglob("*"))
        # macOS leaves .DS_Store and __MACOSX/._name beside the images of Kaggle's archive, Windows
        # Thumbs.db
        if path.is_file() and file_names.may_be_picture(path.name) and "__MACOSX" not in path.parts
    ]
    unknown = [str(path.relative_to(folder)) for path in paths if names.parse(path) is None]
    if unknown:
        shown = ", ".join(unknown[:10]) + (", ..." if len(unknown) > 10 else "")
        raise ValueError(
            f"kcx: {len(unknown)} files in {folder} are not named as Kaggle's are: {shown}\n"
            f"Move them away or restore their names.\n{INSTRUCTIONS}"
        )
    by_name: dict[str, list[Path]] = {}
    for path in paths:
        by_name.setdefault(path.stem.casefold(), []).append(path)
    files: dict[str, Path] = {}
    copies: list[Path] = []
    for same_name in by_name.values():
        different = {}
        if len(same_name) > 1:
            for path in same_name:
                different.setdefault(hashlib.sha256(path.read_bytes()).digest(), path)
        kept = list(different.values()) or same_name
        copies += [path for path in same_name if path not in kept]
        for path in kept:
            key = f"kcx-{path.stem}" if len(kept) == 1 else f"kcx-{path.parts[-3]}-{path.stem}"
            if key in files:
                raise ValueError(
                    f"kcx: {files[key]} and {path} are two images of one name: keep one"
                )
            files[key] = path
    return files, copies
