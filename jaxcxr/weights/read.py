"""Weight files into name -> NumPy array, without running anything that a file says.

safetensors and .npz need nothing else; .pth needs PyTorch and .h5 needs h5py, each imported here and only then.
"""

from __future__ import annotations

import importlib
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from jaxcxr.types import InputError
from jaxcxr.weights.rules import keras_name

SUFFIXES = (".safetensors", ".npz", ".pth", ".pt", ".tar", ".bin", ".h5", ".hdf5")


def read(path: Path) -> dict[str, np.ndarray]:
    """Returns the arrays of a weight file by name.

    HDF5 names are '<layer>/<weight>' however Keras wrote them; nested PyTorch checkpoints are
    searched for their `state_dict`.

    Raises:
      InputError: the file is missing, truncated, of an unknown kind, or a pickle that holds more than arrays.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist")
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path}: weights are read from {', '.join(SUFFIXES)}")
    if not path.stat().st_size:
        raise InputError(f"{path} is empty: fetch it again")
    if path.suffix == ".safetensors":
        return _safetensors(path)
    if path.suffix == ".npz":
        return _npz(path)
    if path.suffix in (".h5", ".hdf5"):
        return _hdf5(path)
    return _torch(path)


def _safetensors(path: Path) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise _damaged(path, "safetensors", error) from error


def _npz(path: Path) -> dict[str, np.ndarray]:
    if not zipfile.is_zipfile(path):
        raise _damaged(path, "npz", ValueError("no zip archive"))
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, KeyError) as error:
        raise _damaged(path, "npz", error) from error


def _torch(path: Path) -> dict[str, np.ndarray]:
    torch = _need("torch", path)
    try:
        with warnings.catch_warnings():  # of pickle's protocol; what cannot be read is an error anyway
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path} was not opened: as a pickle it holds more than arrays, and reading that would run code "
            f"({str(error).splitlines()[0]}). Save its state_dict() as safetensors where you trust it, or take "
            "another file."
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise _damaged(path, "PyTorch", error) from error
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
            break
    arrays = {}
    for name, value in content.items() if isinstance(content, dict) else ():
        if isinstance(value, torch.Tensor):
            arrays[str(name)] = value.detach().float().numpy() if value.is_floating_point() else value.numpy()
    if not arrays:
        raise InputError(f"{path} holds no state_dict: no tensors by name")
    return arrays


def _hdf5(path: Path) -> dict[str, np.ndarray]:
    h5py = _need("h5py", path)
    try:
        with h5py.File(path, "r") as file:
            root = file.get("model_weights", file)
            arrays: dict[str, np.ndarray] = {}

            def take(name: str, node: Any) -> None:
                if not isinstance(node, h5py.Dataset):
                    return
                parts = name.split("/")
                arrays[keras_name(_layer(parts), parts[-1])] = np.asarray(node)

            root.visititems(take)
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise _damaged(path, "HDF5", error) from error
    if not arrays:
        raise InputError(f"{path} holds no arrays")
    return arrays


def _layer(parts: list[str]) -> str:
    """Keras writes layer/layer/kernel:0, and conv1/conv/conv1/conv/kernel:0 for a layer called conv1/conv."""
    layer = parts[:-1]
    half = len(layer) // 2
    same = len(layer) % 2 == 0 and [p.rstrip("_0123456789") for p in layer[:half]] == [
        p.rstrip("_0123456789") for p in layer[half:]
    ]
    return "/".join(layer[:half] if half and same else layer)


def _need(module: str, path: Path) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError(
            f"{path}: reading this kind of file needs {module}. Install it (pip install {module}), or convert the "
            "file where it is installed: python -m jaxcxr.weights convert IN OUT.safetensors"
        ) from error


def _damaged(path: Path, kind: str, error: Exception) -> InputError:
    reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
    return InputError(f"{path} is damaged or is no {kind} file ({reason}): fetch it again")
