"""A file of the catalogue is fetched once and checked, or the user is told what to put where. Over a local server."""

import dataclasses
import hashlib
import http.server
import threading

import pytest

from jaxcxr.types import InputError
from jaxcxr.weights.catalog import Entry
from jaxcxr.weights.fetch import cache_dir, fetch

CONTENT = b"weights" * 1000


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        if self.path == "/missing":
            return self.send_error(404)
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
    other = dataclasses.replace(entry(f"{server.url}/model", sha256="", md5=md5), name="resnet18.other")
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
def test_what_cannot_be_fetched_leaves_nothing_and_says_what_to_do(server, cache, path, fields, match):
    given = entry(server.url + path, **fields)
    with pytest.raises(InputError, match=match) as caught:
        fetch(given)
    message = str(caught.value)
    assert "resnet18.test could not be fetched" in message
    assert f"put the file {given.file}" in message
    for said in (str(cache / "resnet18.test"), f"{server.url}{path}", f"{given.size:,} bytes", given.sha256):
        assert said in message
    assert not [p for p in cache.rglob("*") if p.is_file()]


def test_without_a_network_the_message_is_the_same():
    with pytest.raises(InputError, match=r"127\.0\.0\.1:9/model: (.*refused|.*\n)(.*\n)*By hand: put the file"):
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
