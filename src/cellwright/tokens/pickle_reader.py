"""Read a pickled dictionary of plain values without unpickling: nothing in the file is ever run."""

from __future__ import annotations

import pickletools
import struct
from pathlib import Path
from typing import Any

from cellwright.errors import DataError

_MARK = object()
_LIMIT = 1 << 30
_VALUES = {
    "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE", "SHORT_BINSTRING", "BINSTRING",
    "STRING", "SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "INT", "BININT", "BININT1", "BININT2",
    "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT",
}  # fmt: skip
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
# NumPy's own numbers are built by two functions, and bytes of old protocols by a third; they are
# recognised by name and not called.
_SCALAR = {("numpy.core.multiarray", "scalar"), ("numpy._core.multiarray", "scalar")}
_DTYPE = {("numpy", "dtype")}
_BYTES = {("_codecs", "encode")}
_FORMATS = {"f8": "d", "f4": "f", "i8": "q", "i4": "i", "i2": "h", "u4": "I", "u8": "Q"}


class _Name(tuple[str, str]):
    """A function that the file names, as two words."""


class _Dtype:
    """A NumPy number type: its code, and the byte order that follows it in the file."""

    def __init__(self, code: str) -> None:
        self.code = code
        self.order = "<"


def read_pickled_dict(path: Path | str) -> dict[str, Any]:
    """The dictionary that a pickle file describes, keys text, values text or numbers.

    The opcodes are read one by one and only those of dictionaries, text, numbers and NumPy's
    scalars are followed; a file that names any other function is refused before anything is done
    with it.

    Raises
    ------
    DataError
        If the file is missing, names code, is not a pickle, or holds anything else than one
        dictionary of such values.
    """
    path = Path(path)
    try:
        if path.stat().st_size > _LIMIT:
            raise DataError(
                f"{path} has {path.stat().st_size:,} bytes; a dictionary of genes has less than 1 GB"
            )
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    try:
        found = _value(data, path)
    except DataError:
        raise
    # pickletools raises whatever a damaged byte leads to.
    except (ValueError, IndexError, KeyError, TypeError, struct.error, OverflowError) as error:
        text = " ".join(str(error).split())[:120]
        raise DataError(f"{path} is not a whole pickle file: {text}") from error
    if not isinstance(found, dict):
        raise DataError(f"{path} holds {_described(found)}, expected a dictionary of genes")
    for key, value in found.items():
        if not isinstance(key, str) or not isinstance(value, str | int | float):
            raise DataError(
                f"{path} has the entry {_described(key)}: {_described(value)}; expected text: "
                "a number or text"
            )
    return found


def _value(data: bytes, path: Path) -> Any:
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    arg: Any
    for op, arg, _ in pickletools.genops(data):
        name = op.name
        if name in _VALUES:
            stack.append(arg)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in ("PROTO", "FRAME"):
            continue
        elif name == "STOP":
            return stack.pop()
        elif name == "MARK":
            stack.append(_MARK)
        elif name in ("EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE"):
            stack.append({"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}[name]())
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            memo[int(arg)] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[int(arg)])
        elif name in ("SETITEM", "SETITEMS"):
            items = _since_mark(stack) if name == "SETITEMS" else [stack.pop(-2), stack.pop()]
            if not isinstance(stack[-1], dict):
                raise ValueError("entries are set on something that is not a dictionary")
            stack[-1].update(zip(items[::2], items[1::2], strict=True))
        elif name == "DICT":
            items = _since_mark(stack)
            stack.append(dict(zip(items[::2], items[1::2], strict=True)))
        elif name in ("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"):
            count = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}.get(name)
            items = (
                _since_mark(stack) if count is None else [stack.pop() for _ in range(count)][::-1]
            )
            stack.append(tuple(items))
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            words = arg.split(" ", 1) if name == "GLOBAL" else [stack.pop(-2), stack.pop()]
            stack.append(_known(_Name((str(words[0]), str(words[1]))), path))
        elif name == "REDUCE":
            stack.append(_reduced(stack.pop(-2), stack.pop(), path))
        elif name == "BUILD":
            state = stack.pop()
            if not isinstance(stack[-1], _Dtype):
                raise DataError(
                    f"{path} sets the state of {_described(stack[-1])}; only plain values are read"
                )
            stack[-1].order = str(state[1])
        else:
            raise DataError(
                f"{path} uses the pickle opcode {name}, which a dictionary of genes does not need; "
                "nothing of it was run"
            )
    raise ValueError("the end is missing")


def _since_mark(stack: list[Any]) -> list[Any]:
    items: list[Any] = []
    while (top := stack.pop()) is not _MARK:
        items.append(top)
    return items[::-1]


def _known(name: _Name, path: Path) -> _Name:
    if tuple(name) not in _SCALAR | _DTYPE | _BYTES:
        raise DataError(
            f"{path} holds code ({name[0]}.{name[1]}), expected a dictionary of text and numbers "
            "only; nothing of it was run"
        )
    return name


def _reduced(function: Any, arguments: Any, path: Path) -> Any:
    """What the three functions known would return, worked out here."""
    if isinstance(function, _Name) and tuple(function) in _DTYPE:
        return _Dtype(str(arguments[0]).lstrip("<>=|"))
    if isinstance(function, _Name) and tuple(function) in _BYTES:
        return str(arguments[0]).encode("latin-1")
    if isinstance(function, _Name) and isinstance(arguments[0], _Dtype):
        dtype, data = arguments
        if dtype.code not in _FORMATS:
            raise DataError(f"{path} holds a number of the type {dtype.code!r}, which is not read")
        raw = data.encode("latin-1") if isinstance(data, str) else data
        order = ">" if dtype.order == ">" else "<"
        return struct.unpack(order + _FORMATS[dtype.code], raw)[0]
    raise DataError(f"{path} calls {_described(function)}; only plain values are read")


def _described(value: Any) -> str:
    return f"{type(value).__name__.lstrip('_')} {str(value)[:40]!r}"
