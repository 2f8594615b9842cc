"""Archives: damage is noticed, and what is made to do harm does none."""

from __future__ import annotations

import dataclasses
import gzip
import io
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from jaxcxr.errors import InputError
from tests.faults import limits
from tests.faults.promises import Context, promise
from tests.tfds_builders.http_files import tar_gz
from tfds_builders import archives

COMMIT = "c" * 40
_FILES = {
    "top/metadata.csv": b"a,b\n1,2\n" * 40,
    **{f"top/images/{n}.png": bytes([n]) * 3000 for n in range(6)},
}
_MAX_BYTES, _MAX_MEMBERS = 1 << 20, 50


def _unpack(content: bytes, folder: Path) -> dict[str, bytes]:
    """What an archive unpacks to; the folder holds nothing else after an error."""
    archive = folder / "a.tar.gz"
    archive.write_bytes(content)
    target = folder / "out" / "set"
    try:
        archives.extract_tar(
            archive,
            target,
            wanted=lambda name: True,
            max_bytes=_MAX_BYTES,
            max_members=_MAX_MEMBERS,
            commit=COMMIT,
        )
        return {
            str(p.relative_to(target)): p.read_bytes() for p in target.rglob("*") if p.is_file()
        }
    except ValueError as error:
        if type(error) is not ValueError or str(archive) not in str(error):
            raise
        raise InputError(str(error)) from error  # as `open_dataset` does
    finally:
        if target.exists():
            _check_plain(target)
        shutil.rmtree(folder / "out", ignore_errors=True)


def _check_plain(folder: Path) -> None:
    for path in folder.rglob("*"):
        mode = path.lstat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)) or mode & (stat.S_ISUID | stat.S_ISGID):
            raise AssertionError(f"{path} is not a plain file")


@promise(
    "archives/flips", "a damaged archive is noticed, or unpacks to the same", full=3_000, quick=120
)
def flips(context: Context) -> Iterator[str]:
    whole = tar_gz(_FILES, comment=COMMIT)
    expected = _unpack(whole, context.folder)
    for n in range(context.trials):
        content = bytearray(whole)
        at = int(context.rng.integers(len(whole)))
        if n % 10 == 9:
            del content[at:]
        elif n % 10 == 8:
            content += bytes(context.rng.integers(0, 256, int(context.rng.integers(1, 64)), "u1"))
        else:
            content[at] ^= 1 << int(context.rng.integers(8))

        def read(content: bytes = bytes(content)) -> None:
            if _unpack(content, context.folder) != expected:
                raise AssertionError("other content, without a word")

        problem = limits.reading(read)
        yield f"byte {at} of {len(whole)}: {problem}" if problem else ""


@dataclasses.dataclass
class _Member:
    name: str
    data: bytes = b"x"
    type: bytes = tarfile.REGTYPE
    link: str = ""
    mode: int = 0o644
    size: int | None = None
    pax: dict[str, str] = dataclasses.field(default_factory=dict)


def _tar(*members: _Member, comment: str = COMMIT, end: bytes = bytes(1024)) -> bytes:
    """The tar file of these members, whatever they are called."""
    buffer = io.BytesIO()
    header = tarfile.TarInfo.create_pax_global_header({"comment": comment})
    buffer.write(header)
    for member in members:
        info = tarfile.TarInfo(member.name)
        info.type, info.linkname, info.mode = member.type, member.link, member.mode
        info.pax_headers = member.pax
        info.size = len(member.data) if member.size is None else member.size
        buffer.write(info.tobuf(tarfile.PAX_FORMAT))
        buffer.write(member.data + bytes(-len(member.data) % 512))
    return buffer.getvalue() + end


def _zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("top/../../evil", b"x")
    return buffer.getvalue()


def _attacks() -> dict[str, Callable[[], bytes]]:
    """Archives by what they try, each made when it is needed."""
    good = _Member("top/a")

    def packed(*members: _Member, **options) -> Callable[[], bytes]:
        return lambda: gzip.compress(_tar(*members, **options))

    def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> _Member:
        return _Member(name, b"", kind, target)

    sparse = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(1 << 50)}
    return {
        "climbs out": packed(good, _Member("top/../../evil")),
        "climbs out in its name's extension": packed(
            good, _Member("top/b", pax={"path": "../../evil"})
        ),
        "absolute": packed(good, _Member("/tmp/evil")),
        "absolute, alone": packed(_Member("//evil")),
        "symbolic link outside": packed(good, link("top/l", "/etc"), _Member("top/l/evil")),
        "symbolic link up": packed(good, link("top/l", "../.."), _Member("top/l/evil")),
        "symbolic link within": packed(good, link("top/l", "a")),
        "links that lead out together": packed(
            link("top/l", "."), link("top/l/m", ".."), _Member("top/l/m/evil")
        ),
        "hard link outside": packed(good, link("top/l", "/etc/passwd", tarfile.LNKTYPE)),
        "hard link within": packed(good, link("top/l", "top/a", tarfile.LNKTYPE)),
        "character device": packed(good, _Member("top/d", b"", tarfile.CHRTYPE)),
        "block device": packed(good, _Member("top/d", b"", tarfile.BLKTYPE)),
        "fifo": packed(good, _Member("top/d", b"", tarfile.FIFOTYPE)),
        "set user id": packed(_Member("top/a", mode=0o6755)),
        "name twice": packed(good, _Member("top/a", b"other")),
        "name in other capitals": packed(good, _Member("top/A", b"other")),
        "file that is a folder": packed(_Member("top/a"), _Member("top/a/b")),
        "top that is a file": packed(_Member("top"), _Member("top/b")),
        "bomb of zeros": packed(_Member("top/a", bytes(64 << 20))),
        "bomb behind the end": packed(good, end=bytes(64 << 20)),
        "sizes that add up": packed(*(_Member(f"top/{n}", bytes(200_000)) for n in range(9))),
        "more members than allowed": packed(*(_Member(f"top/{n}", b"") for n in range(99))),
        "claims a petabyte": packed(_Member("top/a", size=1 << 50)),
        "negative size": packed(_Member("top/a", pax={"size": "-512"}), good),
        "size that is no number": packed(_Member("top/a", pax={"size": "many"})),
        "sparse petabyte": packed(_Member("top/a", pax=sparse)),
        "extended header of 900 MB": packed(
            _Member("top/x", b"", tarfile.XHDTYPE, size=900 << 20), good
        ),
        "name of 900 MB": packed(
            _Member("././@LongLink", b"", tarfile.GNUTYPE_LONGNAME, size=900 << 20), good
        ),
        "name of 300 letters": packed(_Member("top/" + "a" * 300)),
        "path of 9,000 letters": packed(_Member("top/" + "a/" * 4500 + "b")),
        "line end in a name": packed(_Member("top/a\nb")),
        "NUL in a name": packed(_Member("top/b", pax={"path": "top/a\0b"})),
        "Windows' drive": packed(_Member("top/C:evil")),
        "Windows' separators": packed(_Member("top/..\\..\\evil")),
        "name that is no text": lambda: gzip.compress(
            _tar(good).replace(b"top/a\0", b"top/\xff\0")
        ),
        "date beyond all dates": packed(_Member("top/a", pax={"mtime": "1e300"})),
        "another commit": packed(good, comment="d" * 40),
        "no member": packed(),
        "no top folder": packed(_Member("a")),
        "two top folders": packed(good, _Member("two/b")),
        "end missing": packed(good, end=b""),
        "a second archive behind it": lambda: (
            gzip.compress(_tar(good)) + gzip.compress(_tar(_Member("top/b")))
        ),
        "garbage behind it": lambda: gzip.compress(_tar(good)) + b"garbage",
        "wrong checksum": lambda: gzip.compress(_tar(good))[:-8] + bytes(8),
        "archive in an archive": packed(_Member("top/a", gzip.compress(_tar(_Member("../evil"))))),
        "plain tar": lambda: _tar(good),
        "zip": _zip,
        "empty": lambda: b"",
        "gzip of nothing": lambda: gzip.compress(b""),
    }


@promise(
    "archives/attacks",
    "an archive made to do harm writes nothing outside its folder",
    full=49,
    quick=49,
)
def attacks(context: Context) -> Iterator[str]:
    cases = list(_attacks().items())
    for n in range(context.trials):
        name, make = cases[n % len(cases)]
        folder = context.folder / f"inner{n}"
        folder.mkdir()
        content = make()
        problem = limits.reading(lambda content=content, folder=folder: _unpack(content, folder))
        outside = {p.name for p in context.folder.iterdir()} - {folder.name}
        if (
            outside
            or {p.name for p in folder.iterdir()} != {"a.tar.gz"}
            or Path("/tmp/evil").exists()
        ):
            problem = f"it wrote {sorted(outside) or sorted(folder.iterdir())}"
        shutil.rmtree(folder)
        yield f"{name}: {problem}" if problem else ""
