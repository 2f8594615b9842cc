"""Tables of images: read by column name, rows chosen by the files there are, faults named."""

from __future__ import annotations

import types

import pytest

from tfds_builders import attributes, file_names, manual_folder, rejection, tables


def write(tmp_path, data: bytes):
    path = tmp_path / "t.csv"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    "data",
    [
        b"id,view\n1,PA\n2, AP \n",
        b"\xef\xbb\xbfID , View,\r\n1,PA,\r\n2,AP,\r\n",
        b'"id","view"\n"1","PA"\n"2","AP"',
    ],
    ids=["plain", "BOM, blanks, CR LF and commas at the ends", "quoted, no last newline"],
)
def test_columns_are_found_by_name_and_cells_stripped(tmp_path, data):
    table = tables.read_table(write(tmp_path, data), required=("id", "view"))
    assert table.columns == ("id", "view")
    assert [dict(row) for row in table.rows] == [
        {"id": "1", "view": "PA"},
        {"id": "2", "view": "AP"},
    ]


def test_a_line_that_ends_early_gives_blanks_and_one_without_text_is_no_row(tmp_path):
    table = tables.read_table(write(tmp_path, b"id,note,view\n,,\n2\n\n"), required=("id", "view"))
    assert [dict(row) for row in table.rows] == [{"id": "2", "note": "", "view": ""}]


@pytest.mark.parametrize(
    "encoding, notice",
    [
        ("utf-8", []),
        ("utf-8-sig", []),
        ("utf-16", []),
        ("utf-32", []),
        ("cp1252", ["t.csv is no UTF-8 and was read as Windows-1252"]),
    ],
)
def test_the_encoding_is_told_by_its_mark_or_its_bytes(tmp_path, encoding, notice):
    data = "id,view\nradiografía – 1,PA\n".encode(encoding)
    table = tables.read_table(write(tmp_path, data), required=("id", "view"))
    assert table.rows == ({"id": "radiografía – 1", "view": "PA"},)
    assert list(table.notices) == notice


@pytest.mark.parametrize("separator, word", [(";", "semicolons"), ("\t", "tabs")])
def test_another_separator_is_read_and_said(tmp_path, separator, word):
    data = f"id{separator}view\n1{separator}PA, erect\n".encode()
    table = tables.read_table(write(tmp_path, data), required=("id", "view"))
    assert table.rows == ({"id": "1", "view": "PA, erect"},)
    assert table.notices == (f"t.csv is separated by {word}",)


@pytest.mark.parametrize(
    "data, message",
    [
        (b"", r"t\.csv: no column id, view; it has none"),
        (b"id,finding\n1,x\n", r"t\.csv: no column view; it has id, finding"),
        (b"id|view\n1|PA\n", r"t\.csv: no column id, view; it has id\|view"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", r"t\.csv, line 3: a NUL byte"),
        (b'id,view\n1,"' + b"x" * 140_000, r"t\.csv, line 2: a quotation mark .* never closed"),
        (b'id,view\n1,"PA\n2,AP\n', r"t\.csv, line 2: a quotation mark .* never closed"),
        (b'id,view\n1,"PA\n2,"AP"\n', r"t\.csv, line 2: text after a closing quotation mark"),
        (
            b'id,note,age,view\n1,"x,9,PA\n2,y,9,PA\n3,z",9,PA\n',
            r"t\.csv, line 2: a cell of this row has whole rows in it",
        ),
        (
            b'id,view,note\n1,PA,"14x17\n2,AP,film 17"\n3,PA,\n',
            r"t\.csv, line 2: a cell of this row has whole rows in it \(line 3\)",
        ),
        (
            b'id,view,note,date\n1,PA,"film,2020\n2,AP,film",2020\n3,PA,,\n',
            r"t\.csv, line 2: a cell of this row has whole rows in it \(line 3\)",
        ),
        (
            b'note,id,view\n"film,1,PA\nfilm",2,AP\n,3,PA\n',
            r"t\.csv, line 2: a cell of this row has whole rows in it \(line 3\)",
        ),
        (b"id,view,ID\n1,PA,2\n", r"t\.csv: more than one column id"),
        (b"id,view\n1,PA\n2,AP,x\n", r"t\.csv, line 3: 3 cells, but the header has 2"),
        (
            b"id,view,\n1,PA,\n2,AP, supine\n",
            r"t\.csv, line 3: 'supine' is in column 3, which has no name: put quotation marks",
        ),
        (b"\xff\xfei\x00d\x00\x00", r"t\.csv: damaged UTF-16 text"),
    ],
    ids=[
        "empty",
        "column missing",
        "another separator",
        "an image",
        "a huge cell",
        "quote never closed",
        "quote closed by the next one",
        "quote closed rows later",
        "one row within the last cell",
        "one row within a middle cell",
        "one row within the first cell",
        "column twice",
        "row too long",
        "text in a column without a name",
        "half a UTF-16 character",
    ],
)
def test_a_file_that_is_not_the_table_is_refused(tmp_path, data, message):
    with pytest.raises(ValueError, match=message):
        tables.read_table(write(tmp_path, data), required=("id", "view"))


@pytest.mark.parametrize(
    "data",
    [
        b'id,view,note\n1,PA,"Fever, cough,\nno dyspnoea, on day 3, home"\n2,AP,\n',
        b'note,id,view\n"Fever, cough,\nno dyspnoea",1,PA\n,2,AP\n',
        b'id,note,view\n1,"a\n\nb, c, d\n",PA\n2,,AP\n',
        b",id,view\n0,1,PA\n1,2,AP\n",
    ],
    ids=["last cell", "first cell", "middle cell", "row numbers of pandas"],
)
def test_notes_may_have_line_breaks_and_row_numbers_no_name(tmp_path, data):
    table = tables.read_table(write(tmp_path, data), required=("id", "view"))
    assert [(row["id"], row["view"]) for row in table.rows] == [("1", "PA"), ("2", "AP")]


def test_images_that_no_row_names_are_said(tmp_path):
    files = ["a", "b.tif", "c.dcm", "1.2.840", "Thumbs.db", "notes.txt"]
    _, rejected, notices = choose(tmp_path, [("a", "1"), ("b.png", "")], files)
    assert notices == ["2 images are in no row of t.csv and are not used: '1.2.840', 'c.dcm'"]
    assert rejected.counts == {"no x": 1}


def choose(tmp_path, names, files):
    table = tables.Table(columns=("name", "x"), rows=tuple({"name": n, "x": x} for n, x in names))
    return tables.choose_rows(
        table,
        {name: tmp_path / name for name in files},
        file_name=lambda row: row["name"],
        reject_reason=lambda row: rejection.Reason("no x") if not row["x"] else None,
        origin=tmp_path / "t.csv",
    )


def test_rows_are_chosen_in_order_and_the_others_counted(tmp_path):
    rows = [("b", "1"), ("a", "1"), ("c", ""), ("gone", "1"), ("../b", "1"), ("b", "1")]
    kept, rejected, notices = choose(tmp_path, rows, ["a", "b", "c"])
    assert list(kept) == ["b", "a"] and not notices
    assert rejected.counts == {"no x": 1, "missing file": 2, "row given again": 1}
    assert rejected.first_names["missing file"] == ["gone", "../b"]
    assert rejected.faults == ["missing file", "no x"]


@pytest.mark.parametrize(
    "name, file",
    [
        ("im0.png", "im0.png"),
        ("im0", "im0.png"),
        ("IM0.PNG", "im0.png"),
        ("im0.jpg", "im0.png"),
        ("images\\im0.png", "im0.png"),
        ("C:\\xrays\\images\\im0", "im0.png"),
        ("images/im0.png", "im0.png"),
        ("radiograf\u00eda", "radiografi\u0301a.png"),
        ("1.2.840.113564", "1.2.840.113564.png"),
        ("1.2.840", None),
        ("../im0.png", None),
        ("im1", None),
        ("", None),
    ],
)
def test_a_file_is_found_under_another_spelling(name, file):
    files = ["im0.png", "radiografi\u0301a.png", "1.2.840.113564.png", "im1.png", "im1.jpg"]
    assert file_names.match([name], files) == ({name: file} if file else {})


def test_a_spelling_that_two_names_or_two_files_have_is_not_guessed():
    assert file_names.match(["A", "a.jpg"], ["a.png"]) == {}
    assert file_names.match(["a", "a.png"], ["a.png"]) == {"a.png": "a.png"}
    assert file_names.match(["a"], ["a.png", "A.PNG"]) == {}


def test_what_was_found_under_another_spelling_is_said():
    assert file_names.respelt({"a.png": "a.png"}) == []
    assert file_names.respelt({"a": "a.png", "b.png": "b.png"}) == [
        "1 file names are spelt differently in the table: 'a' is 'a.png'"
    ]


def test_rows_that_contradict_each_other_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"t\.csv: two rows of a differ"):
        choose(tmp_path, [("a", "1"), ("a", "2")], ["a"])


@pytest.mark.parametrize(
    "view, canonical",
    [
        ("pa", "PA"),
        (" AP  erect", "AP Erect"),
        ("APS", "AP Supine"),
        ("AP semi erect", "AP Semi Erect"),
        ("AP_Semi-Erect", "AP Semi Erect"),
        ("L", None),
        ("", None),
    ],
)
def test_frontal_views_have_one_spelling(view, canonical):
    assert attributes.frontal_view(view) == canonical


def test_a_lateral_is_left_out_on_purpose_and_a_view_that_nobody_knows_is_a_fault():
    assert rejection.view_reason("ap supine") is None
    assert rejection.view_reason("Left-Lateral") == rejection.Reason("view Left-Lateral", False)
    assert rejection.view_reason("postero") == rejection.Reason("view postero")
    assert rejection.view_reason("") == rejection.Reason("view blank")


@pytest.mark.parametrize("modality", ["X-ray", "Xray", "cr", "DX"])
def test_x_rays_have_several_names(modality):
    assert rejection.modality_reason(modality) is None
    assert rejection.modality_reason("CT") == rejection.Reason("modality CT", False)


def test_files_are_listed_without_folders_and_hidden_ones(tmp_path):
    for name in ("one/a.png", "one/.DS_Store", "one/sub/b.png", "two/a.png", "two/c.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = file_names.files_by_name(tmp_path / "one", tmp_path / "two")
    assert found == {"a.png": tmp_path / "one/a.png", "c.png": tmp_path / "two/c.png"}
    (tmp_path / "two/a.png").write_bytes(b"other")
    with pytest.raises(ValueError, match=r"one/a\.png and .*two/a\.png have one name"):
        file_names.files_by_name(tmp_path / "one", tmp_path / "two")
    (tmp_path / "two/a.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match=r"two: both a\.jpg and a\.png: keep one"):
        file_names.files_by_stem(tmp_path / "two")


TREE = """\
Expected under the manual folder (somewhere):
  fake/
    metadata.csv   or another
    images/
      1.png, ...
"""


def require(manual):
    return manual_folder.require(
        types.SimpleNamespace(manual_dir=manual),
        name="fake",
        paths=("fake/metadata.csv", "fake/images"),
        instructions=TREE,
    )


@pytest.mark.parametrize("name", ["manual", "fake"])
def test_a_manual_folder_one_level_too_deep_is_said(tmp_path, name):
    manual = tmp_path / name
    (manual / "images").mkdir(parents=True)
    (manual / "metadata.csv").write_text("")
    advice = f"give {tmp_path} as" if name == "fake" else "make the folder fake and move it there"
    with pytest.raises(
        FileNotFoundError,
        match=rf"metadata\.csv lies in {manual} itself and must be in {manual / 'fake'}: {advice}",
    ):
        require(manual)


def test_a_spreadsheet_in_place_of_the_table_is_said(tmp_path):
    manual = tmp_path / "manual"
    (manual / "fake/images").mkdir(parents=True)
    (manual / "fake/metadata.xlsx").write_bytes(b"")
    with pytest.raises(FileNotFoundError, match=r"metadata\.xlsx is there: save it as CSV, meta"):
        require(manual)
    (manual / "fake/metadata.csv").write_text("")
    assert require(manual) == manual


def test_a_missing_column_says_what_to_add(tmp_path):
    (tmp_path / "t.csv").write_text("id\n1\n")
    with pytest.raises(ValueError, match=r"Add `view` with PA, AP, AP Supine or AP Erect; `odd`$"):
        tables.read_table(tmp_path / "t.csv", required=("id", "view", "odd"))
