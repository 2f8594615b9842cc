"""Where lung masks come from.

A data set's files, a segment run, the ready-made segmenter, or nowhere.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from jaxcxr import data, hints, parallel
from jaxcxr.errors import InputError
from jaxcxr.inference import dataset_masks
from jaxcxr.inference.predictor import Predictor
from jaxcxr.storage.run_folder import RunFolder
from jaxcxr.tasks import needs_lungs, task_of
from jaxcxr.weights.catalog import LUNGS


@dataclasses.dataclass(frozen=True)
class MaskProvider:
    """Lung masks by one of two ways, or by none.

    Attributes:
        stored: of the images of a data set, in files; what training, evaluation and explanations
            read.
        segmenter: finds the lungs of any X-ray in its pixels.
        found_by: of stored masks that a segmenter made: its run's folder, or its weights.
        found_by_sha256: of the ready-made segmenter, see `dataset_masks.fingerprint`.
        as_trained: whether a segmenter is the one of whose masks the run was trained; None: it was
            trained of no masks, or the run does not say.
        files: of earlier runs that stored masks come from.
    """

    stored: data.MaskSource | None = None
    segmenter: Predictor | None = None
    found_by: str = ""
    found_by_sha256: str = ""
    as_trained: bool | None = None
    files: tuple[Path, ...] = ()

    @property
    def structures(self) -> tuple[str, ...]:
        """Names of the ids 1, 2, ... in the masks."""
        return self.stored.structures if self.stored is not None else ("lung",)

    @property
    def origin(self) -> dict[str, str]:
        """What a run's manifest says of stored masks that a segmenter made."""
        said = {"found_by": self.found_by, "found_by_sha256": self.found_by_sha256}
        return {name: value for name, value in said.items() if value}

    @classmethod
    def for_run(cls, config: ConfigDict) -> MaskProvider:
        """Masks of the run's own data by `config.masks`: stored ones, of whichever source."""
        m, extras = config.masks, {}
        if not task_of(config).has_classes:  # it learns masks, and asks more of them
            extras = {
                "ignore": m.ignore,
                "shrink_to": config.data.image_size if m.resize == "linear" else 0,
                "by_source": data.pairs("masks.by_source", m.by_source),
            }
            _check_segmenters(m, extras)
        if m.source == "none":
            return cls()
        if m.source == "dataset":
            options = {"on_empty": m.on_empty, "on_implausible": m.on_implausible, **extras}
            return cls(data.DatasetMasks(structures=tuple(m.structures), **options))
        if m.source == "ready":
            if m.workdir:
                raise InputError(
                    f"masks.workdir={m.workdir!r} is a segment run's, and masks.source='ready' "
                    "takes the masks of the ready-made segmenter: add "
                    "--config.masks.source=workdir, or leave masks.workdir out"
                )
            segmenter = Predictor.ready()
            masks = cls._in(dataset_masks.ready(segmenter, config.data), LUNGS, m)
            return dataclasses.replace(masks, found_by_sha256=dataset_masks.fingerprint(segmenter))
        if not m.workdir:
            raise InputError(
                "masks.source='workdir' needs masks.workdir, the folder of a finished segment "
                "run. --config.masks.source=ready takes the ready-made segmenter instead; a run "
                f"of your own is made with\n{hints.segmenter(config.data)}"
            )
        return cls._in(Path(m.workdir), m.workdir, m)

    @classmethod
    def _in(cls, folder: Path, found_by: str, settings: ConfigDict) -> MaskProvider:
        """Masks that a segmenter has written below a folder."""
        return cls(
            stored=data.FolderMasks(folder, structures=("lung",), on_empty=settings.on_empty),
            found_by=found_by,
            files=(folder / "masks" / "index.json",),
        )

    @classmethod
    def for_others(cls, config: ConfigDict, folder: RunFolder, *, labelled: bool) -> MaskProvider:
        """Masks of X-rays that are not the run's own.

        The segmenter is `masks.workdir`'s, else the one whose masks the run was trained with, else
        the ready-made one.

        Args:
            config: of the run.
            folder: of the run.
            labelled: the X-rays are those of a data set, which may have masks of its own, and
                nothing but the classifier asks for lungs.

        Raises:
            InputError: `masks.workdir` is not the folder of a finished segment run.
        """
        if not task_of(config).has_classes or (labelled and not needs_lungs(config)):
            return cls()
        m = config.masks
        if workdir := m.workdir or folder.config().get("masks", {}).get("workdir", ""):
            return cls(segmenter=load_segmenter(Path(workdir)))
        if labelled and m.source == "dataset":
            return cls(data.DatasetMasks(structures=tuple(m.structures), on_empty=m.on_empty))
        if not needs_lungs(config):
            return cls()
        segmenter = Predictor.ready()
        if parallel.is_main():
            print(f"lungs: found by {segmenter.origin}, the ready-made segmenter", flush=True)
        trained = folder.read_json("manifest.json", {}).get("masks") or {}
        if trained.get("found_by") != LUNGS:
            return cls(segmenter=segmenter)
        is_same = trained.get("found_by_sha256") == dataset_masks.fingerprint(segmenter)
        if not is_same and parallel.is_main():
            print(
                "note: this run was trained with lungs of another version of that segmenter, and "
                "sees somewhat other lungs here; train it again to have it see the same",
                flush=True,
            )
        return cls(segmenter=segmenter, as_trained=is_same)


def _check_segmenters(masks: ConfigDict, extras: Mapping[str, Any]) -> None:
    """Raises InputError where a segmenter cannot learn from the masks of `config.masks`."""
    if masks.source != "dataset" and any(extras.values()):
        raise InputError(
            "masks.ignore, resize and by_source go with masks.source='dataset', not "
            f"{masks.source!r}"
        )
    if masks.source in ("ready", "workdir") and tuple(masks.structures) != ("lung",):
        raise InputError(
            f"masks.source={masks.source!r} has masks of lung alone, and masks.structures names "
            f"{', '.join(masks.structures)}: set --config.masks.structures=\"('lung',)\""
        )
    if masks.on_empty == "whole_image":
        raise InputError(
            "masks.on_empty='whole_image' lets a classifier see an X-ray without lungs as a whole; "
            "a segmenter would learn that all of it is lung: --config.masks.on_empty=drop"
        )


def load_segmenter(path: Path) -> Predictor:
    """The network of a finished segment run; InputError where the folder is of no such run."""
    folder = RunFolder(path)
    if folder.config().get("task") != "segment" or not folder.is_finished("train"):
        raise InputError(
            f"masks.workdir={str(path)!r} is not the folder of a finished segment run; make one "
            f"with\n{hints.any_segmenter(path)}"
        )
    predictor = Predictor.load(folder)
    if (path / "masks" / "index.json").exists():
        # As the masks that other runs were trained with, whatever the training's config said.
        predictor.config.predict.update(data.FolderMasks(path).made_with)
    return predictor
