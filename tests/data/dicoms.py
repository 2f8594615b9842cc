"""DICOM files of the tests' own making."""

from __future__ import annotations

import io
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pydicom
from pydicom import uid
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset

PATIENT = "Quincunx^Zebedee"  # stands in every file, in no output
_PLACE = {"PatientName": PATIENT, "PatientID": "QZ-4711", "PatientBirthDate": "19011213"}


def data_set(pixels: np.ndarray, **elements) -> Dataset:
    """A digital X-ray of a chest: pixels [H, W] or [H, W, 3] of 8 or 16 bits; elements replace what it would say."""
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
    for name, value in fields.items():
        if value is not None:
            setattr(made, name, value)
    made.HighBit = made.BitsStored - 1
    return made


def save(made: Dataset) -> bytes:
    file = io.BytesIO()
    made.save_as(file, enforce_file_format=True)
    return file.getvalue()


def dicom(pixels: np.ndarray, **elements) -> bytes:
    """A file of `data_set`, without compression."""
    return save(data_set(pixels, **elements))


def compressed(pixels: np.ndarray, syntax: uid.UID, **elements) -> bytes:
    """The same, compressed by pydicom's plug-ins (RLE, JPEG 2000) or, for JPEG lossless, by GDCM."""
    made = data_set(pixels, **elements)
    if syntax != uid.JPEGLosslessSV1:
        made.compress(syntax, generate_instance_uid=False)
        return save(made)
    import gdcm

    with tempfile.TemporaryDirectory() as folder:
        plain, packed = (Path(folder, name) for name in ("plain.dcm", "packed.dcm"))
        plain.write_bytes(save(made))
        reader, change, writer = (
            gdcm.ImageReader(),
            gdcm.ImageChangeTransferSyntax(),
            gdcm.ImageWriter(),
        )
        reader.SetFileName(str(plain))
        assert reader.Read()
        change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer.SetFileName(str(packed))
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        assert writer.Write()
        return packed.read_bytes()


def lut(entries: list[int], *, first: int, bits: int) -> list[Dataset]:
    """A modality or VOI LUT sequence of one table."""
    item = Dataset()
    for name, value in (("LUTDescriptor", [len(entries), first, bits]), ("LUTData", entries)):
        setattr(item, name, value)
        item[name].VR = "SS" if name == "LUTDescriptor" and first < 0 else "US"
    return [item]


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
