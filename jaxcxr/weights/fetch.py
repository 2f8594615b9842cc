"""The files of the catalogue, fetched once, checked, and kept in a folder of the user's."""

from __future__ import annotations

import hashlib
import os
import shutil
import urllib.parse
import urllib.request
from pathlib import Path

from tqdm import tqdm

from jaxcxr import files
from jaxcxr.types import InputError
from jaxcxr.weights.catalog import CATALOG, Entry

_CHUNK_BYTES = 1 << 20
_TIMEOUT_S = 60.0


def cache_dir() -> Path:
    """Where files are kept: $JAXCXR_WEIGHTS, or ~/.cache/jaxcxr/weights."""
    return Path(os.environ.get("JAXCXR_WEIGHTS") or "~/.cache/jaxcxr/weights").expanduser()


def fetch(entry: Entry) -> Path:
    """Returns the entry's file, downloaded with a progress bar if it is not in the cache yet.

    A file that was put into the cache by hand is checked like a downloaded one. $HF_ENDPOINT names
    another host of Hugging Face's files.

    Raises:
      InputError: it cannot be had, or is not the published file; says the address, name, size, hash and folder.
    """
    path = cache_dir() / entry.name / entry.file
    if path.is_file():
        problem = problem_with(path, entry)
        if problem is None:
            return path
        raise InputError(f"{path} {problem}. Delete it to fetch it again.\n{wanted(entry)}")
    failures = []
    for url in entry.urls:
        try:
            _download(_resolve(url), path)
        except (OSError, ValueError) as error:  # URLError and ConnectionError are OSErrors
            failures.append(f"{url}: {getattr(error, 'reason', None) or error}")
            continue
        problem = problem_with(path, entry)
        if problem is None:
            return path
        path.unlink()
        failures.append(f"{url}: what came {problem}")
    reasons = "".join(f"\n  {failure}" for failure in failures)
    raise InputError(f"the weights {entry.name} could not be fetched.{reasons}\n{wanted(entry)}")


def wanted(entry: Entry) -> str:
    """What to put where, for a user without a network."""
    lines = [
        f"By hand: put the file {entry.file}",
        f"  into       {cache_dir() / entry.name}",
        *(f"  from       {url}" for url in entry.urls),
        f"  size       {f'{entry.size:,} bytes' if entry.size else 'not published'}",
        f"  {_hash_line(entry)}",
    ]
    if entry.note:
        lines.append(f"  note       {entry.note}")
    return "\n".join(lines)


def problem_with(path: Path, entry: Entry) -> str | None:
    """Why a file is not the entry's, or None. What the publisher does not say is not checked."""
    size = path.stat().st_size
    if entry.size and size != entry.size:
        return f"has {size:,} bytes, not {entry.size:,}: truncated or another file"
    for kind, expected in (("sha256", entry.sha256), ("md5", entry.md5)):
        if expected:
            digest = _digest(path, kind)
            if not digest.startswith(expected):
                return f"has the {kind} {digest}, not {expected}: damaged or another file"
    return None


def published(path: Path) -> Entry | None:
    """The entry whose file this is, whatever it is called now; None where the size or the hash tells otherwise."""
    size, digests = path.stat().st_size, {}
    for entry in CATALOG.values():
        if entry.size not in (0, size):
            continue
        for kind, expected in (("sha256", entry.sha256), ("md5", entry.md5)):
            if expected:
                if kind not in digests:
                    digests[kind] = _digest(path, kind)
                if digests[kind].startswith(expected):
                    return entry
    return None


def _digest(path: Path, kind: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, kind).hexdigest()


def _hash_line(entry: Entry) -> str:
    if entry.sha256:
        return f"sha256     {entry.sha256}{'...' if len(entry.sha256) < 64 else ''}"
    return f"md5        {entry.md5}" if entry.md5 else "sha256     not published"


def _resolve(url: str) -> str:
    mirror = os.environ.get("HF_ENDPOINT", "").rstrip("/")
    prefix = "https://huggingface.co"
    return mirror + url.removeprefix(prefix) if mirror and url.startswith(prefix) else url


def _download(url: str, path: Path) -> None:
    """Writes the body to `path`, which appears only once it is whole."""
    _check_scheme(url)
    with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as response:
        _check_scheme(response.url)  # a redirect must not leave https
        announced = response.headers.get("Content-Length")
        total = int(announced) if announced else None
        path.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(path.parent).free
        if total is not None and total > free:
            raise ValueError(f"{total:,} bytes do not fit on the disk of {path.parent} ({free:,} free)")
        received = 0
        with (
            files.atomic_file(path) as file,
            tqdm(total=total, unit="B", unit_scale=True, desc=f"download {path.name}") as bar,
        ):
            while chunk := response.read(_CHUNK_BYTES):
                received += len(chunk)
                file.write(chunk)
                bar.update(len(chunk))
            if total is not None and received != total:
                raise ConnectionError(f"only {received:,} of {total:,} bytes arrived")


def _check_scheme(url: str) -> None:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in ("localhost", "127.0.0.1"):
        raise ValueError("only https is fetched")
