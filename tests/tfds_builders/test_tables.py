"""Tables of images: read by column name, rows chosen by the files there are, faults named."""

from __future__ import annotations

import pytest

from tfds_builders import common, tables


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


def test_a_line_that_ends_early_gives_blanks_and_latin_1_is_survived(tmp_path):
    table = tables.read_table(
        write(tmp_path, b"id,note,view\n1,38\xb0,PA\n2\n"), required=("id", "view")
    )
    assert [row["view"] for row in table.rows] == ["PA", ""]


@pytest.mark.parametrize(
    "data, message",
    [
        (b"", r"t\.csv: no column id, view; it has none"),
        (b"id,finding\n1,x\n", r"t\.csv: no column view; it has id, finding"),
        (b"id;view\n1;PA\n", r"t\.csv: no column id, view; it has id;view"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", r"t\.csv: no column id, view"),
        (b'id,view\n1,"' + b"x" * 140_000, r"t\.csv, after line 1: not CSV \(field larger"),
    ],
    ids=["empty", "column missing", "semicolons", "an image", "quote never closed"],
)
def test_a_file_that_is_not_the_table_is_refused(tmp_path, data, message):
    with pytest.raises(ValueError, match=message):
        tables.read_table(write(tmp_path, data), required=("id", "view"))


def choose(tmp_path, names, files):
    table = tables.Table(columns=("name", "x"), rows=tuple({"name": n, "x": x} for n, x in names))
    return tables.choose_rows(
        table,
        {name: tmp_path / name for name in files},
        file_name=lambda row: row["name"],
        reject_reason=lambda row: "no x" if not row["x"] else None,
        origin=tmp_path / "t.csv",
    )


def test_rows_are_chosen_in_order_and_the_others_counted(tmp_path):
    rows = [("b", "1"), ("a", "1"), ("c", ""), ("gone", "1"), ("../b", "1"), ("b", "1")]
    kept, rejected = choose(tmp_path, rows, ["a", "b", "c"])
    assert list(kept) == ["b", "a"]
    assert rejected == {"no x": 1, "missing file": 2, "row given again": 1}


def test_rows_that_contradict_each_other_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"t\.csv: two rows of a differ"):
        choose(tmp_path, [("a", "1"), ("a", "2")], ["a"])


@pytest.mark.parametrize(
    "view, canonical",
    [("pa", "PA"), (" AP  erect", "AP Erect"), ("APS", "AP Supine"), ("L", None), ("", None)],
)
def test_frontal_views_have_one_spelling(view, canonical):
    assert common.frontal_view(view) == canonical


def test_files_are_listed_without_folders_and_hidden_ones(tmp_path):
    for name in ("one/a.png", "one/.DS_Store", "one/sub/b.png", "two/a.png", "two/c.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = common.files_by_name(tmp_path / "one", tmp_path / "two")
    assert found == {"a.png": tmp_path / "one/a.png", "c.png": tmp_path / "two/c.png"}
    (tmp_path / "two/a.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match=r"two: both a\.jpg and a\.png: keep one"):
        common.files_by_stem(tmp_path / "two")
