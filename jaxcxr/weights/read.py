"""Weight files into name -> NumPy array, without running anything that a file says.

Nothing more is needed but for .h5, which h5py reads.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from jaxcxr.errors import InputError
from jaxcxr.schema.shared import WEIGHTS_KINDS
from jaxcxr.storage import files
from jaxcxr.weights import bounds, hdf5, kinds, npz, safetensors_file, torch_file

_READERS = {
    "safetensors": safetensors_file.read,
    "npz": npz.read,
    "PyTorch": torch_file.read,
    "HDF5": hdf5.read,
}


def read(path: Path) -> dict[str, np.ndarray]:
    """Returns the arrays of a weight file by name; see `contents`."""
    return contents(path).arrays


def contents(path: Path) -> safetensors_file.Contents:
    """Reads a weight file: its arrays.

    And, of safetensors, what it says of itself and whether it carries a hash.

    HDF5 names are '<layer>/<weight>' however Keras wrote them; nested PyTorch checkpoints are
    searched for their `state_dict`. Sizes are checked before anything is read: see `bounds`.

    Raises:
        InputError: the file is missing, damaged, of an unknown kind, claims to be far larger than
            it is, or is a pickle that holds more than arrays.
    """
    kind = WEIGHTS_KINDS.get(path.suffix)
    with files.reading(path, "name a file that can be read"):
        if path.is_dir():
            raise InputError(f"{path} is a folder: name a file in it")
        if path.exists() and not path.is_file():  # a pipe, which opening would wait for
            raise InputError(f"{path} is no file: name one")
        if kind is None:
            raise InputError(
                f"{path}: weights are read from {', '.join(WEIGHTS_KINDS)}: save them as one of "
                "these, or name the file so"
            )
        problem = kinds.problem(path)
    if problem is not None:
        raise InputError(f"{path} {problem}")
    with files.reading(path, f"take another copy of the {kind} file, or write it again"):
        found = _READERS[kind](path)
    if not isinstance(found, safetensors_file.Contents):
        found = safetensors_file.Contents(found, {}, is_hashed=False)
    bounds.check_arrays(path, found.arrays)
    return found
