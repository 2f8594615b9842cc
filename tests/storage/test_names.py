"""Names that users gave, in what we write: of pictures, in the cells of tables, on the terminal."""

from __future__ import annotations

import csv
import io
import re
import subprocess
import sys
import unicodedata

import pytest

from jaxcxr.storage import files
from jaxcxr.storage.names import PictureNames, csv_line, print_whatever_comes, printable

HASH = re.compile(r"~[0-9a-f]{8}")


@pytest.mark.parametrize(
    "name",
    [
        "a.png",
        "case 7/PA (2).dcm",
        "Thorax-Ä",
        "胸部.png",
        "a/b/c",
        "x.tar.gz",
        "-1",
        "=1",
        "$HOME",
        "'s",
    ],
)
def test_a_harmless_name_stays(name):
    assert PictureNames().of(name) == f"{name}.png"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("胸" * 80, "胸" * 63),  # 189 of 200 bytes: a character has three
        ("x" * 300, "x" * 191),
        ("a" * 199 + "é", "a" * 191),
        ("línea\nnueva", "línea_nueva"),
        ("\x1b[31mred", "_[31mred"),
        ("12:30", "12_30"),
        ("a\\b", "a_b"),
        ("exe\u202egnp", "exe_gnp"),
        ("con", "con"),
        ("LPT1.png", "LPT1.png"),
        ("..", "__"),
        ("", ""),
    ],
)
def test_what_is_readable_of_a_harmful_name_stays(name, expected):
    changed = PictureNames().of(name)
    assert HASH.sub("", changed) == f"{expected}.png" and HASH.search(changed)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("../../etc/x", "__/__/etc/x"),
        ("/etc/x", "/etc/x"),
        ("a./b", "a/b"),
        ("nul/b", "nul/b"),
        ("a/./b", "a/_/b"),
    ],
)
def test_a_picture_never_leaves_its_folder(name, expected, tmp_path):
    changed = PictureNames().of(name)
    assert HASH.sub("", changed) == f"{expected}.png"
    assert (tmp_path / changed).resolve().is_relative_to(tmp_path) and ".." not in changed


@pytest.mark.parametrize(
    "names",
    [
        ("a", "a.png/b", "a.png/c"),
        ("a.png/b", "a"),
        ("a.PNG/b", "A"),
        ("A", "a"),
        ("Straße", "STRASSE"),
        (unicodedata.normalize("NFC", "é"), unicodedata.normalize("NFD", "é")),
        ("a:b", "a_b", "a?b"),
        ("x" * 250, "x" * 251),
        ("d/" * 900 + "a", "e/" * 900 + "a"),
        ("胸" * 80 + "1", "胸" * 80 + "2"),
    ],
)
def test_no_two_pictures_have_one_name_and_none_that_of_a_folder(names, tmp_path):
    pictures = PictureNames()
    found = [pictures.of(name) for name in names]
    assert found == [pictures.of(name) for name in names]
    assert len({unicodedata.normalize("NFC", name).casefold() for name in found}) == len(names)
    for name in found:
        files.write_bytes(tmp_path / name, name.encode())
    assert [(tmp_path / name).read_bytes().decode() for name in found] == found


def test_the_folder_of_two_pictures_stays_one_folder():
    pictures = PictureNames()
    a, b, c = (pictures.of(name) for name in ("a", "a.png/b", "a.png/c"))
    assert a == "a.png" and re.fullmatch(r"a\.png~[0-9a-f]{8}/b\.png", b)
    assert c == b.replace("b.png", "c.png")


def test_names_with_several_suffixes_and_names_that_are_taken():
    pictures = PictureNames(("_2.png", "_3.png"), reserved=("index.json", "votes"))
    assert pictures.of("a") == "a_2.png"
    assert HASH.search(pictures.of("a_2.png/b")) and HASH.search(pictures.of("VOTES/b"))
    assert HASH.search(PictureNames(reserved=("sheet_normal.png",)).of("sheet_normal"))


@pytest.mark.parametrize(
    "text", ["=1+1", "+49", "-1|cmd", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "'=1", "＝1", '=a,"b"\n']
)
def test_no_spreadsheet_takes_a_text_for_a_formula(text):
    [[cell, number, other]] = csv.reader(io.StringIO(csv_line([text, -0.5, "a=b"]), newline=""))
    assert (cell, number, other) == (f"'{text}", "-0.5", "a=b")


@pytest.mark.parametrize("text", [";=1+1.png", "a\t=cmd.png", 'b;"-1'])
def test_what_others_take_for_the_end_of_a_cell_stands_in_quotes(text):
    line = csv_line([text, 1, None])
    assert line.startswith('"') and next(csv.reader([line])) == [text, "1", ""]
    assert all(not row[0].startswith("=") for d in ";\t" for row in csv.reader([line], delimiter=d))


def test_a_terminal_obeys_no_name():
    assert (
        printable("\x1b]0;x\x07胸 é\u202e\r\n\x9b\udcff")
        == "\\x1b]0;x\\x07胸 é\\u202e\\r\\n\\x9b\\udcff"
    )
    assert printable("two\nlines\r", keep="\n") == "two\nlines\\r"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_no_character_stops_a_print(encoding):
    shown = r"print('胸 é \udcff', flush=True)"
    source = f"from jaxcxr.storage import names; names.print_whatever_comes(); {shown}"
    run = subprocess.run(
        [sys.executable, "-c", source],
        env={"PYTHONIOENCODING": encoding},
        capture_output=True,
        check=True,
    )
    shown = {"ascii": "\\u80f8 \\xe9", "latin-1": "\\u80f8 é", "utf-8": "胸 é"}[encoding]
    assert run.stdout.decode(encoding).strip() == f"{shown} \\udcff"


def test_a_stream_that_cannot_be_set_is_left_alone(monkeypatch):
    stream = object()
    monkeypatch.setattr(sys, "stdout", stream)
    print_whatever_comes()
    assert sys.stdout is stream
