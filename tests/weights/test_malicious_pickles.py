"""Pickles and archives that try to run, fill or reach something are refused by name, unopened.

Most stand in a state dict beside a sound tensor, so that nothing else is wrong with the file.
"""

from __future__ import annotations

import dataclasses
import io
import os
import pickle
import struct
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from jaxcxr.errors import InputError
from jaxcxr.weights.read import read
from tests.weights import bombs, samples
from tests.weights.samples import _int, _ints, _tensor, _text

# What Python reports of itself (sys.audit) where a pickle has its way.
FORBIDDEN = (
    "pickle.find_class", "compile", "exec", "os.mkdir", "os.system", "os.exec", "os.fork",
    "os.posix_spawn", "subprocess.Popen", "socket.connect", "ctypes.dlopen", "os.remove",
)  # fmt: skip
_watched: list[list[str]] = []


def _hook(event: str, _) -> None:
    if _watched and event in FORBIDDEN:
        _watched[-1].append(event)


@pytest.fixture(scope="module", autouse=True)
def hooked(tmp_path_factory):
    sys.addaudithook(_hook)  # stays for ever, and does nothing outside `watch`
    path = tmp_path_factory.mktemp("sound") / "weights.pth"
    for sound in (_zipped(_beside(b"N")), _old(_beside(b"N"))):  # imports what reading imports
        path.write_bytes(sound)
        np.testing.assert_array_equal(read(path)["w"], np.ones(1, np.float32))


@pytest.fixture
def watch() -> Iterator[list[str]]:
    """The forbidden events since the test began."""
    _watched.append([])
    yield _watched[-1]
    _watched.pop()


def _global(name: str) -> bytes:
    module, _, attribute = name.rpartition(".")
    return pickle.GLOBAL + f"{module}\n{attribute}\n".encode()


def _stack_global(module: str, name: str) -> bytes:
    return _text(module) + _text(name) + pickle.STACK_GLOBAL


def _call(function: str, *arguments: bytes) -> bytes:
    return _global(function) + pickle.MARK + b"".join(arguments) + pickle.TUPLE + pickle.REDUCE


def _persistent(*items: bytes) -> bytes:
    return pickle.MARK + b"".join(items) + pickle.TUPLE + pickle.BINPERSID


def _storage(key: bytes = _text("0"), count: bytes = _int(1)) -> bytes:
    return _persistent(_text("storage"), _global("torch.FloatStorage"), key, _text("cpu"), count)


def _view(
    offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *, more: bytes = b""
) -> bytes:
    return _call(
        "torch._utils._rebuild_tensor_v2",
        *(_storage(), _int(offset), _ints(shape), _ints(strides)),
        *(pickle.NEWFALSE, _call("collections.OrderedDict"), more),
    )


def _dict_of(key: str, value: bytes = pickle.NONE) -> bytes:
    return pickle.EMPTY_DICT + _text(key) + value + pickle.SETITEM


def _beside(value: bytes) -> bytes:
    """A state dict of a sound tensor and of a value."""
    return (
        pickle.PROTO + b"\x02" + pickle.EMPTY_DICT + pickle.MARK
        + _text("w") + _tensor("FloatStorage", "0", 1, 0, (1,), (1,), False)
        + _text("x") + value
        + pickle.SETITEMS + pickle.STOP
    )  # fmt: skip


_ONE = struct.pack("<f", 1)


def _zipped(pickled: bytes) -> bytes:
    return samples.torch_zip({"data.pkl": pickled, "data/0": _ONE})


def _old(pickled: bytes, keys: bytes = pickle.dumps(["0"], 2)) -> bytes:
    """A file from before PyTorch 1.6."""
    return bombs._legacy(pickled) + keys + struct.pack("<q", 1) + _ONE


@dataclasses.dataclass(frozen=True)
class Attack:
    """A value in a state dict.

    Attributes:
        value: its instructions, given the folder that it tries to make.
        told: what the error says of it.
        is_live: Python's own unpickler makes the folder of it.
    """

    value: Callable[[str], bytes]
    told: str
    is_live: bool = False


def _inert(value: bytes, told: str) -> Attack:
    return Attack(lambda folder: value, told)


_ORDERED = _call("collections.OrderedDict")
_NESTED = _global("os.mkdir") + _text("nested") + pickle.TUPLE1 + pickle.REDUCE + pickle.STOP
ATTACKS: dict[str, Attack] = {
    # Names that would be imported, and called.
    "GLOBAL os.mkdir": Attack(lambda f: _call("os.mkdir", _text(f)), "(os.mkdir)", True),
    "GLOBAL os.system": Attack(
        lambda f: _call("os.system", _text(f"mkdir '{f}'")), "(os.system)", True
    ),
    "GLOBAL without a call": _inert(_global("os.system"), "(os.system)"),
    "STACK_GLOBAL posix.mkdir": Attack(
        lambda f: _stack_global("posix", "mkdir") + _text(f) + pickle.TUPLE1 + pickle.REDUCE,
        "(posix.mkdir)",
        True,
    ),
    "STACK_GLOBAL posix.system": _inert(_stack_global("posix", "system"), "(posix.system)"),
    "subprocess.Popen": _inert(_call("subprocess.Popen", _text("true")), "(subprocess.Popen)"),
    "eval": Attack(
        lambda f: _call("builtins.eval", _text(f"__import__('os').mkdir({f!r})")),
        "(builtins.eval)",
        True,
    ),
    "eval of Python 2": _inert(_call("__builtin__.eval", _text("1")), "(__builtin__.eval)"),
    "exec": Attack(
        lambda f: _call("builtins.exec", _text(f"import os; os.mkdir({f!r})")),
        "(builtins.exec)",
        True,
    ),
    "getattr": Attack(
        lambda f: (
            _call("builtins.getattr", _global("posixpath.os"), _text("mkdir"))
            + _text(f)
            + pickle.TUPLE1
            + pickle.REDUCE
        ),
        "(builtins.getattr)",
        True,
    ),
    "__import__": _inert(_call("builtins.__import__", _text("this")), "(builtins.__import__)"),
    "a factory of defaultdict": _inert(
        _call("collections.defaultdict", _global("os.getcwd")), "(os.getcwd)"
    ),
    "runpy": _inert(_call("runpy._run_code", _text("1")), "(runpy._run_code)"),
    # Names that look like allowed ones.
    "a dotted name in collections": _inert(
        pickle.GLOBAL + b"collections\nos.system\n", "(collections.os.system)"
    ),
    "a dotted name by STACK_GLOBAL": _inert(
        _stack_global("collections", "abc.sys.modules"), "(collections.abc.sys.modules)"
    ),
    "globals of an allowed function": _inert(
        pickle.GLOBAL + b"torch._utils\n_rebuild_tensor_v2.__globals__\n",
        "(torch._utils._rebuild_tensor_v2.__globals__)",
    ),
    "a space in a module": _inert(
        pickle.GLOBAL + b"torch _utils\n_rebuild_tensor_v2\n", "(torch._utils _rebuild_tensor_v2)"
    ),
    "control characters in a name": _inert(
        _stack_global("os", "\x1b[2Jsystem"), r"('os.\x1b[2Jsystem')"
    ),
    "a name of a million letters": _inert(
        pickle.GLOBAL + b"o" * 1_000_000 + b"\nsystem\n", "(" + "o" * 200 + ")"
    ),
    "STACK_GLOBAL of no text": _inert(b"]]" + pickle.STACK_GLOBAL, "is damaged"),
    # Other ways to make objects.
    "INST os.mkdir": Attack(
        lambda f: pickle.MARK + _text(f) + pickle.INST + b"os\nmkdir\n",
        "(the instruction INST)",
        True,
    ),
    "OBJ os.mkdir": Attack(
        lambda f: pickle.MARK + _global("os.mkdir") + _text(f) + pickle.OBJ, "(os.mkdir)", True
    ),
    "OBJ of an allowed name": _inert(
        pickle.MARK + _global("collections.OrderedDict") + pickle.OBJ, "(the instruction OBJ)"
    ),
    "NEWOBJ subprocess.Popen": _inert(
        _global("subprocess.Popen") + b")" + pickle.NEWOBJ, "(subprocess.Popen)"
    ),
    "NEWOBJ of an allowed name": _inert(
        _global("collections.OrderedDict") + b")" + pickle.NEWOBJ, "(collections.OrderedDict)"
    ),
    "NEWOBJ_EX of an allowed name": _inert(
        _global("collections.OrderedDict") + b")}" + pickle.NEWOBJ_EX, "(collections.OrderedDict)"
    ),
    "EXT1": _inert(pickle.EXT1 + b"\x01", "(the instruction EXT1)"),
    "EXT2": _inert(pickle.EXT2 + b"\x01\x00", "(the instruction EXT2)"),
    "EXT4": _inert(pickle.EXT4 + b"\x01\x00\x00\x00", "(the instruction EXT4)"),
    "DUP": _inert(b"N" + pickle.DUP + pickle.POP, "(the instruction DUP)"),
    "BYTEARRAY8": _inert(
        pickle.BYTEARRAY8 + struct.pack("<Q", 1) + b"a", "(the instruction BYTEARRAY8)"
    ),
    "NEXT_BUFFER": _inert(pickle.NEXT_BUFFER, "(the instruction NEXT_BUFFER)"),
    # States of objects.
    "BUILD __setstate__": _inert(
        _ORDERED + _dict_of("__setstate__", _global("torch.Size")) + pickle.BUILD,
        "(an object with a state)",
    ),
    "BUILD __dict__": _inert(
        _ORDERED + _dict_of("__dict__", pickle.EMPTY_DICT) + pickle.BUILD,
        "(an object with a state)",
    ),
    "BUILD slots": _inert(
        _ORDERED + pickle.NONE + _dict_of("__class__") + pickle.TUPLE2 + pickle.BUILD,
        "(an object with a state)",
    ),
    "BUILD of a function": _inert(
        _global("torch.Size") + _dict_of("_metadata") + pickle.BUILD, "(an object with a state)"
    ),
    "BUILD of a tensor": _inert(
        _view(0, (1,), (1,)) + _dict_of("_metadata") + pickle.BUILD, "(an object with a state)"
    ),
    # Calls of allowed names with what they do not take.
    "a call of a storage's type": _inert(
        _call("torch.FloatStorage", _int(5)), "(torch.FloatStorage)"
    ),
    "a call of text": _inert(_text("os.system") + b")" + pickle.REDUCE, "is damaged"),
    "a call with a list": _inert(
        _global("collections.OrderedDict") + b"]" + pickle.REDUCE, "is damaged"
    ),
    "a tensor of text": _inert(
        _call("torch._utils._rebuild_tensor_v2", _text("0"), _int(0), b"))", b"\x89N"),
        "a tensor of no storage",
    ),
    "a tensor of one argument": _inert(
        _call("torch._utils._rebuild_tensor_v2", _storage()), "is damaged"
    ),
    "a tensor of eight arguments": _inert(_view(0, (1,), (1,), more=pickle.NONE * 2), "is damaged"),
    "a parameter of text": _inert(
        _call("torch._utils._rebuild_parameter", _text("w"), b"\x89N"), "that is no tensor"
    ),
    "a size of letters": _inert(_call("torch.Size", _text("a" * 100)), "is no list of numbers"),
    "a size of texts": _inert(
        _call("torch.Size", pickle.MARK + _text("a") + pickle.TUPLE), "no natural number"
    ),
    "a device of a list": _inert(_call("torch.device", b"]"), "a device without a name"),
    "a dict of text": _inert(_call("collections.OrderedDict", _text("abc")), "is damaged"),
    "a dict with lists for keys": _inert(
        _call("collections.OrderedDict", b"](]N" + pickle.TUPLE + pickle.APPEND),
        "(a dict with keys that are no names)",
    ),
    "a factory that is text": _inert(
        _call("collections.defaultdict", _text("os.system")), "what is no function"
    ),
    # Other packages' ways.
    "a numpy scalar": _inert(
        _call("numpy._core.multiarray.scalar", pickle.NONE), "(numpy._core.multiarray.scalar)"
    ),
    "a numpy array": _inert(
        _call("numpy.core.multiarray._reconstruct", pickle.NONE),
        "(numpy.core.multiarray._reconstruct)",
    ),
    "_codecs.encode": _inert(
        _call("_codecs.encode", _text("a"), _text("rot13")), "(_codecs.encode)"
    ),
    "bytearray": _inert(_call("builtins.bytearray", _int(1 << 40)), "(builtins.bytearray)"),
    "copyreg": _inert(_global("copyreg._reconstructor"), "(copyreg._reconstructor)"),
    "a pickle within": Attack(
        lambda f: _call(
            "_pickle.loads",
            pickle.BINBYTES + struct.pack("<I", len(_inner(f))) + _inner(f),
        ),
        "(_pickle.loads)",
        True,
    ),
    "a PyTorch file within": _inert(
        _call(
            "torch.storage._load_from_bytes",
            pickle.BINBYTES + struct.pack("<I", len(_NESTED)) + _NESTED,
        ),
        "(torch.storage._load_from_bytes)",
    ),
    "torch.load": _inert(_call("torch.load", _text("/etc/passwd")), "(torch.load)"),
    "a class of TorchScript": _inert(
        _global("__torch__.Network") + b")" + pickle.NEWOBJ, "(__torch__.Network)"
    ),
    # Persistent ids.
    "PERSID": _inert(pickle.PERSID + b"storage\n", "(the instruction PERSID)"),
    "a persistent number": _inert(_int(5) + pickle.BINPERSID, "is damaged"),
    "a persistent text": _inert(_text("storage") + pickle.BINPERSID, "is damaged"),
    "a persistent module": _inert(
        _persistent(_text("module"), _global("torch.Size"), _text("a.py"), _text("import os")),
        "(a module)",
    ),
    "a storage without more": _inert(_persistent(_text("storage")), "is damaged"),
    "a storage of a type that is text": _inert(
        _persistent(
            _text("storage"), _text("torch.FloatStorage"), _text("0"), _text("cpu"), _int(1)
        ),
        "a storage of no type",
    ),
    "a storage of a function": _inert(
        _persistent(_text("storage"), _global("torch.Size"), _text("0"), _text("cpu"), _int(1)),
        "(torch.Size)",
    ),
    "a storage of a type of no numbers": _inert(
        _persistent(_text("storage"), _global("os.system"), _text("0"), _text("cpu"), _int(1)),
        "(os.system)",
    ),
    "a storage of fewer than no numbers": _inert(_storage(count=_int(-1)), "no natural number"),
    "a storage of two sizes": _inert(_storage(count=_int(2)), "two types or sizes"),
    "a storage in a folder above": _inert(
        _storage(_text("../../etc/passwd")), "a storage with the key '../../etc/passwd'"
    ),
    "a storage at the root": _inert(
        _storage(_text("/etc/passwd")), "a storage with the key '/etc/passwd'"
    ),
    "a storage of no name": _inert(_storage(_text("")), "a storage with the key ''"),
    "a key of two values, as a number and as its text": _inert(
        b"}(" + _int(1) + b"N" + _text("1") + b"Nu", "is damaged"
    ),
    "a storage called by a list": _inert(_storage(b"]"), "keys that are no names"),
    # Views beyond their numbers.
    "a view of sizes beyond all": _inert(_view(0, (1 << 62,), (1,)), "no natural number"),
    "a view of many sizes": _inert(_view(0, (1 << 40, 1 << 40), (1, 1)), "beyond its storage"),
    "a view of negative size": _inert(_view(0, (-1,), (1,)), "no natural number"),
    "a view of negative stride": _inert(_view(0, (2,), (-1,)), "no natural number"),
    "a view of negative offset": _inert(_view(-1, (1,), (1,)), "no natural number"),
    "a view that begins beyond": _inert(_view(1, (1,), (1,)), "beyond its storage"),
    "a view of fewer strides": _inert(_view(0, (1, 1), (1,)), "2 dimensions and 1 strides"),
    "a view of 33 dimensions": _inert(_view(0, (1,) * 33, (1,) * 33), "33 dimensions"),
    "a view of the other sign": _inert(
        _view(0, (1,), (1,), more=_dict_of("neg", pickle.NEWTRUE)), "(a tensor that is a negated"
    ),
    # Of the machine itself.
    "an index of the memo": _inert(
        b"N" + pickle.LONG_BINPUT + b"\xff\xff\xff\x7f", "a memo of 2,147,483,647 values"
    ),
    "the memo of nothing": _inert(pickle.BINGET + b"\x07", "is damaged"),
    "keys that double": _inert(
        b"})" + b"q\x00h\x00\x86" * 60 + b"Ns", "(a dict with keys that are no names)"
    ),
    "a tuple without a beginning": _inert(pickle.TUPLE * 4, "is damaged"),
    "an empty stack": _inert(pickle.TUPLE3 * 9, "is damaged"),
    "no end": _inert(pickle.SHORT_BINUNICODE + b"\xff", "is damaged"),
}


def _inner(folder: str) -> bytes:
    return _call("os.mkdir", _text(folder)) + pickle.STOP


def refuse(path: Path, content: bytes, told: str, watch: list[str]) -> None:
    """Reading is one error, short, of this file and reason; nothing has run."""
    path.write_bytes(content)
    watch.clear()
    with pytest.raises(InputError) as caught:
        read(path)
    assert watch == []
    message = str(caught.value)
    assert message.startswith(f"{path} ") and told in message, message
    assert len(message) < len(str(path)) + 600 and message.isprintable()


@pytest.mark.parametrize("write", [_zipped, _old], ids=["zip", "before 1.6"])
@pytest.mark.parametrize("attack", ATTACKS.values(), ids=list(ATTACKS))
def test_a_value_in_a_state_dict(tmp_path, watch, attack, write):
    folder, path = tmp_path / "ran", tmp_path / "weights.pth"
    refuse(path, write(_beside(attack.value(str(folder)))), attack.told, watch)
    assert not folder.exists()


LIVE = {name: attack for name, attack in ATTACKS.items() if attack.is_live}


@pytest.mark.parametrize("attack", LIVE.values(), ids=list(LIVE))
def test_pythons_own_unpickler_runs_these(tmp_path, watch, attack):
    """So the tests above would see it if ours did."""
    pickle.loads(attack.value(str(tmp_path / "ran")) + pickle.STOP)
    assert (tmp_path / "ran").is_dir()
    assert "pickle.find_class" in watch


def test_no_module_is_imported(tmp_path, watch, monkeypatch):
    (tmp_path / "a_module_of_pickles.py").write_text(
        f"import os\nos.mkdir({str(tmp_path / 'ran')!r})\nvalue = 1\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    pickled = _beside(_global("a_module_of_pickles.value"))
    refuse(tmp_path / "weights.pth", _zipped(pickled), "(a_module_of_pickles.value)", watch)
    assert "a_module_of_pickles" not in sys.modules
    assert not (tmp_path / "ran").exists()


def test_a_bare_pickle(tmp_path, watch):
    """Of no PyTorch file at all."""
    pickled = _inner(str(tmp_path / "ran"))
    refuse(tmp_path / "weights.pth", pickled, "(os.mkdir)", watch)
    assert not (tmp_path / "ran").exists()


SOUND = _beside(pickle.NONE)


def _archive(members: list[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> bytes:
    """Names as they are, whatever they are."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", method) as file:
        warnings.simplefilter("ignore")  # two members of one name
        for name, content in members:
            file.writestr(name, content)
    return buffer.getvalue()


def _encrypted() -> bytes:
    content = bytearray(_zipped(SOUND))
    for start, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(start) + at] |= 1
    return bytes(content)


def _two_names() -> bytes:
    """One name in the directory, another at the member."""
    content = _zipped(SOUND)
    return content.replace(b"archive/data/0", b"archive/data/1", 1)


def _deflated_numbers() -> bytes:
    count = 70 << 18
    pickled = samples.tensor_pickle("FloatStorage", count, 0, (count,), (1,))
    members = {"data.pkl": pickled, "data/0": bytes(4 * count)}
    return samples.torch_zip(members, method=zipfile.ZIP_DEFLATED)


def _deflated_pickle() -> bytes:
    body = SOUND[:-1] + bytes(20 << 20)
    return samples.torch_zip({"data.pkl": body, "data/0": _ONE}, method=zipfile.ZIP_DEFLATED)


def _lzma_pickle() -> bytes:
    return samples.torch_zip({"data.pkl": SOUND, "data/0": _ONE}, method=zipfile.ZIP_LZMA)


def _doubling_keys() -> bytes:
    """Storages called by lists that hold each other: their text would have 2^60 letters."""
    doubling = b"]" + b"q\x00]h\x00ah\x00a" * 60
    return pickle.PROTO + b"\x02]" + doubling + b"a" + pickle.STOP


def _inner_names(*names: str) -> list[tuple[str, bytes]]:
    return [(name, SOUND if name.endswith("data.pkl") else _ONE) for name in names]


FILES: dict[str, tuple[Callable[[], bytes], str]] = {
    "absolute names": (
        lambda: _archive(_inner_names("/data.pkl", "/data/0")), "lies outside: '/data.pkl'"
    ),
    "names in a folder above": (
        lambda: _archive(_inner_names("../data.pkl", "../data/0")), "lies outside: '../data.pkl'"
    ),
    "a further name in a folder above": (
        lambda: _archive(_inner_names("a/data.pkl", "a/data/0", "a/../../x")), "lies outside"
    ),
    "two members of one name": (
        lambda: _archive(_inner_names("a/data.pkl", "a/data/0", "a/data/0")), "of one name"
    ),
    "two pickles in an archive": (
        lambda: _archive(_inner_names("a/data.pkl", "a/data/0", "b/data.pkl")), "not one data.pkl"
    ),
    "an encrypted member": (_encrypted, "is encrypted"),
    "a member of two names": (_two_names, "is damaged"),
    "a pickle compressed by LZMA": (_lzma_pickle, "compressed in an unusual way"),
    "a pickle that grows": (_deflated_pickle, "'archive/data.pkl' has 20,"),
    "numbers that grow": (_deflated_numbers, "claim to hold far larger arrays"),
    "a second pickle after the first": (
        lambda: _zipped(SOUND + _inner("ran")), "data.pkl goes on after its pickle"
    ),
    "a program": (
        lambda: samples.torch_zip(
            {"data.pkl": SOUND, "constants.pkl": b"\x80\x02).", "data/0": _ONE,
             "code/__torch__.py": b"import os"}
        ),
        "is a TorchScript program, not weights",
    ),
    "old: a second state dict": (lambda: _old(SOUND + SOUND), "no list of storages"),
    "old: a second pickle that runs": (lambda: _old(SOUND + _inner("ran")), "(os.mkdir)"),
    "old: storages called by lists that double": (
        lambda: _old(SOUND, _doubling_keys()), "keys that are no names"
    ),
    "old: a storage twice": (lambda: _old(SOUND, pickle.dumps(["0", "0"], 2)), "are told"),
    "old: an unknown storage": (lambda: _old(SOUND, pickle.dumps(["1"], 2)), "is damaged"),
    "old: no storage": (lambda: _old(SOUND, pickle.dumps([], 2)), "are told"),
    "old: storages by text": (lambda: _old(SOUND, pickle.dumps("0", 2)), "no list of storages"),
    "old: bytes after the end": (lambda: _old(SOUND) + b"more", "are told"),
    "old: a first pickle that runs": (
        lambda: _inner("ran") + _old(SOUND), "(os.mkdir)"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("content", "told"), FILES.values(), ids=list(FILES))
def test_a_whole_file(tmp_path, watch, monkeypatch, content, told):
    monkeypatch.chdir(tmp_path)
    refuse(tmp_path / "weights.pth", content(), told, watch)
    assert os.listdir(tmp_path) == ["weights.pth"]
