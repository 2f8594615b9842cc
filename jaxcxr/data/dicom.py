"""DICOM files -> grey pixels as displayed (lungs dark), and doubts about them.

Of a header only the elements of `dicom_header.ELEMENTS` are ever decoded: how pixels are stored,
how they are displayed, which body part and view they show. Neither results nor errors carry text
from a header, so names, dates and numbers of patients go nowhere.
"""

from __future__ import annotations

import dataclasses
import logging
import unicodedata
import warnings

import numpy as np
from PIL import Image

from jaxcxr.data import decoding, dicom_pixels
from jaxcxr.data.dicom_display import displayed
from jaxcxr.data.dicom_header import MAX_BYTES, Header, is_dicom, read_header
from jaxcxr.data.dicom_luts import to_rgb
from jaxcxr.data.dicom_pixels import Layout
from jaxcxr.errors import InputError

__all__ = ["MAX_BYTES", "Decoded", "decode_dicom", "is_dicom"]

NOT_AN_X_RAY = "not an X-ray of modality CR, DX or RG"
NOT_THE_CHEST = "the body part examined is not the chest"
LATERAL = "lateral view"
FRAMES = "several frames, of which the first was taken"
COLOUR = "colour image"
UNPROCESSED = "made for processing, not for display: its grey values may look unlike an X-ray's"

_MODALITIES = ("CR", "DX", "RG", "DR", "XR")  # the last two are no terms of DICOM, yet used
# Parts of words for the chest and the lungs, without accents: English, Spanish, Portuguese,
# Italian, French, German, Dutch, the Scandinavian and Slavonic languages, Hungarian, Turkish;
# Russian, Greek, Chinese and Japanese, Korean.
_CHEST = (
    "CHEST", "THORA", "TORA", "LUNG", "PULM", "POLM", "POUMON", "PECHO", "POITRINE", "BRUSTK",
    "BORSTK", "BRYSTK", "BROSTK", "KLATK", "HRUDN", "MELLKAS", "GOGUS", "ГРУД", "ЛЕГК", "ΘΩΡΑΚ",
    "胸", "肺", "흉부", "폐",
)  # fmt: skip
# Thoracic, and no chest.
_SPINE = (
    "SPINE",
    "COLUMN",
    "COLUNA",
    "COLONN",
    "RACHIS",
    "VERTEB",
    "WIRBEL",
)
_ENCODINGS = (
    "utf-8",
    "latin-1",
    "gb18030",
    "shift_jis",
    "euc_kr",
    "iso8859_5",
    "iso8859_7",
    "cp1251",
)
# View Position, and the SNOMED CT and RT codes of CID 4010: lateral, left lateral, right lateral,
# lateral-medial.
_LATERAL_VIEWS = ("LL", "RL", "LAT", "LATERAL", "LLAT", "RLAT")
_LATERAL_CODES = (
    "399067008", "399173006", "399198007", "399352003", "R-102CD", "R-10236", "R-10232", "R-10228",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Decoded:
    """A decoded X-ray and doubts about it.

    pixels: [H, W] uint8, or uint16 where more than 256 levels are possible. doubts: sentences,
    mostly none.
    """

    pixels: np.ndarray
    doubts: tuple[str, ...]


def decode_dicom(encoded: bytes, name: str) -> Decoded:
    """Decodes one X-ray to the values that a viewer displays.

    Stored values, modality LUT or rescale, VOI LUT or window, polarity; see `displayed`.

    Args:
        encoded: the file's bytes.
        name: what errors call the file.

    Raises:
        InputError: not DICOM, damaged, without pixels, larger than decoding.MAX_PIXELS or
            MAX_BYTES, or compressed in a way that no installed plug-in decodes. Where the header is
            to blame, the error does not quote it.
    """
    _silence_pydicom()
    if len(encoded) > MAX_BYTES:
        raise InputError(f"{name} has {len(encoded):,} bytes, more than the {MAX_BYTES:,} allowed")
    try:
        header = read_header(encoded, name)
        layout = dicom_pixels.layout(header, name)
        stored = dicom_pixels.first_frame(header, layout, name)
        layout = dataclasses.replace(layout, signed=stored.signed)
        doubts = _doubts(header, layout)
        if layout.photometric in dicom_pixels.GREY:
            pixels = displayed(stored, layout, header)
        else:
            rgb = to_rgb(stored, layout, header, name)
            doubts += (COLOUR,) if decoding.is_coloured(rgb) else ()
            pixels = np.asarray(Image.fromarray(rgb).convert("L"))
        return Decoded(pixels, (*doubts, *header.notes))
    except InputError:
        raise
    except Exception as error:  # some seven types, whose texts may quote the header
        raise InputError(f"{name} is a damaged DICOM file ({type(error).__name__})") from None


def _silence_pydicom() -> None:
    """Silences pydicom, whose warnings quote the header.

    Called for every file, since tests reset filters.
    """
    warnings.filterwarnings("ignore", module=r"pydicom(\.|$)")
    logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)


def _doubts(header: Header, layout: Layout) -> tuple[str, ...]:
    """Warnings about a header that contradicts a frontal chest X-ray; its values are not quoted."""
    view = header.item("ViewCodeSequence")
    # Towards which side of the patient rows of pixels run: A or P in a lateral view.
    side = header.word("PatientOrientation")[:1]
    checks = {
        NOT_AN_X_RAY: header.word("Modality") not in _MODALITIES,
        NOT_THE_CHEST: not _may_be_the_chest(header.raw("BodyPartExamined")),
        LATERAL: header.word("ViewPosition") in _LATERAL_VIEWS
        or (view is not None and view.word("CodeValue") in _LATERAL_CODES)
        or side in ("A", "P"),
        FRAMES: layout.frames > 1,
        UNPROCESSED: header.word("PresentationIntentType") == "FOR PROCESSING",
    }
    return tuple(text for text, holds in checks.items() if holds)


def _may_be_the_chest(body_part: bytes) -> bool:
    """Returns whether a body part may be the chest, in any language and encoding, or is empty."""
    if not body_part.strip(b" \0"):
        return True
    for encoding in _ENCODINGS:
        text = unicodedata.normalize("NFKD", body_part[:256].decode(encoding, "ignore")).upper()
        text = "".join(letter for letter in text if not unicodedata.combining(letter))
        if any(part in text for part in _CHEST):
            return not any(part in text for part in _SPINE)
    return False
