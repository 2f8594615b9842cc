"""The source of the data set: the manual folder, else GitHub at the commit of the papers."""

from __future__ import annotations

from pathlib import Path

import tensorflow_datasets as tfds

from tfds_builders import github

COMMIT = "78543292f8b01d5e0ed1d0e15dce71949f0657bb"  # of the Patched FLANNEL paper
URL = github.archive_url("ieee8023/covid-chestxray-dataset", COMMIT)

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
        FileNotFoundError: `ccx` is incomplete, or is missing and cannot be downloaded.
    """
    return github.find_or_download(
        dl_manager,
        name="ccx",
        url=URL,
        commit=COMMIT,
        paths=("metadata.csv", "images"),
        instructions=INSTRUCTIONS,
    )
