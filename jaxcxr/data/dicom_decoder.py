"""Decompression of DICOM pixels in a process of its own, since damaged files end some decoders' process.

GDCM aborts on many a mutated JPEG or JPEG-LS frame, and pylibjpeg-rle panics on RLE: one such file must not end a run
over a folder. A child process is started for the first compressed file and used again; with several threads there are
as many as decode at a time.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import queue
from multiprocessing.connection import Connection

import numpy as np

from jaxcxr.types import InputError

# Plug-ins of pydicom by transfer syntax: those that need no licence beyond BSD and MIT.
PLUGINS = {
    "1.2.840.10008.1.2.4.50": "pillow",  # JPEG baseline
    "1.2.840.10008.1.2.4.51": "pillow",  # JPEG extended, 8 bits only
    "1.2.840.10008.1.2.4.57": "gdcm",  # JPEG lossless
    "1.2.840.10008.1.2.4.70": "gdcm",  # JPEG lossless, selection value 1
    "1.2.840.10008.1.2.4.80": "gdcm",  # JPEG-LS
    "1.2.840.10008.1.2.4.81": "gdcm",  # JPEG-LS near-lossless
    "1.2.840.10008.1.2.4.90": "pylibjpeg",  # JPEG 2000 lossless
    "1.2.840.10008.1.2.4.91": "pylibjpeg",  # JPEG 2000
    "1.2.840.10008.1.2.4.201": "pylibjpeg",  # HTJ2K lossless
    "1.2.840.10008.1.2.4.202": "pylibjpeg",  # HTJ2K lossless RPCL
    "1.2.840.10008.1.2.4.203": "pylibjpeg",  # HTJ2K
    "1.2.840.10008.1.2.5": "pylibjpeg",  # RLE
}
PACKAGES = {  # what must be installed for a plug-in: module -> package
    "pillow": {"PIL": "pillow"},
    "gdcm": {"gdcm": "python-gdcm"},
    "pylibjpeg": {
        "pylibjpeg": "pylibjpeg",
        "openjpeg": "pylibjpeg-openjpeg",
        "rle": "pylibjpeg-rle",
    },
}
SECONDS = 300.0  # for one image; a minute is long for 64 million pixels

_idle: queue.SimpleQueue[_Child] = queue.SimpleQueue()


def decode(encoded: bytes, syntax: str, name: str) -> np.ndarray:
    """The first frame of a compressed DICOM file: [H, W] or [H, W, 3] (RGB), integers as stored.

    Args:
      encoded: the file.
      syntax: its transfer syntax, a key of PLUGINS.
      name: of the file, for errors.

    Raises:
      InputError: the decoder refuses it, ends, or takes longer than SECONDS.
    """
    try:
        child = _idle.get_nowait()
    except queue.Empty:
        child = _Child()
    try:
        decoded = child.ask(PLUGINS[syntax].encode() + b"\0" + encoded)
    except (EOFError, OSError, TimeoutError) as error:
        child.end()
        raise InputError(
            f"{name} is damaged: its compressed pixels stop the {PLUGINS[syntax]} decoder"
        ) from error
    _idle.put(child)
    if not decoded:
        raise InputError(
            f"{name} is damaged, or compressed in a way that {PLUGINS[syntax]} cannot decode"
        )
    return np.load(io.BytesIO(decoded), allow_pickle=False)


class _Child:
    """A decoding process and the pipe to it; it ends with this one."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")  # JAX's threads do not survive a fork
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True, name="dicom")
        self._process.start()
        theirs.close()

    def ask(self, request: bytes) -> bytes:
        self._pipe.send_bytes(request)
        if not self._pipe.poll(SECONDS):
            raise TimeoutError
        return self._pipe.recv_bytes()

    def end(self) -> None:
        self._process.kill()
        self._process.join()
        self._pipe.close()


def _serve(pipe: Connection) -> None:
    """The child: (plug-in, 0, file) -> .npy bytes, empty where it cannot be decoded; until the pipe closes."""
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)  # the decoders' own complaints
    while True:
        try:
            plugin, _, encoded = pipe.recv_bytes().partition(b"\0")
        except (EOFError, KeyboardInterrupt):
            return
        answer = io.BytesIO()
        try:
            np.save(answer, _frame(encoded, plugin.decode()), allow_pickle=False)
        except BaseException:  # a panic in Rust is no Exception
            answer = io.BytesIO()
        pipe.send_bytes(answer.getvalue())


def _frame(encoded: bytes, plugin: str) -> np.ndarray:
    import pydicom
    from pydicom.pixels.utils import pixel_array

    return pixel_array(
        pydicom.dcmread(io.BytesIO(encoded), force=True), index=0, decoding_plugin=plugin
    )
