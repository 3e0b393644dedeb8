"""Handles, buffers and options, on their way into the C interface."""
import ctypes
import operator
import os
import sys
from typing import Any, Callable, Optional, Tuple, Type, TypeVar, Union

from . import _abi
from .errors import InvalidArgument, error_of

lib = _abi.lib
_CError = _abi.CError
_ERROR_BYTES = _abi.ERROR_BYTES
_byte_at = ctypes.c_char.from_buffer

# What has the buffer protocol: bytes, bytearray, memoryview, array.array, mmap, an array of numpy.
Buffer = Union[bytes, bytearray, memoryview, Any]
Path = Union[str, "os.PathLike[str]"]


class Handle:
    """Closes what it holds when nobody uses it any more: a call that is inside in another thread keeps it."""

    __slots__ = ("pointer", "_close")

    def __init__(self, pointer: ctypes.c_void_p, close: Callable[[ctypes.c_void_p], None]) -> None:
        self.pointer = pointer
        self._close = close

    def close(self) -> None:
        """Now, where nobody else can be inside."""
        pointer, self.pointer = self.pointer, ctypes.c_void_p()
        self._close(pointer)

    def __del__(self) -> None:
        self.close()


def references(to: object) -> int:
    """How many there are, with those that this call makes."""
    return sys.getrefcount(to)


def _references_of_one() -> int:
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        return 0  # without the interpreter's lock it is not known
    one = object()
    return references(one)


# references() of what nobody but the caller has, in one variable: whoever is inside a call has it as well. Python 3.10
# and older count one more than later ones.
REFERENCES_OF_ONE = _references_of_one()


def call_free(function: Any, *parameters: Any) -> None:
    """Calls a function that takes no handle."""
    error = _CError(_ERROR_BYTES)
    code = function(*parameters, error)
    if code != 0:
        raise error_of(code, error.text)


def call(function: Any, handle: Optional[Handle], *parameters: Any) -> None:
    if handle is None:
        raise InvalidArgument("it is closed")
    error = _CError(_ERROR_BYTES)
    code = function(handle.pointer, *parameters, error)
    if code != 0:
        # An exception that somebody keeps would keep this frame, and so the session open.
        del handle
        raise error_of(code, error.text)


_Value = TypeVar("_Value")


def taken(
    function: Any, handle: Optional[Handle], parameters: Tuple[Any, ...], struct: Type[ctypes.Structure],
    value_of: Callable[[Any], _Value], free: Callable[[Any], None],
) -> _Value:  # fmt: skip
    """Calls a function that hands out a struct: what `value_of` makes of it, which goes then."""
    found = ctypes.POINTER(struct)()
    try:
        call(function, handle, *parameters, ctypes.byref(found))
    finally:
        del handle  # as in call()
    try:
        return value_of(found.contents)
    finally:
        free(found)


def unsigned(name: str, number: int) -> int:
    """For ctypes, which would take it modulo 2^64."""
    number = operator.index(number)
    if not 0 <= number < 1 << 64:
        raise ValueError(f"{name}={number} is not from 0 to 2^64 - 1")
    return number


def writable(buffer: Buffer) -> Tuple[Any, int]:
    """Where a writable buffer is, as an object that keeps it there, and its bytes."""
    length = memoryview(buffer).nbytes
    return (ctypes.byref(_byte_at(buffer)) if length else None), length


def readable(data: Buffer) -> Tuple[Any, int]:
    """The same for a buffer that is only read. One that is read-only, and no `bytes`, is copied."""
    if type(data) is bytes:
        return data, len(data)
    view = memoryview(data)
    if view.nbytes == 0:
        return None, 0
    if view.readonly or not view.c_contiguous:
        data = view.tobytes()
        return data, len(data)
    return ctypes.byref(_byte_at(data)), view.nbytes


_ACCESS = {"read": 1, "write": 2, "fork": 3}
_VIEW = {"live": 1, "pinned": 2}
_PUBLISH = {"on_write": 1, "on_flush": 2}


def _word(name: str, words: "dict[str, int]", value: Optional[str]) -> int:
    if value is None:
        return 0
    if value not in words:
        raise ValueError(f"{name}={value!r} is none of {', '.join(words)}")
    return words[value]


def _text(name: str, value: Optional[Path]) -> Optional[bytes]:
    raw = None if value is None else os.fsencode(value)
    if raw is not None and b"\0" in raw:
        raise ValueError(f"{name} holds a zero byte")
    return raw


def _milliseconds(name: str, seconds: Optional[float]) -> int:
    if seconds is None:
        return 0
    if not 0 < seconds:
        raise ValueError(f"{name}={seconds} is no time; give seconds above 0, or float('inf') for no limit")
    return -1 if seconds > 1e12 else max(1, round(seconds * 1000))


def options(
    access: Optional[str] = None,
    view: Optional[str] = None,
    publish: Optional[str] = None,
    wait: float = 0,
    name: Optional[str] = None,
    client_name: Optional[str] = None,
    connect_timeout: Optional[float] = None,
    request_timeout: Optional[float] = None,
    poll_us: Optional[int] = None,
    cache_bytes: Optional[int] = None,
    token: Optional[str] = None,
    token_file: Optional[Path] = None,
    tls_ca: Optional[Path] = None,
    tls_certificate: Optional[Path] = None,
    tls_key: Optional[Path] = None,
    tls_name: Optional[str] = None,
) -> _abi.COptions:
    if not 0 <= wait <= 4_294_967:
        raise ValueError(f"wait={wait} is not from 0 to 4294967 seconds")
    return _abi.COptions(
        ctypes.sizeof(_abi.COptions),
        _word("access", _ACCESS, access),
        _word("view", _VIEW, view),
        _word("publish", _PUBLISH, publish),
        round(wait * 1000),
        _text("name", name),
        _text("client_name", client_name),
        _milliseconds("connect_timeout", connect_timeout),
        _milliseconds("request_timeout", request_timeout),
        0 if poll_us is None else (poll_us or -1),
        0 if cache_bytes is None else (cache_bytes or 2**64 - 1),
        _text("token", token),
        _text("token_file", token_file),
        _text("tls_ca", tls_ca),
        _text("tls_certificate", tls_certificate),
        _text("tls_key", tls_key),
        _text("tls_name", tls_name),
    )


def text_of(uri: "Union[str, os.PathLike[str]]") -> bytes:
    return os.fsencode(uri)


def opened(function: Any, close: Any, uri: "Union[str, os.PathLike[str]]", chosen: _abi.COptions) -> Handle:
    pointer = ctypes.c_void_p()
    raw = text_of(uri)
    if b"\0" in raw:
        raise ValueError("a URI holds no zero byte")
    call_free(function, raw, chosen, ctypes.byref(pointer))
    return Handle(pointer, close)
