"""The checksums of a finished run: what its files were when it ended."""

from __future__ import annotations

import fnmatch

from jaxcxr import hints, parallel
from jaxcxr.errors import InputError
from jaxcxr.storage import manifests
from jaxcxr.storage.run_files import CONFIG, FINISHED, MANIFEST, REFERENCE, SEALED
from jaxcxr.storage.run_folder import RunFolder

CHECKSUMS = "checksums.json"
# Checkpoints and masks have manifests of their own, timings.json grows with every command.
_MADE_AGAIN = (  # by evaluate, and the reference image by every prediction of own data
    "predictions.npz", "segmentation.json", "segmentation.csv", "report.json", "report.md",
    "table.txt", "plots/*.png", REFERENCE,
)  # fmt: skip
_PATTERNS = (
    CONFIG, MANIFEST, "training.json", "metrics.jsonl", "pretrained.json", *_MADE_AGAIN,
    "overlays/*.png",
)  # fmt: skip


def unseal(folder: RunFolder) -> None:
    """Drops the checksums, before files that they cover are written again.

    Raises:
        InputError: the folder cannot be written, what is not written again has changed, or the mark
            of the training that made the results is lost.
    """
    if folder.active:
        if (folder.path / CHECKSUMS).exists() and not folder.is_finished("fit"):
            raise InputError(
                f"{folder.path / FINISHED} is missing or damaged: the run has results, and that "
                "file does not say that it was trained. Restore it from a copy, or delete the run "
                "folder and train again"
            )
        folder.claim()
        _check_kept(folder)
        folder.unmark_finished(SEALED)
        (folder.path / CHECKSUMS).unlink(missing_ok=True)


def seal(folder: RunFolder) -> None:
    """Writes `checksums.json`: the SHA-256 of every result that the run holds now."""
    if folder.active:
        names = [
            str(path.relative_to(folder.path))
            for pattern in _PATTERNS
            for path in sorted(folder.path.glob(pattern))
        ]
        manifests.write(folder.path / CHECKSUMS, {}, names=names)
        folder.mark_finished(SEALED)


def check(folder: RunFolder, *names: str) -> None:
    """Compares results with their checksums, all or those of `names`; a run without any passes.

    Raises:
        InputError: a file has changed since the run ended; names it.
    """
    _check_kept(folder, *names)
    path = folder.path / CHECKSUMS
    is_sealed = path.exists() or folder.is_finished(SEALED)
    if not parallel.is_main() or not is_sealed:
        return
    if problem := manifests.problem(path, names=names):
        raise InputError(
            f"the run {folder.path} {problem} since it finished. Restore it from a copy, or make "
            f"predictions and reports again:\n  {hints.again('evaluate', folder.path)}"
        )


def _check_kept(folder: RunFolder, *names: str) -> None:
    """`check` of the results that only training writes.

    New checksums must not cover what has changed.
    """
    path = folder.path / CHECKSUMS
    if not parallel.is_main() or not path.exists():
        return
    listed = (manifests.read(path) or {"files": {}})["files"]
    lasting = [
        name
        for name in names or listed
        if not any(fnmatch.fnmatchcase(name, pattern) for pattern in _MADE_AGAIN)
    ]
    if lasting and (problem := manifests.problem(path, names=lasting)):
        raise InputError(
            f"the run {folder.path} {problem} since it finished. Restore it from a copy, or "
            "delete the run folder and train again"
        )
