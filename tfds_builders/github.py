"""Data sets that are GitHub repositories: a folder below the manual one, else a pinned commit."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import tensorflow_datasets as tfds

from tfds_builders import archives, download, manual_folder

MAX_DOWNLOAD = 2 * download.GIB
MAX_UNPACKED = 4 * download.GIB
MAX_MEMBERS = 20_000


def archive_url(repository: str, commit: str) -> str:
    """Address of the archive that GitHub makes of `repository` ('owner/name') at `commit`."""
    return f"https://github.com/{repository}/archive/{commit}.tar.gz"


def find_or_download(
    dl_manager: tfds.download.DownloadManager,
    *,
    name: str,
    url: str,
    commit: str,
    paths: Sequence[str],
    instructions: str,
) -> Path:
    """The folder with `paths`: `name` in the manual folder, else downloaded once and kept.

    GitHub builds the archive on each request, so that no checksum of the file can be pinned: the
    commit recorded inside it is compared.

    Args:
        dl_manager: provides the manual folder and the one for downloads.
        name: of the data set and of its folder below the manual one.
        url: address of the archive.
        commit: 40 hex digits; the archive must be made of it.
        paths: files and folders below the top one that the builder needs; others are not unpacked.
        instructions: the tree for the manual folder, shown in errors.

    Raises:
        FileNotFoundError: the folder is there but not whole, what belongs in it is beside it, or it
            is neither there nor to be downloaded.
        ValueError: the archive is of another commit, damaged, unsafe or too large.
    """
    root = manual_folder.find(dl_manager)
    # `paths[0]` directly in it: the set is there, one level too deep for what is asked for.
    if root is not None and ((root / name).exists() or (root / paths[0]).is_file()):
        required = [f"{name}/{path}" for path in paths]
        manual_folder.require(dl_manager, name=name, paths=required, instructions=instructions)
        return root / name
    downloads = Path(dl_manager.download_dir)
    folder = downloads / f"{name}-{commit[:12]}"
    if folder.exists():  # appears only when whole
        return folder
    for leftover in downloads.glob(f".{folder.name}.*"):  # of a process that was killed
        shutil.rmtree(leftover, ignore_errors=True)
    for leftover in downloads.glob(f"{folder.name}.tar.gz.*.partial"):
        leftover.unlink(missing_ok=True)
    try:
        archive = download.fetch(
            url, downloads / f"{folder.name}.tar.gz", sha256=None, max_bytes=MAX_DOWNLOAD
        )
    except ConnectionError as error:
        place = (
            f"{root} has no folder {name}/" if root else f"no manual folder with {name}/ was named"
        )
        problem = f"{place}, and the download failed: {error}"
        raise manual_folder.missing_data(name, problem, instructions) from error
    try:
        archives.extract_tar(
            archive,
            folder,
            wanted=lambda file: any(file == path or file.startswith(f"{path}/") for path in paths),
            max_bytes=MAX_UNPACKED,
            max_members=MAX_MEMBERS,
            commit=commit,
        )
    finally:
        archive.unlink()  # unpacked, or not worth keeping
    return folder
