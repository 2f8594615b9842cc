"""DICOM files of the tests' own making."""

from __future__ import annotations

import io
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pydicom
from PIL import Image
from pydicom import encaps, uid
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset

PATIENT = "Quincunx^Zebedee"  # stands in every file, in no output
_GDCM = {
    uid.JPEGLosslessSV1: "JPEGLosslessProcess14_1",
    uid.JPEGLSLossless: "JPEGLSLossless",
}
_PLACE = {"PatientName": PATIENT, "PatientID": "QZ-4711", "PatientBirthDate": "19011213"}


def data_set(pixels: np.ndarray, **elements) -> Dataset:
    """A digital X-ray of a chest: pixels [H, W] or [H, W, 3] of 8 or 16 bits; elements replace what
    it would say, None leaves them out.
    """
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    made.SOPClassUID = uid.DigitalXRayImageStorageForPresentation
    made.SOPInstanceUID = uid.generate_uid(entropy_srcs=["jaxcxr"])
    made.Rows, made.Columns = pixels.shape[:2]
    made.SamplesPerPixel = 1 if pixels.ndim == 2 else 3
    made.PhotometricInterpretation = "MONOCHROME2" if pixels.ndim == 2 else "RGB"
    if pixels.ndim == 3:
        made.PlanarConfiguration = 0
    made.BitsAllocated = made.BitsStored = 8 * pixels.dtype.itemsize
    made.PixelRepresentation = int(pixels.dtype.kind == "i")
    made.PixelData = pixels.tobytes()
    made["PixelData"].VR = "OB" if pixels.dtype.itemsize == 1 else "OW"
    fields = {
        "Modality": "DX",
        "BodyPartExamined": "CHEST",
        "ViewPosition": "PA",
        **_PLACE,
        **elements,
    }
    made.HighBit = (elements.get("BitsStored") or made.BitsStored) - 1
    for name, value in fields.items():
        if value is not None:
            setattr(made, name, value)
        elif name in made:
            delattr(made, name)
    return made


def save(made: Dataset) -> bytes:
    file = io.BytesIO()
    made.save_as(file, enforce_file_format=True)
    return file.getvalue()


def dicom(pixels: np.ndarray, **elements) -> bytes:
    """A file of `data_set`, without compression."""
    return save(data_set(pixels, **elements))


def written(pixels: np.ndarray, syntax: uid.UID, **elements) -> bytes:
    """The same in any transfer syntax, compressed by pydicom's plug-ins, by Pillow (JPEG) or by
    GDCM.
    """
    if syntax in _GDCM:
        return _by_gdcm(dicom(pixels, **elements), _GDCM[syntax])
    made = data_set(pixels, **elements)
    if syntax == uid.JPEGBaseline8Bit:
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "JPEG", quality=95)
        return fragmented(made, syntax, stream.getvalue())
    if syntax.is_compressed and syntax != uid.DeflatedExplicitVRLittleEndian:
        made.compress(syntax, generate_instance_uid=False)
        return save(made)
    made.file_meta.TransferSyntaxUID = syntax
    if syntax == uid.ExplicitVRBigEndian:
        made.PixelData = pixels.astype(pixels.dtype.newbyteorder(">")).tobytes()
    return save(made)


def fragmented(made: Dataset, syntax: uid.UID, *frames: bytes) -> bytes:
    """A data set with these frames as its pixels, as they are."""
    made.file_meta.TransferSyntaxUID = syntax
    made.PixelData = encaps.encapsulate(list(frames))
    made["PixelData"].VR = "OB"
    made["PixelData"].is_undefined_length = True
    return save(made)


def _by_gdcm(encoded: bytes, syntax: str) -> bytes:
    import gdcm

    with tempfile.TemporaryDirectory() as folder:
        plain, packed = (Path(folder, name) for name in ("plain.dcm", "packed.dcm"))
        plain.write_bytes(encoded)
        reader, change, writer = (
            gdcm.ImageReader(),
            gdcm.ImageChangeTransferSyntax(),
            gdcm.ImageWriter(),
        )
        reader.SetFileName(str(plain))
        assert reader.Read()
        change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax)))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer.SetFileName(str(packed))
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        assert writer.Write()
        return packed.read_bytes()


def lut(entries: list[int], *, first: int, bits: int) -> list[Dataset]:
    """A modality or VOI LUT sequence of one table."""
    return [lut_item([len(entries), first, bits], entries, "US")]


def lut_item(descriptor: list[int], entries: list[int] | bytes, vr: str) -> Dataset:
    """An item of such a sequence, right or wrong."""
    item = Dataset()
    item.add_new(0x00283002, "SS" if min(descriptor) < 0 else "US", descriptor)
    item.add_new(0x00283006, vr, entries)
    return item


def relabelled(encoded: bytes, *, stored: int, high: int, signed: bool = False) -> bytes:
    """A file that says of its pixels, as they are, that so many bits are stored."""
    for element, value in ((0x0101, stored), (0x0102, high), (0x0103, int(signed))):
        tag = b"\x28\x00" + element.to_bytes(2, "little")
        encoded = damaged(encoded, tag, bytes([value, 0]))
    return encoded


def damaged(encoded: bytes, element: bytes, value: bytes) -> bytes:
    """A file whose element (tag, little endian; explicit VR of short length) holds other bytes, no
    more than before.
    """
    at = encoded.index(element) + 6
    length = int.from_bytes(encoded[at : at + 2], "little")
    assert len(value) <= length
    return encoded[: at + 2] + value.ljust(length) + encoded[at + 2 + length :]


def shipped(name: str) -> bytes:
    """A test file that comes with pydicom."""
    path = get_testdata_file(name, download=False)
    assert isinstance(path, str)
    return Path(path).read_bytes()


def read(encoded: bytes) -> pydicom.Dataset:
    """pydicom's own reading, for comparison."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pydicom.dcmread(io.BytesIO(encoded), force=True)
