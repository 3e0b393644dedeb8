"""Images of 64 KiB pages: in memory, in a file, behind a daemon, or in an engine of this process.

    import pageserver

    with pageserver.open("pageserver://127.0.0.1/demo") as image:
        if image.pages == 0:
            image.grow(16)
        image[70000:70005] = b"hello"
        image.flush()  # on disk when this returns

Every error is a `pageserver.Error`. `connect()` is the same for asyncio; `pageserver.testing` starts a daemon.
"""
from . import _abi
from .aio import AsyncSession, connect
from .errors import (
    AlreadyExists,
    Busy,
    Code,
    ConnectionLost,
    Damaged,
    Error,
    InvalidArgument,
    LeaseLost,
    LimitExceeded,
    NoMemory,
    NoSpace,
    NotFound,
    OutOfBounds,
    PermissionDenied,
    ProtocolError,
    ProviderError,
    ReadOnly,
    SnapshotTooOld,
    TimedOut,
    Unsupported,
)
from .session import PAGE_BYTES, Daemon, Session, daemon, open
from .values import (
    DaemonInfo,
    DataRanges,
    Holder,
    Home,
    Kicked,
    Load,
    Range,
    Recovery,
    Refreshed,
    SessionReport,
    Stat,
    Store,
    Traffic,
    Version,
    View,
    WhoAmI,
)

__all__ = [
    "PAGE_BYTES", "AlreadyExists", "AsyncSession", "Busy", "Code", "ConnectionLost", "Daemon", "DaemonInfo", "Damaged",
    "DataRanges", "Error", "Holder", "Home", "InvalidArgument", "Kicked", "LeaseLost", "LimitExceeded", "Load", "NoMemory",
    "NoSpace", "NotFound", "OutOfBounds", "PermissionDenied", "ProtocolError", "ProviderError", "Range", "ReadOnly",
    "Recovery", "Refreshed", "Session", "SessionReport", "SnapshotTooOld", "Stat", "Store", "TimedOut", "Traffic", "Unsupported", "Version", "View", "WhoAmI", "connect", "daemon",
    "library_version", "open",
]  # fmt: skip


def library_version() -> str:
    """The version of the C library that runs."""
    version: bytes = _abi.lib.ps_version()
    return version.decode()
