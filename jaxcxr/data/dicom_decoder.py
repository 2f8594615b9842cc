"""Decompression of DICOM pixels in a separate process.

Damaged files end some decoders' process.

GDCM aborts on many a mutated JPEG or JPEG-LS frame, and pylibjpeg-rle panics on RLE: one such file
must not end a run over a folder. A child process is started for the first compressed file and used
again; with several threads there are as many as decode at a time. Its memory and its processor time
are bounded by the size of the image (`dicom_worker`).
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from typing import Any

from jaxcxr.data import dicom_worker
from jaxcxr.errors import InputError

PACKAGES = {  # what must be installed for a decoder: module -> package
    "pillow": {"PIL": "pillow"},
    "gdcm": {"gdcm": "python-gdcm"},
    "openjpeg": {"openjpeg": "pylibjpeg-openjpeg"},
    "rle": {"rle": "pylibjpeg-rle"},
}
SECONDS = 60.0  # by the clock, beside ten times what the processor may take: a machine may be busy

_idle: queue.SimpleQueue[_Child] = queue.SimpleQueue()


def decode(frame: bytes, image: dict[str, Any], name: str) -> bytes:
    """The samples of a compressed frame, row by row, of one byte each or of two (little endian).

    Args:
        frame: a code stream of JPEG, JPEG-LS or JPEG 2000, or RLE segments.
        image: decoder (a key of PACKAGES), rows, columns, samples; and what one of them needs:
            allocated (bits; RLE), precision, signed, syntax (GDCM), rgb (Pillow: whether the header
            says that components are RGB).
        name: of the file, for errors.

    Raises:
        InputError: the decoder refuses it, ends, or takes longer or more memory than an image of
            its size may.
    """
    decoder = image["decoder"]
    samples = image["rows"] * image["columns"] * image["samples"]
    limit = SECONDS + 10 * dicom_worker.CPU_SECONDS_PER_MEGASAMPLE * samples / 1e6
    try:
        child = _idle.get_nowait()
    except queue.Empty:
        child = _Child()
    try:
        decoded = child.ask(json.dumps(image).encode(), frame, limit)
    except BaseException as error:  # also an interrupt: its answer must not meet the next question
        child.end()
        if not isinstance(error, (EOFError, OSError)):
            raise
        raise InputError(
            f"{name} is damaged: its compressed pixels stop the {decoder} decoder"
        ) from None
    _idle.put(child)
    if not decoded:
        raise InputError(f"{name} is damaged, or compressed in a way that {decoder} cannot decode")
    return decoded


@atexit.register
def end_idle() -> None:
    """Ends the processes that decode nothing now."""
    while not _idle.empty():
        _idle.get_nowait().end()


class _Child:
    """A decoding process and the pipes to it; it ends with this one."""

    def __init__(self) -> None:
        # What can be imported here can be imported there, without a look at site-packages' .pth
        # files (-S), but for the files beside the worker (-P).
        path = os.pathsep.join(entry for entry in sys.path if entry)
        self._process = subprocess.Popen(
            [sys.executable, "-SP", dicom_worker.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": path},
        )

    def ask(self, image: bytes, frame: bytes, limit: float) -> bytes:
        clock = threading.Timer(limit, self._process.kill)
        clock.daemon = True
        clock.start()
        try:
            dicom_worker.send(self._process.stdin, image)
            dicom_worker.send(self._process.stdin, frame)
            answer = dicom_worker.receive(self._process.stdout)
        finally:
            clock.cancel()
        if answer is None:
            raise EOFError
        return answer

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                with contextlib.suppress(OSError):  # of what could not be sent
                    pipe.close()
