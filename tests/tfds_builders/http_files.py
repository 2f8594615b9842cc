"""A local web server for the download tests, and small tar archives."""

from __future__ import annotations

import contextlib
import dataclasses
import http.server
import io
import tarfile
import threading
from collections.abc import Iterator, Mapping


@dataclasses.dataclass
class Server:
    """Address without a final slash, and the paths asked for so far."""

    url: str
    requests: list[str]


@contextlib.contextmanager
def serve(files: Mapping[str, bytes], *, announce: int | None = 0) -> Iterator[Server]:
    """Serves `files` by path on a free port.

    `announce` is added to the true Content-Length; None leaves the header out.
    """
    requests: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append(self.path)
            if self.path not in files:
                self.send_error(404)
                return
            body = files[self.path]
            self.send_response(200)
            if announce is not None:
                self.send_header("Content-Length", str(len(body) + announce))
            self.end_headers()
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self.wfile.write(body)

        def log_message(self, *args):
            del args

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield Server(f"http://127.0.0.1:{server.server_address[1]}", requests)
        finally:
            server.shutdown()
            thread.join()


def tar_gz(
    members: Mapping[str, bytes], *, comment: str | None = None, links: Mapping[str, str] = {}
) -> bytes:
    """A .tar.gz of `members` and symbolic `links`, with the commit as `git archive` notes it."""
    buffer = io.BytesIO()
    headers = {"comment": comment} if comment else {}
    with tarfile.open(
        fileobj=buffer, mode="w:gz", format=tarfile.PAX_FORMAT, pax_headers=headers
    ) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for name, target in links.items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
    return buffer.getvalue()
