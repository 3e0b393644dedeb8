"""Errors: one class for each code of the library. The text is for people: action, object, numbers, remedy."""
import builtins
import enum
from typing import Dict, Type


class Code(enum.IntEnum):
    """What went wrong, as numbers that never change."""

    OUT_OF_BOUNDS = 1
    PROVIDER_ERROR = 2
    BUSY = 3
    LEASE_LOST = 4
    READ_ONLY = 5
    SNAPSHOT_TOO_OLD = 6
    NO_SPACE = 7
    LIMIT_EXCEEDED = 8
    NOT_FOUND = 9
    ALREADY_EXISTS = 10
    PROTOCOL_ERROR = 11
    CONNECTION_LOST = 12
    TIMED_OUT = 13
    UNSUPPORTED = 14
    INVALID_ARGUMENT = 15
    PERMISSION_DENIED = 16
    DAMAGED = 17
    NO_MEMORY = 1000


class Error(Exception):
    """Raised by every call of this package; `code` tells errors apart where the class does not."""

    code: int = Code.PROVIDER_ERROR


class OutOfBounds(Error, IndexError):
    """Offset and length leave the image."""

    code = Code.OUT_OF_BOUNDS


class ProviderError(Error):
    """The medium failed, or the file is not an image."""


class Busy(Error):
    """Someone else holds the file or the writer lease; the text says who."""

    code = Code.BUSY


class LeaseLost(Error):
    """This session was the writer and is no longer; what was private is dropped."""

    code = Code.LEASE_LOST


class ReadOnly(Error):
    """The session or the store may not be written."""

    code = Code.READ_ONLY


class SnapshotTooOld(Error):
    """The version that this session holds was given up to keep within a bound."""

    code = Code.SNAPSHOT_TOO_OLD


class NoSpace(Error):
    """The disk or a quota is full."""

    code = Code.NO_SPACE


class LimitExceeded(Error):
    """A configured limit; the text names it."""

    code = Code.LIMIT_EXCEEDED


class NotFound(Error):
    """There is no such store or file."""

    code = Code.NOT_FOUND


class AlreadyExists(Error):
    """A store or file of that name is there."""

    code = Code.ALREADY_EXISTS


class ProtocolError(Error):
    """The peer does not speak the protocol. Every later call raises it again."""

    code = Code.PROTOCOL_ERROR


class ConnectionLost(Error):
    """What was not answered may or may not have been applied. Every later call raises it again."""

    code = Code.CONNECTION_LOST


class TimedOut(Error):
    """An answer took too long. Every later call raises it again when it was a request that timed out."""

    code = Code.TIMED_OUT


class Unsupported(Error):
    """The peer, the store, the image or this build can't do that."""

    code = Code.UNSUPPORTED


class InvalidArgument(Error, ValueError):
    """A usage error, such as a malformed URI."""

    code = Code.INVALID_ARGUMENT


class PermissionDenied(Error):
    """The system or the daemon's configuration forbids it."""

    code = Code.PERMISSION_DENIED


class Damaged(Error):
    """A log or an image is not what it should be; nothing was changed."""

    code = Code.DAMAGED


class NoMemory(Error, builtins.MemoryError):
    """This process has no memory left."""

    code = Code.NO_MEMORY


_classes: Dict[int, Type[Error]] = {
    each.code: each
    for each in (
        OutOfBounds, ProviderError, Busy, LeaseLost, ReadOnly, SnapshotTooOld, NoSpace, LimitExceeded, NotFound,
        AlreadyExists, ProtocolError, ConnectionLost, TimedOut, Unsupported, InvalidArgument, PermissionDenied,
        Damaged, NoMemory,
    )
}  # fmt: skip


def error_of(code: int, text: bytes) -> Error:
    """The exception for what a call answered. A code that this package does not know is a ProviderError with it."""
    error = _classes.get(code, ProviderError)(text.decode("utf-8", "replace"))
    error.code = code
    return error
