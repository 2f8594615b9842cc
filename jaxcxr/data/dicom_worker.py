"""The process that decompresses pixels.

It imports a decoder and no more, so that another one is there in no time.

Requests come in by standard input and answers leave by standard output, each as its length and its
bytes. It is run as a file, not as a part of jaxcxr, whose import takes seconds.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.machinery
import importlib.util
import io
import json
import os
import sys
from collections.abc import Callable
from typing import Any

RUN_UP = 64 << 20  # bytes that a decoder may take beyond what the image needs
BYTES_PER_SAMPLE = 24  # OpenJPEG: 4 for coefficients, 4 for the image, their copies
CPU_SECONDS = 0.3  # of the processor, for any image
CPU_SECONDS_PER_MEGASAMPLE = 3.0  # JPEG 2000 takes 0.1


def serve(requests: Any, answers: Any) -> None:
    """(JSON, frame) -> decoded bytes, none where it cannot be decoded; until the requests end."""
    while (request := receive(requests)) is not None:
        try:
            frame = receive(requests) or b""
            answer = _decode(json.loads(request), frame)
        except BaseException:  # a panic in Rust is no Exception
            answer = b""
        send(answers, answer)


def send(file: Any, content: Any) -> None:
    """Writes a message that `receive` reads: 8 bytes of length, then `content`."""
    file.write(len(content).to_bytes(8, "little"))
    file.write(content)
    file.flush()


def receive(file: Any) -> bytes | None:
    """The next message of `send`; None at the end of the stream."""
    head = file.read(8)
    if len(head) < 8:
        return None
    content = file.read(int.from_bytes(head, "little"))
    return content if len(content) == int.from_bytes(head, "little") else None


def _decode(image: dict[str, Any], frame: bytes) -> bytes:
    decoder = _loaded(image["decoder"])  # before its time is counted
    with _limits(image["rows"] * image["columns"] * image["samples"]):
        return decoder(image, frame)


@functools.cache
def _loaded(name: str) -> Callable[[dict[str, Any], bytes], Any]:
    return _DECODERS[name]()


@contextlib.contextmanager
def _limits(samples: int) -> Any:
    """Ends the process, or its allocations, where an image takes more than its size can need."""
    try:
        import resource
        import signal
    except ImportError:  # Windows: the parent's clock is what remains
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    with contextlib.suppress(OSError, ValueError):  # there is no /proc on macOS, and no limit
        with open("/proc/self/statm", encoding="ascii") as file:
            now = int(file.read().split()[0]) * resource.getpagesize()
        allowed = now + RUN_UP + BYTES_PER_SAMPLE * samples
        resource.setrlimit(resource.RLIMIT_AS, (allowed if hard < 0 else min(allowed, hard), hard))
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS + CPU_SECONDS_PER_MEGASAMPLE * samples / 1e6)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _pillow() -> Any:
    from PIL import Image, JpegImagePlugin  # noqa: F401

    def decode(image: dict[str, Any], frame: bytes) -> bytes:
        with Image.open(io.BytesIO(frame), formats=("JPEG",)) as opened:
            plain = image["rgb"] and not {"jfif", "adobe_transform"} & opened.info.keys()
            if image["samples"] == 3 and plain:
                opened.draft("YCbCr", opened.size)  # its components as they are stored
            elif image["samples"] == 3:
                opened = opened.convert("RGB")
            return opened.tobytes()

    return decode


def _openjpeg() -> Any:
    from openjpeg.utils import decode_pixel_data

    return lambda image, frame: decode_pixel_data(frame, version=2)


def _rle() -> Any:
    # The extension alone: its package imports NumPy, and a decoder that ends often has to be back
    # soon.
    package = importlib.util.find_spec("rle")
    spec = package and importlib.machinery.PathFinder.find_spec(
        "rle", package.submodule_search_locations
    )
    assert spec is not None and spec.loader is not None
    extension = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(extension)
    return lambda image, frame: extension.decode_frame(
        frame, image["rows"] * image["columns"], image["allocated"], "<"
    )


def _gdcm() -> Any:
    import gdcm

    def decode(image: dict[str, Any], frame: bytes) -> bytes:
        fragment = gdcm.Fragment()
        fragment.SetByteStringValue(frame)
        fragments = gdcm.SequenceOfFragments.New()
        fragments.AddFragment(fragment)
        element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
        element.SetValue(fragments.__ref__())
        picture = gdcm.Image()
        picture.SetNumberOfDimensions(2)
        picture.SetDimensions((image["columns"], image["rows"], 1))
        picture.SetDataElement(element)
        kind = "RGB" if image["samples"] == 3 else "MONOCHROME2"
        kind = gdcm.PhotometricInterpretation.GetPIType(kind)
        picture.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(kind))
        if image["samples"] == 3:
            picture.SetPlanarConfiguration(0)
        syntax = gdcm.TransferSyntax.GetTSType(image["syntax"])
        picture.SetTransferSyntax(gdcm.TransferSyntax(syntax))
        bits = image["precision"]
        container = 8 if bits <= 8 else 16
        picture.SetPixelFormat(
            gdcm.PixelFormat(image["samples"], container, bits, bits - 1, image["signed"])
        )
        return picture.GetBuffer().encode("utf-8", "surrogateescape")  # SWIG makes text of char *

    return decode


_DECODERS = {"pillow": _pillow, "openjpeg": _openjpeg, "rle": _rle, "gdcm": _gdcm}


def main() -> None:
    """Serves until the standard input ends; decoders cannot print into the answers."""
    answers = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)  # the decoders' own words
    os.dup2(nowhere, 2)
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        serve(sys.stdin.buffer, answers)
    os._exit(0)


if __name__ == "__main__":
    main()
