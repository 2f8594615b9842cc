"""Fetching and unpacking: whole, checked and bounded, or nothing at all."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile

import pytest

from tests.tfds_builders.http_files import serve, tar_gz
from tfds_builders import archives, download

BODY = bytes(range(256)) * 40
SHA256 = hashlib.sha256(BODY).hexdigest()


def fetch(url, path, **changes):
    return download.fetch(url, path, **{"sha256": SHA256, "max_bytes": 1 << 20, **changes})


def test_fetch_writes_the_file_and_does_not_ask_again(tmp_path):
    with serve({"/f": BODY}) as server:
        path = fetch(f"{server.url}/f", tmp_path / "new" / "f")
        assert path.read_bytes() == BODY
        fetch(f"{server.url}/f", path)
        assert server.requests == ["/f"]
        path.write_bytes(b"spoilt")
        assert fetch(f"{server.url}/f", path).read_bytes() == BODY
    assert [p.name for p in path.parent.iterdir()] == ["f"]


@pytest.mark.parametrize(
    "announce, changes, error, message",
    [
        (0, {"sha256": "0" * 64}, ValueError, f"sha256 is {SHA256}, expected 0+"),
        (0, {"max_bytes": 10_000}, ValueError, "10240 bytes are more than the allowed 10000"),
        (None, {"max_bytes": 10_000}, ValueError, "more than the allowed 10000 bytes"),
        (7, {}, ConnectionError, "only 10240 of 10247 bytes arrived"),
    ],
    ids=["wrong checksum", "too large as announced", "too large unannounced", "truncated"],
)
def test_a_bad_download_leaves_nothing_behind(tmp_path, announce, changes, error, message):
    with serve({"/f": BODY}, announce=announce) as server, pytest.raises(error, match=message):
        fetch(f"{server.url}/f", tmp_path / "f", **changes)
    assert list(tmp_path.iterdir()) == []


def test_an_error_status_or_no_server_is_a_connection_error(tmp_path):
    with serve({}) as server, pytest.raises(ConnectionError, match="/f: Not Found"):
        fetch(f"{server.url}/f", tmp_path / "f")
    with pytest.raises(ConnectionError, match="refused"):
        fetch(f"{server.url}/f", tmp_path / "f")


@pytest.mark.parametrize("url", ["http://example.org/f", "ftp://example.org/f", "file:///etc/x"])
def test_only_https_is_fetched(tmp_path, url):
    with pytest.raises(ValueError, match="only https is fetched"):
        fetch(url, tmp_path / "f")


def extract(tmp_path, data: bytes, **changes):
    archive = tmp_path / "a.tar.gz"
    archive.write_bytes(data)
    options = {"wanted": lambda name: True, "max_bytes": 1 << 20, "max_members": 100, **changes}
    return archives.extract_tar(archive, tmp_path / "out" / "set", **options)


def test_extract_takes_the_wanted_files_below_the_top_folder(tmp_path):
    data = tar_gz({"top/a.csv": b"1", "top/images/b.jpg": b"2", "top/code.py": b"3"}, comment="c1")
    folder = extract(tmp_path, data, wanted=lambda name: not name.endswith(".py"), commit="c1")
    files = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*")}
    assert files == {"a.csv": b"1", "images/b.jpg": b"2"}
    assert [p.name for p in folder.parent.iterdir()] == ["set"]


def test_an_older_python_is_told_what_to_do(tmp_path, monkeypatch):
    """Debian 12 has 3.11.2, whose tarfile has no filters."""
    monkeypatch.delattr(tarfile, "data_filter")
    with pytest.raises(
        ValueError, match=r"take Python 3\.11\.4 or newer, or name a folder .*manual_dir"
    ):
        extract(tmp_path, tar_gz({"top/a.csv": b"1"}, comment="c1"), commit="c1")


def bomb() -> bytes:
    """A small archive whose one member is 2 MiB of zeros."""
    return tar_gz({"top/zeros": bytes(2 << 20)})


def truncated() -> bytes:
    data = tar_gz({f"top/{i}": hashlib.sha256(bytes([i])).digest() * 99 for i in range(9)})
    return data[: len(data) // 2]


def device() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        info = tarfile.TarInfo("top/fifo")
        info.type = tarfile.FIFOTYPE
        tar.addfile(info)
    return buffer.getvalue()


def twice() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for data in (b"1", b"2"):
            info = tarfile.TarInfo("top/a")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def huge_name() -> bytes:
    """A member whose name alone would take 900 MB."""
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 900 << 20
    return gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + bytes(4096))


@pytest.mark.parametrize(
    "data, message",
    [
        (tar_gz({"top/a": b"1", "top/../../evil": b"2"}), "unsafe member.*outside"),
        (tar_gz({"top/a": b"1", "../evil": b"2"}), "unsafe member.*outside"),
        (tar_gz({"top/a": b"1"}, links={"top/l": "/etc/passwd"}), "unsafe member.*absolute"),
        (tar_gz({"top/a": b"1"}, links={"top/l": "a"}), "member 'top/l' is not a plain file"),
        (device(), "unsafe member.*special file"),
        (bomb(), "unpacks to more than 1048576 bytes"),
        (tar_gz({f"top/{i}": b"" for i in range(101)}), "or 100 members"),
        (truncated(), "damaged archive"),
        (b"no archive", "damaged archive"),
        (tar_gz({"top/a": b"1"})[:-8] + bytes(8), "damaged archive .CRC check failed"),
        (tar_gz({"top/a": b"1"}) + b"more", "damaged archive .Not a gzipped file"),
        (tar_gz({"top/a": b"1"}) + tar_gz({"top/b": b"1"}), "something follows the last member"),
        (tar_gz({"/top/a": b"1"}), "is not below a top folder"),
        (tar_gz({"a": b"1"}), "is not below a top folder"),
        (tar_gz({"top/a\nb": b"1"}), "means something else elsewhere"),
        (tar_gz({"top/C:\\a": b"1"}), "means something else elsewhere"),
        (tar_gz({"top/" + "a" * 300: b"1"}), "damaged archive .*too long"),
        (twice(), "is there twice"),
        (huge_name(), "a header of .* bytes"),
        (tar_gz({"one/a": b"1", "two/b": b"2"}), "2 top folders"),
        (tar_gz({}), "0 top folders"),
    ],
    ids=[
        "climbs out",
        "starts outside",
        "link outside",
        "link inside",
        "device",
        "bomb",
        "too many",
        "truncated",
        "not gzip",
        "wrong checksum",
        "something behind it",
        "two archives",
        "absolute",
        "no top",
        "line end in a name",
        "Windows' name",
        "long name",
        "twice",
        "huge name",
        "two tops",
        "empty",
    ],
)
def test_a_bad_archive_unpacks_nothing(tmp_path, data, message):
    with pytest.raises(ValueError, match=message):
        extract(tmp_path, data)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tar.gz", "out"]
    assert list((tmp_path / "out").iterdir()) == []


def test_a_member_that_climbs_out_is_refused_even_if_it_is_not_wanted(tmp_path):
    data = tar_gz({"top/a": b"1", "../evil": b"2"})
    with pytest.raises(ValueError, match="unsafe member"):
        extract(tmp_path, data, wanted=lambda name: name == "a")


def test_an_archive_of_another_commit_is_refused(tmp_path):
    with pytest.raises(ValueError, match="made of commit none, expected c1"):
        extract(tmp_path, tar_gz({"top/a": b"1"}), commit="c1")
