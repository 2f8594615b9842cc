"""Downloads with size limits and checksums."""

from __future__ import annotations

import hashlib
import os
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from tqdm import tqdm

CHUNK = 1 << 20
GIB = 1 << 30


def _check_scheme(url: str) -> None:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in ("localhost", "127.0.0.1"):
        raise ValueError(f"{url}: only https is fetched")


def fetch(
    url: str, path: Path, *, sha256: str | None, max_bytes: int, timeout_s: float = 60
) -> Path:
    """Downloads `url` to `path`, which appears only once it is whole and checked.

    Args:
        url: https address.
        path: target file; not downloaded again if it exists and has the checksum (if there is one).
        sha256: hex digest, or None where the publisher builds the archive on each request.
        max_bytes: larger files are refused, before or while they arrive.
        timeout_s: longest wait for data, in seconds.

    Raises:
        ValueError: not https, too large, or the wrong checksum; says which.
        ConnectionError: no answer, an error status, or fewer bytes than were announced.
    """
    _check_scheme(url)
    if path.exists() and (sha256 is None or _sha256(path) == sha256):
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        digest = _receive(url, partial, max_bytes=max_bytes, timeout_s=timeout_s)
        if sha256 is not None and digest != sha256:
            raise ValueError(f"{url}: sha256 is {digest}, expected {sha256}: not the pinned file")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def _receive(url: str, path: Path, *, max_bytes: int, timeout_s: float) -> str:
    """Writes the body to `path`; returns its sha256."""
    digest = hashlib.sha256()
    received = 0
    try:
        with urllib.request.urlopen(url, timeout=timeout_s) as response, path.open("wb") as file:
            _check_scheme(response.url)  # a redirect must not leave https
            announced = response.headers.get("Content-Length")
            total = int(announced) if announced is not None else None
            if total is not None and total > max_bytes:
                raise ValueError(f"{url}: {total} bytes are more than the allowed {max_bytes}")
            bar = tqdm(total=total, unit="B", unit_scale=True, desc=f"download {path.name}")
            with bar:
                while chunk := response.read(CHUNK):
                    received += len(chunk)
                    if received > max_bytes:
                        raise ValueError(f"{url}: more than the allowed {max_bytes} bytes")
                    digest.update(chunk)
                    file.write(chunk)
                    bar.update(len(chunk))
            file.flush()
            os.fsync(file.fileno())
    except urllib.error.URLError as error:  # HTTPError is one
        raise ConnectionError(f"{url}: {error.reason or error}") from error
    except TimeoutError as error:
        raise ConnectionError(f"{url}: no data for {timeout_s} s") from error
    if total is not None and received != total:
        raise ConnectionError(f"{url}: only {received} of {total} bytes arrived; try again")
    return digest.hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
