"""DICOM files: damage in eight transfer syntaxes, bombs, and other people's files."""

from __future__ import annotations

import numpy as np
from pydicom import uid

from jaxcxr.data import xray_files
from tests.data import dicoms
from tests.faults.limits import mutants
from tests.faults.promises import promise

_SYNTAXES = {
    "implicit": uid.ImplicitVRLittleEndian,
    "explicit": uid.ExplicitVRLittleEndian,
    "big-endian": uid.ExplicitVRBigEndian,
    "deflated": uid.DeflatedExplicitVRLittleEndian,
    "rle": uid.RLELossless,
    "jpeg": uid.JPEGBaseline8Bit,
    "jpeg-lossless": uid.JPEGLosslessSV1,
    "jpeg-ls": uid.JPEGLSLossless,
    "jpeg-2000": uid.JPEG2000Lossless,
}


def _read(content: bytes) -> None:
    xray_files.read(content, "x.dcm")


def _samples(syntax: uid.UID) -> list[bytes]:
    """Two X-rays: with a window, and signed with a VOI LUT, a rescale and padding."""
    y, x = np.mgrid[:240, :232]
    grey = (2000 + 1500 * np.sin(x / 40) * np.cos(y / 50)).astype(np.uint16)
    grey[:20] = 0
    tables = {"RescaleSlope": 2, "RescaleIntercept": -7, "PixelPaddingValue": -2048}
    lut = dicoms.lut(list(range(0, 65536, 64)), first=-2000, bits=16)
    window = {"WindowCenter": [2000, 50], "WindowWidth": [1500, 2]}
    if syntax == uid.JPEGBaseline8Bit:
        small = (grey // 16).astype(np.uint8)
        return [dicoms.written(small, syntax), dicoms.written(np.stack([small] * 3, axis=-1), syntax)]
    return [
        dicoms.written(grey, syntax, BitsStored=12, **window),
        dicoms.written((grey - 2048).astype(np.int16), syntax, BitsStored=12, VOILUTSequence=lut, **tables),
    ]


def _damaged(syntax: uid.UID):
    return lambda context: mutants(context, _samples(syntax), _read)


for _name, _syntax in _SYNTAXES.items():
    promise(
        f"mutants/dicom-{_name}",
        f"a damaged DICOM file ({_syntax.name}) is read or one error, in 1 s and 256 MiB",
        full=10_000,
        quick=30,
    )(_damaged(_syntax))
