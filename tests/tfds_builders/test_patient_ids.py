"""One id for all spellings of a patient, another one for everybody else."""

from __future__ import annotations

import unicodedata

import pytest

from tfds_builders import patient_ids


@pytest.mark.parametrize(
    "one, other",
    [
        ("3", "3.0"),
        ("3", "003"),
        ("P3", "p3"),
        ("P3", "P003"),
        ("COVID-00003", "covid-3"),
        ("Anna  Müller", " anna müller"),
        (unicodedata.normalize("NFC", "Müller"), unicodedata.normalize("NFD", "Müller")),
        ("３", "3"),
        ("7", "7\u200b"),  # zero-width space
        ("7", "\ufeff7"),  # byte-order mark
        ("7", "7\u00ad"),  # soft hyphen
        ("P\u00a07", "P 7"),  # blank without a break
        ("P\u202f7", "P\u20097"),
        ("Anna\u200d Müller", "anna müller"),
        ("7", "7,0"),
        ("7", "7E0"),
        ("100000", "1E+05"),
        ("1e5", "1.00E+05"),
        ("1,0E+05", "100000.0"),
        ("12345e67", "1.2345E+71"),  # a hexadecimal number, and what Excel makes of it
        ("IM-0115", "IM-115"),
        ("P003-02", "P3-2"),
        ("train-NORMAL2-IM-0383", "train-NORMAL2-IM-383"),
    ],
)
def test_spellings_of_one_patient_give_one_id_and_a_notice(one, other):
    found = patient_ids.read([one, other, "else"], prefix="x")
    assert found.ids[one] == found.ids[other] != found.ids["else"]
    assert (
        len(found.notices) == 1
        and repr(other) in found.notices[0]
        and repr(one) in found.notices[0]
    )


@pytest.mark.parametrize(
    "texts",
    [
        ["1.05", "1.5", "105"],
        ["311a", "311b", "311"],
        ["P3", "Q3", "3", "P-3", "P30"],
        ["张", "王", "李"],
        ["甲 0", "乙 0", "甲 1"],
        ["0a35", "a35", "00a35"],
        ["a b", "a_b", "a-b", "a/b"],
        ["1.5E0", "15", "1.25E+01", "1E-05", "1e999"],
        ["P1-10", "P11-0", "P1-1", "P110", "P-1-10"],
        ["IM-100", "IM-10", "IM-1", "IM-0", "IM"],
    ],
)
def test_other_patients_have_other_ids(texts):
    found = patient_ids.read(texts, prefix="x")
    assert len(set(found.ids.values())) == len(texts) and not found.notices
    assert all(id.isascii() and " " not in id for id in found.ids.values())


def test_ids_of_plain_letters_and_digits_are_as_written():
    texts = ["311a", "0a359802", "COVID-00003", "007", "CR.1.2"]
    assert patient_ids.read(texts, prefix="x").ids == {text: f"x-{text}" for text in texts}
    assert patient_ids.read(["7.0"], prefix="x").ids == {"7.0": "x-7"}
    assert patient_ids.read(["1,00E+05", "1234e567", "\u200b7"], prefix="x").ids == {
        "1,00E+05": "x-100000",
        "1234e567": "x-1234e567",  # hexadecimal
        "\u200b7": "x-7",
    }


@pytest.mark.parametrize(
    "text", ["", " ", "nan", "NaN", "None", "n/a", "N/A", "NULL", "-", "unknown"]
)
def test_what_stands_for_nobody_is_no_patient(text):
    assert patient_ids.key(text) == ""
    assert patient_ids.read([text, "1"], prefix="x").ids == {"1": "x-1"}


def test_patients_with_a_file_in_common_are_one_and_a_known_one_keeps_its_name():
    found = patient_ids.read(
        ["C", "A", "B", "178", "178.0"],
        prefix="x",
        same={"178": "97"},
        together=[("C", "B"), ("B", "A")],
    )
    assert found.ids == {"C": "x-C", "A": "x-C", "B": "x-C", "178": "x-97", "178.0": "x-97"}
    assert found.notices == (
        ("2 patients share an image file with another one and are joined: 'A' is 'C', 'B' is 'C'"),
    )


@pytest.mark.parametrize("texts", [["003", "3"], ["3", "003"], ["003"], ["3.0", "３"]])
def test_where_other_sets_name_a_patient_the_id_depends_on_no_other_row(texts):
    found = patient_ids.read(texts, prefix="x", spell=str)
    assert set(found.ids.values()) == {"x-3"}
