from __future__ import annotations

import errno
import inspect
import os
import socket
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxcxr.data import Preprocessing, dicom, xray_files
from jaxcxr.data.preprocessing import prepare
from jaxcxr.data.xray_files import XRayFile
from jaxcxr.errors import InputError
from tests.data import dicoms
from tests.data.fakes import encode


def chest(size: int = 256) -> np.ndarray:
    """Air around a body with two dark lungs and a bright middle, with some noise: [S, S] uint8."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    image = np.where(x**4 + (y - 0.3) ** 4 < 0.6, 150.0, 12.0)
    for side in (-1, 1):
        image[((x - 0.4 * side) / 0.25) ** 2 + (y / 0.55) ** 2 < 1] = 70
    image[abs(x) < 0.12] += 60
    return np.clip(image + np.random.default_rng(0).normal(0, 8, image.shape), 0, 255).astype(
        np.uint8
    )


def resized(width: int, height: int) -> np.ndarray:
    return np.asarray(Image.fromarray(chest()).resize((width, height)))


@pytest.fixture
def folder(tmp_path):
    for name in (
        "b.png",
        "a.dcm",
        "sub/a.dcm",
        "sub/deep/c",
        ".hidden.png",
        ".git/d.png",
        "xrays/old.png",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return tmp_path


def ids(*arguments, **options) -> list[str]:
    return [file.id for file in xray_files.find(*arguments, **options).files]


def test_a_folder_is_searched_with_all_below_it_in_the_order_of_the_ids(folder):
    assert ids(str(folder)) == ["a.dcm", "b.png", "sub/a.dcm", "sub/deep/c", "xrays/old.png"]
    assert ids(str(folder), leave_out=folder / "xrays") == [
        "a.dcm",
        "b.png",
        "sub/a.dcm",
        "sub/deep/c",
    ]


def test_what_was_passed_over_for_its_dot_is_named(folder):
    assert xray_files.find(str(folder)).hidden == [".git", ".hidden.png"]
    (folder / "new").mkdir()
    (folder / "new" / "._a.png").write_bytes(b"")
    with pytest.raises(InputError, match="contains no files but hidden ones"):
        xray_files.find(str(folder / "new"))


def test_ids_are_paths_below_what_was_searched(folder, monkeypatch):
    assert ids(str(folder / "sub" / "a.dcm")) == ["a.dcm"]
    assert ids(f"{folder}/*.png") == ["b.png"]
    assert ids(f"{folder}/*/a.dcm") == ["sub/a.dcm"]
    assert ids(f"{folder}/**/*.dcm") == ["a.dcm", "sub/a.dcm"]
    assert ids(f"{folder}/s*") == ["sub/a.dcm", "sub/deep/c"]
    monkeypatch.chdir(folder)
    assert ids("*.png") == ids("./b.png") == ["b.png"]


def test_nothing_to_find_is_an_error_that_names_the_field(folder):
    with pytest.raises(InputError, match=r"predict\.inputs='.*/none' does not exist"):
        ids(f"{folder}/none")
    with pytest.raises(
        InputError, match=r"predict\.inputs='.*\*\.tif' matches no file: give a file, a folder or a"
    ):
        ids(f"{folder}/*.tif")
    (folder / "empty").mkdir()
    with pytest.raises(InputError, match="contains no files"):
        ids(f"{folder}/empty")
    with pytest.raises(InputError, match="contains no files"):
        ids(f"{folder}/xrays", leave_out=folder / "xrays")


def problems(folder: Path, **options) -> dict[str, str]:
    """id -> what cannot be read as a file."""
    return {
        file.id: file.problem
        for file in xray_files.find(str(folder), **options).files
        if file.problem
    }


def test_what_is_no_file_is_found_and_says_what_it_is(folder, monkeypatch):
    """Neither waited for nor passed over."""
    monkeypatch.chdir(folder)  # a socket's path has at most 107 bytes
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
    (folder / "gone").symlink_to("nowhere.png")
    (folder / "self").symlink_to("self")
    (folder / "linked").symlink_to("sub")
    (folder / "up").symlink_to(folder)
    (folder / "good").symlink_to("b.png")
    (folder / "device").symlink_to("/dev/zero")
    assert problems(folder) == {
        "device": "is a device, not a file",
        "gone": "is a link to nothing",
        "linked": "is a link to a folder, which is not followed: give that folder itself",
        "pipe": "is a pipe, not a file",
        "self": "is a link to nothing",
        "socket": "is a socket, not a file",
        "up": "is a link to a folder, which is not followed: give that folder itself",
    }
    assert ids(str(folder / "linked")) == ["a.dcm", "deep/c"]
    assert ids(str(folder / "gone")) == ["gone"]
    assert ids(f"{folder}/**/*.png") == ["b.png", "xrays/old.png"]  # and no loop through `up`
    with pytest.raises(InputError, match="pipe is a pipe, not a file"):
        xray_files.read_file(XRayFile("pipe", folder / "pipe", "is a pipe, not a file"))


def test_a_folder_that_cannot_be_read_does_not_hide_the_others(folder, monkeypatch):
    scandir = os.scandir

    def refuse(path):
        if Path(path).name == "sub":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert problems(folder) == {"sub": "is a folder that cannot be read: Permission denied"}
    assert ids(str(folder)) == ["a.dcm", "b.png", "sub", "xrays/old.png"]
    assert problems(folder / "sub") == {"sub": "is a folder that cannot be read: Permission denied"}


def test_a_disk_that_is_gone_ends_the_search(folder, monkeypatch):
    def gone(path):
        raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN), str(path))

    monkeypatch.setattr(os, "scandir", gone)
    with pytest.raises(
        xray_files.DiskError, match="cannot be read: Transport endpoint is not connected"
    ):
        ids(str(folder))
    monkeypatch.setattr(Path, "read_bytes", gone)
    with pytest.raises(xray_files.DiskError, match=r"b\.png cannot be opened: Transport endpoint"):
        xray_files.read_file(XRayFile("b.png", folder / "b.png"))


def test_names_that_are_patterns_or_paths_of_homes_are_names(tmp_path, monkeypatch):
    for name in ("[1]/a.png", "x*/b.png", "~no-such-user/c.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"")
    assert ids(f"{tmp_path}/[1]/*.png") == ["a.png"]
    assert ids(f"{tmp_path}/x*/b.png") == ["b.png"]
    monkeypatch.chdir(tmp_path)
    assert ids("~no-such-user/*") == ["c.png"]


def test_what_cannot_even_be_looked_at_is_an_error(tmp_path):
    with pytest.raises(InputError, match=r"cannot be looked at \(File name too long\)"):
        ids(str(tmp_path / ("x" * 300)))
    with pytest.raises(InputError, match="does not exist"):
        ids(f"{tmp_path}/a\0b")


def test_names_that_are_no_utf8_have_ids_of_their_own(tmp_path):
    for name in (b"\xff", b"\\xff", b"a\xc3"):
        (tmp_path / os.fsdecode(name)).write_bytes(b"")
    found = {file.id: os.fsencode(file.path.name) for file in xray_files.find(str(tmp_path)).files}
    assert found == {"\\xff": b"\\xff", "\\xff (2)": b"\xff", "a\\xc3": b"a\xc3"}


def test_folders_may_be_nested_deeper_than_functions(tmp_path):
    deep = "d/" * 150
    (tmp_path / deep).mkdir(parents=True)
    (tmp_path / deep / "x.png").write_bytes(b"")
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 100)
    try:
        found = [ids(str(tmp_path)), ids(f"{tmp_path}/**/*.png")]
    finally:
        sys.setrecursionlimit(limit)
    assert found == [[f"{deep}x.png"]] * 2


def test_reasons_have_no_addresses_and_quote_nothing_that_was_not_written_for_them():
    damaged = InputError("a.png: cannot identify image file <_io.BytesIO object at 0x7fe3cd33b420>")
    assert xray_files.reason("a.png", damaged) == "a.png: cannot identify image file <_io.BytesIO>"
    unexpected = xray_files.reason("a.dcm", KeyError("Quincunx"))
    assert (
        unexpected
        == "a.dcm: unexpected KeyError; please report it, with what --verbosity=0 prints of it"
    )
    assert xray_files.reason("a", MemoryError()) == "a needs more memory than there is"


def test_messages_show_a_name_without_what_a_terminal_obeys(tmp_path):
    (tmp_path / "a\x1b[2J\n.png").write_bytes(b"")
    [file] = xray_files.find(str(tmp_path)).files
    assert file.id == "a\x1b[2J\n.png" and file.name == "a\\x1b[2J\\n.png"
    with pytest.raises(InputError, match=r"^a\\x1b\[2J\\n\.png is empty$"):
        xray_files.read_file(file)


def test_content_tells_what_a_file_is_not_its_name(tmp_path):
    pixels = chest()
    files = {"a.dcm": encode(pixels), "b.png": dicoms.dicom(pixels), "c": encode(pixels, "TIFF")}
    for name, encoded in files.items():
        (tmp_path / name).write_bytes(encoded)
    for file in xray_files.find(str(tmp_path)).files:
        xray = xray_files.read_file(file)
        np.testing.assert_array_equal(xray.pixels, pixels)
        assert xray.warnings == ()


@pytest.mark.parametrize(
    ("name", "content", "is_left_out"),
    [
        ("README.txt", b"PA view", True),
        ("LABELS.CSV", b"id,label", True),
        ("empty.md", b"", True),
        ("report.pdf", b"%PDF-1.7", True),
        ("notes", b"PA view", False),  # DICOM files often have no suffix
        ("notes.dcm", b"PA view", False),
        ("cut.png", encode(chest())[:900], False),
        ("cut.txt", encode(chest())[:900], False),
        ("x.csv", dicoms.dicom(chest())[:900], False),
        ("xrays.zip", b"PK", False),
    ],
)
def test_what_is_no_x_ray_by_name_and_content_is_left_out(tmp_path, name, content, is_left_out):
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / name).write_bytes(content)
    for given in (str(tmp_path), f"{tmp_path}/*"):
        found = xray_files.find(given)
        assert found.strays == [name] * is_left_out
        assert {file.id for file in found.files} == {"a.png", name} - {*found.strays}
        left_out = {"no X-ray files": [name]}
        assert found.passed_over == (left_out if is_left_out else {})
    # Named alone it is meant.
    assert ids(str(tmp_path / name)) == [name]


def test_a_folder_of_stray_files_alone_is_an_error(tmp_path):
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(InputError, match="contains no files but ones that are no X-ray files:"):
        xray_files.find(str(tmp_path))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "x is empty"),
        (b"id,label\n1,2\n", "x is neither DICOM nor a PNG, JPEG, TIFF, GIF or BMP picture"),
        (encode(chest())[:900], "x is unreadable"),
        (dicoms.dicom(chest())[:900], "x is cut off: it ends within its pixels"),
    ],
    ids=["empty", "a table", "cut picture", "cut DICOM"],
)
def test_what_is_no_x_ray_says_why(content, says):
    with pytest.raises(InputError, match=says):
        xray_files.read(content, "x")


def test_files_that_cannot_be_opened_or_are_too_large_say_why(tmp_path, monkeypatch):
    gone = xray_files.XRayFile("gone.png", tmp_path / "gone.png")
    with pytest.raises(InputError, match=r"gone\.png cannot be opened: No such file"):
        xray_files.read_file(gone)
    gone.path.write_bytes(bytes(11))
    monkeypatch.setattr(dicom, "MAX_BYTES", 10)
    with pytest.raises(InputError, match=r"gone\.png has 11 bytes, more than the 10 allowed"):
        xray_files.read_file(gone)


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (chest(), ()),
        (chest().astype(np.uint16) * 16, ()),
        (chest(223), (xray_files.TINY,)),
        (resized(1024, 256), ()),
        (resized(1025, 256), (xray_files.SHAPE,)),
        (resized(256, 512), ()),
        (resized(256, 513), (xray_files.SHAPE,)),
        (np.full((256, 256), 90, np.uint8), (xray_files.FLAT,)),
        (1000 + chest().astype(np.uint16) // 8, (xray_files.FLAT,)),
        (chest() // 32 * 32, (xray_files.FEW_LEVELS,)),
        (np.clip((chest().astype(int) - 40) * 4, 0, 255).astype(np.uint8), (xray_files.SATURATED,)),
        (255 - chest(), (xray_files.INVERTED,)),
        (65535 - chest().astype(np.uint16) * 256, (xray_files.INVERTED,)),
    ],
    ids=[
        "8 bits",
        "16 bits",
        "223 px",
        "4 times as wide as high",
        "wider than that",
        "twice as high as wide",
        "higher than that",
        "one level",
        "32 of 65536 levels",
        "posterised",
        "burnt out",
        "negative",
        "16",
    ],
)
def test_pixels_unlike_an_x_rays_are_mentioned(pixels, expected):
    assert xray_files.look_at(pixels) == expected


def test_colour_pages_and_turned_pictures_are_mentioned():
    pixels = chest()
    tinted = np.stack([pixels, pixels // 2, pixels // 2], axis=-1)
    assert xray_files.read(encode(tinted), "x").warnings == (xray_files.COLOUR,)
    exif = Image.Exif()
    exif[0x0112] = 6
    assert xray_files.read(encode(pixels, "JPEG", exif=exif), "x").warnings == (xray_files.TURNED,)
    pages = encode(pixels, "TIFF", save_all=True, append_images=[Image.fromarray(pixels)])
    assert xray_files.read(pages, "x").warnings == (xray_files.PAGES,)


def test_few_grey_levels_in_the_networks_view_are_mentioned_once():
    few = prepare(
        chest() // 6, None, Preprocessing(image_size=224, equalise=False, gamma=1.0), name="x"
    )
    assert xray_files.look_at_view(few, ()) == (xray_files.SEES_FEW,)
    assert xray_files.look_at_view(few, (xray_files.FLAT,)) == ()
