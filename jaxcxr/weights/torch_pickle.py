"""The pickles in PyTorch's files, interpreted here: nothing that they name is imported or run.

A state dict needs few of pickle's instructions and six kinds of object. Those are known here, and
every other one ends the reading. Python's own unpickler, however restricted, can be made to take
all memory (an index of 2^31 in its memo) or all time (keys nested 60 deep).
"""

from __future__ import annotations

import dataclasses
import pickletools
import re
from collections.abc import Callable
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np

# Instructions, and items that they copy; DenseNet-161 takes 40,000, with Adam's state 90,000.
_MOST_WORK = 150_000
_MOST_DIMENSIONS = 32
_NAME_LENGTH = 200
_NUMBERS = {
    "Float": np.float32, "Double": np.float64, "Half": np.float16, "BFloat16": ml_dtypes.bfloat16,
    "Long": np.int64, "Int": np.int32, "Short": np.int16, "Char": np.int8, "Byte": np.uint8,
    "Bool": np.bool_,
}  # fmt: skip
_STORAGES = {
    f"{module}.{name}Storage": np.dtype(dtype)
    for module in ("torch", "torch.cuda")
    for name, dtype in _NUMBERS.items()
}
_STORAGE_KEY = re.compile(r"[\w-]{1,100}", re.ASCII)  # numbers, as PyTorch writes them
_MARK = object()


class MoreThanArraysError(ValueError):
    """The pickle holds an object that is none of a state dict's; the message names it."""


@dataclasses.dataclass(frozen=True)
class Storage:
    """Numbers in a row, which tensors are views of.

    Attributes:
        key: names its bytes in the file.
        dtype: of each number.
        count: how many there are.
    """

    key: str
    dtype: np.dtype
    count: int


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A view of a storage that lies within it: offset, shape and strides in numbers."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of elements."""
        count = 1
        for n in self.shape:
            count *= n
        return count

    def of(self, numbers: np.ndarray) -> np.ndarray:
        """The tensor as an array of its own, of its storage's numbers."""
        if not self.size:
            return np.empty(self.shape, numbers.dtype)
        strides = tuple(stride * numbers.itemsize for stride in self.strides)
        return np.lib.stride_tricks.as_strided(numbers[self.offset :], self.shape, strides).copy()


@dataclasses.dataclass(frozen=True)
class _Global:
    """A name that the pickle would import."""

    name: str


def load(file: BinaryIO, storages: dict[str, Storage] | None = None) -> Any:
    """The next pickle of a file: dicts, lists, strings, numbers, and `Tensor`s.

    Args:
        file: at the pickle's beginning; afterwards at its end.
        storages: gets every storage that the pickle names, by key.

    Raises:
        MoreThanArraysError: see there.
        Exception: of any kind, where the pickle is damaged.
    """
    machine = _Machine()
    value = machine.run(file)
    if storages is not None:
        storages |= machine.storages
    return value


class _Machine:
    """Pickle's stack machine, as far as a state dict needs it."""

    def __init__(self):
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, Storage] = {}
        self.work = 0

    def run(self, file: BinaryIO) -> Any:
        for opcode, argument, _ in pickletools.genops(file):
            self.spend(1)
            instruction = opcode.name
            if instruction == "STOP":
                return self.stack.pop()
            if instruction in _VALUES:
                self.stack.append(argument)
            elif instruction in _CONSTANTS:
                self.stack.append(_CONSTANTS[instruction]())
            elif instruction in _ACTIONS:
                _ACTIONS[instruction](self, argument)
            else:
                raise MoreThanArraysError(f"the instruction {instruction}")
        raise EOFError("a pickle without an end")

    def spend(self, work: int) -> None:
        self.work += work
        if self.work > _MOST_WORK:
            raise ValueError(f"more than {_MOST_WORK:,} instructions")

    def pop_mark(self) -> list[Any]:
        """The values above the last mark of the stack."""
        for at in range(len(self.stack) - 1, -1, -1):
            if self.stack[at] is _MARK:
                items = self.stack[at + 1 :]
                del self.stack[at:]
                return items
        raise ValueError("no mark on the stack")

    def put(self, index: int) -> None:
        if index > _MOST_WORK:  # they are numbered one after another
            raise ValueError(f"a memo of {index:,} values")
        self.memo[index] = self.stack[-1]

    def get(self, index: int) -> None:
        self.stack.append(self.memo[index])

    def to_tuple(self, count: int) -> None:
        items = tuple(self.stack[-count:])
        if len(items) != count:
            raise ValueError("the stack is too short")
        self.stack[-count:] = [items]

    def append(self, items: list[Any]) -> None:
        if not isinstance(self.stack[-1], list):
            raise ValueError("appended to what is no list")
        self.stack[-1].extend(items)

    def set_items(self, items: list[Any]) -> None:
        if not isinstance(self.stack[-1], dict) or len(items) % 2:
            raise ValueError("items of what is no dict")
        _update(self.stack[-1], list(zip(items[::2], items[1::2], strict=True)))

    def stack_global(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self.push_global(f"{module:.{_NAME_LENGTH}}.{name:.{_NAME_LENGTH}}")

    def push_global(self, name: str) -> None:
        """A name of something: unknown ones are refused whether or not the pickle uses them."""
        name = name[:_NAME_LENGTH]
        if name not in _FUNCTIONS and name not in _STORAGES and name not in _INERT:
            raise MoreThanArraysError(name if name.isprintable() else ascii(name))
        self.stack.append(_Global(name))

    def persistent(self) -> None:
        """Of PyTorch: ("storage", type, key, device, count).

        With a view after them in its old files.
        """
        name = self.stack.pop()
        if not isinstance(name, tuple):  # a long text would become millions of letters
            raise ValueError("a storage whose name is no tuple")
        kind, *rest = name
        if kind != "storage":
            raise MoreThanArraysError("a module")  # with its source
        storage_type, key, _, count, *view = rest
        if not isinstance(storage_type, _Global):
            raise ValueError("a storage of no type")
        if view not in ([], [None]):
            raise MoreThanArraysError("a view of a storage, which PyTorch wrote before 2017")
        if storage_type.name not in _STORAGES:
            raise MoreThanArraysError(storage_type.name)
        storage = Storage(storage_key(key), _STORAGES[storage_type.name], _natural(count))
        if self.storages.setdefault(storage.key, storage) != storage:
            raise ValueError("one storage with two types or sizes")
        self.stack.append(storage)

    def reduce(self) -> None:
        """Calls of the functions that are known, each made of what it means."""
        arguments, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, _Global) or not isinstance(arguments, tuple):
            raise ValueError("a call of what is no function")
        if function.name not in _FUNCTIONS:
            raise MoreThanArraysError(function.name)
        self.spend(
            sum(
                len(argument) for argument in arguments if isinstance(argument, list | tuple | dict)
            )
        )
        self.stack.append(_FUNCTIONS[function.name](*arguments))

    def new_object(self) -> None:
        named = [item for item in self.stack[-3:] if isinstance(item, _Global)]
        raise MoreThanArraysError(named[0].name if named else "an object")

    def build(self) -> None:
        """State of an object: of an OrderedDict it is `_metadata`, which says nothing of arrays."""
        state = self.stack.pop()
        is_metadata = isinstance(state, dict) and state.keys() <= {"_metadata"}
        if not isinstance(self.stack[-1], dict) or not is_metadata:
            raise MoreThanArraysError("an object with a state")


def _update(target: dict[Any, Any], pairs: list[Any]) -> None:
    for key, value in pairs:
        ours = key if key is None or isinstance(key, float) else _key(key)
        if ours in target:
            raise ValueError(f"a dict with the key {str(key)[:_NAME_LENGTH]!a} twice")
        target[ours] = value


def _ordered_dict(pairs: Any = ()) -> dict[Any, Any]:
    result: dict[Any, Any] = {}
    _update(result, pairs)
    return result


def _default_dict(factory: Any = None) -> dict[Any, Any]:
    """Without what it would make of keys that are not there."""
    if factory is not None and not isinstance(factory, _Global):
        raise ValueError("a dict whose values are made by what is no function")
    return {}


def _tensor(
    storage: Any,
    offset: Any,
    shape: Any,
    strides: Any,
    requires_grad: Any = False,
    hooks: Any = None,
    metadata: Any = None,
) -> Tensor:
    """A view of a storage; what is said of gradients says nothing of its numbers."""
    if (
        not isinstance(storage, Storage)
        or not isinstance(shape, tuple)
        or not isinstance(strides, tuple)
    ):
        raise ValueError("a tensor of no storage")
    if metadata:  # the numbers are stored with another sign
        raise MoreThanArraysError("a tensor that is a negated or conjugated view")
    if len(shape) != len(strides) or len(shape) > _MOST_DIMENSIONS:
        raise ValueError(f"a tensor of {len(shape)} dimensions and {len(strides)} strides")
    found = Tensor(
        storage, _natural(offset), tuple(map(_natural, shape)), tuple(map(_natural, strides))
    )
    last = found.offset + sum(
        (n - 1) * stride for n, stride in zip(found.shape, found.strides, strict=True)
    )
    if found.size and last >= storage.count:
        raise ValueError("a tensor that reaches beyond its storage")
    return found


def _parameter(data: Any, requires_grad: Any = False, hooks: Any = None) -> Tensor:
    if not isinstance(data, Tensor):
        raise ValueError("a parameter that is no tensor")
    return data


def _size(dimensions: Any = ()) -> tuple[int, ...]:
    if not isinstance(dimensions, tuple | list):  # a long text would become millions of letters
        raise ValueError("a size that is no list of numbers")
    return tuple(map(_natural, dimensions))


def _device(kind: Any, number: Any = None) -> None:
    """Where a tensor was, which is of no interest."""
    if not isinstance(kind, str) or not isinstance(number, int | None):
        raise ValueError("a device without a name")


def _natural(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**62:
        raise ValueError("a count that is no natural number")
    return value


def _key(value: Any) -> str:
    """A dict's key or a storage's: text, or the number of a parameter in an optimiser's state."""
    if isinstance(value, str):
        return value
    if isinstance(value, int) and -(2**62) < value < 2**62:
        return str(value)
    raise MoreThanArraysError("a dict with keys that are no names")


def storage_key(value: Any) -> str:
    """The key of a storage, which names its bytes in the file: no path, nothing nested."""
    key = _key(value)
    if not _STORAGE_KEY.fullmatch(key):
        raise ValueError(f"a storage with the key {key[:_NAME_LENGTH]!a}")
    return key


# Instructions that push their argument, those that push something new, and those that do something.
_VALUES = {
    "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINSTRING", "SHORT_BINSTRING", "BINBYTES",
    "SHORT_BINBYTES", "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT",
}  # fmt: skip
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple, "EMPTY_SET": list,
    "NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False, "MARK": lambda: _MARK,
}  # fmt: skip
_ACTIONS: dict[str, Callable[[_Machine, Any], Any]] = {
    "PROTO": lambda machine, argument: None,
    "FRAME": lambda machine, argument: None,
    "BINPUT": lambda machine, argument: machine.put(argument),
    "LONG_BINPUT": lambda machine, argument: machine.put(argument),
    "MEMOIZE": lambda machine, argument: machine.put(len(machine.memo)),
    "BINGET": lambda machine, argument: machine.get(argument),
    "LONG_BINGET": lambda machine, argument: machine.get(argument),
    "GLOBAL": lambda machine, argument: machine.push_global(argument.replace(" ", ".", 1)),
    "STACK_GLOBAL": lambda machine, argument: machine.stack_global(),
    "TUPLE": lambda machine, argument: machine.stack.append(tuple(machine.pop_mark())),
    "TUPLE1": lambda machine, argument: machine.to_tuple(1),
    "TUPLE2": lambda machine, argument: machine.to_tuple(2),
    "TUPLE3": lambda machine, argument: machine.to_tuple(3),
    "APPEND": lambda machine, argument: machine.append([machine.stack.pop()]),
    "APPENDS": lambda machine, argument: machine.append(machine.pop_mark()),
    "ADDITEMS": lambda machine, argument: machine.append(machine.pop_mark()),
    "SETITEM": lambda machine, argument: machine.set_items(
        [machine.stack.pop(-2), machine.stack.pop()]
    ),
    "SETITEMS": lambda machine, argument: machine.set_items(machine.pop_mark()),
    "BINPERSID": lambda machine, argument: machine.persistent(),
    "REDUCE": lambda machine, argument: machine.reduce(),
    "BUILD": lambda machine, argument: machine.build(),
    "NEWOBJ": lambda machine, argument: machine.new_object(),
    "NEWOBJ_EX": lambda machine, argument: machine.new_object(),
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _ordered_dict,
    "collections.defaultdict": _default_dict,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch.Size": _size,
    "torch.device": _device,
}
# Names that checkpoints mention and nothing here needs: of a defaultdict's values, and of dtypes.
_INERT = {
    "builtins.dict", "builtins.list", "builtins.int", "builtins.float",
    "__builtin__.dict", "__builtin__.list", "__builtin__.int", "__builtin__.float",
    "torch.float64", "torch.float32", "torch.float16", "torch.bfloat16", "torch.int64",
    "torch.int32", "torch.int16", "torch.int8", "torch.uint8", "torch.bool", "torch.strided",
}  # fmt: skip
