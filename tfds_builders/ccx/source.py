"""Where the data set comes from: the manual folder, else GitHub at the commit the papers used."""

from __future__ import annotations

from pathlib import Path

import tensorflow_datasets as tfds

from tfds_builders import common, download

# Of the Patched FLANNEL paper. GitHub makes the archive anew for each request, so that no checksum
# of the file can be pinned: the commit recorded inside it is compared, and the metadata read.
COMMIT = "78543292f8b01d5e0ed1d0e15dce71949f0657bb"
URL = f"https://github.com/ieee8023/covid-chestxray-dataset/archive/{COMMIT}.tar.gz"
MAX_DOWNLOAD = 2 * download.GIB
MAX_UNPACKED = 4 * download.GIB
MAX_MEMBERS = 20_000

INSTRUCTIONS = """\
Expected under the manual folder (any version of github.com/ieee8023/covid-chestxray-dataset):
  ccx/
    metadata.csv
    images/
      <file named in metadata.csv>
      ...
"""


def find_or_download(dl_manager: tfds.download.DownloadManager) -> Path:
    """The folder with metadata.csv and images/: `ccx` in the manual folder, else downloaded.

    Raises:
      FileNotFoundError: `ccx` is there but not whole, or is not there and cannot be downloaded.
    """
    root = common.manual_root(dl_manager)
    if root is not None and (root / "ccx").exists():
        common.require_manual(
            dl_manager,
            name="ccx",
            paths=("ccx/metadata.csv", "ccx/images"),
            instructions=INSTRUCTIONS,
        )
        return root / "ccx"
    downloads = Path(dl_manager.download_dir)
    folder = downloads / f"ccx-{COMMIT[:12]}"
    if folder.exists():  # appears only when whole
        return folder
    try:
        archive = download.fetch(
            URL, downloads / f"{folder.name}.tar.gz", sha256=None, max_bytes=MAX_DOWNLOAD
        )
    except ConnectionError as error:
        problem = f"no manual folder with ccx/, and the download failed: {error}"
        raise common.missing_data("ccx", problem, INSTRUCTIONS) from error
    try:
        download.extract_tar(
            archive,
            folder,
            wanted=lambda name: name == "metadata.csv" or name.startswith("images/"),
            max_bytes=MAX_UNPACKED,
            max_members=MAX_MEMBERS,
            commit=COMMIT,
        )
    finally:
        archive.unlink()  # unpacked, or not worth keeping
    return folder
