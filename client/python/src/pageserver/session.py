"""A session that blocks, and a daemon without a session."""
import ctypes
import operator
import os
from types import TracebackType
from typing import Any, List, Optional, Tuple, Type, Union, overload

from . import _abi, _call, values
from ._call import Buffer, call, taken, unsigned
from .errors import Error, InvalidArgument, OutOfBounds, error_of

PAGE_BYTES = 65536

_lib = _abi.lib
_read = _lib.ps_session_read
_CError = _abi.CError
_ERROR_BYTES = _abi.ERROR_BYTES
_byref = ctypes.byref
_byte_at = ctypes.c_char.from_buffer
_index = operator.index
_LARGE = 1 << 20


class Session:
    """An image: pages of 65,536 bytes, addressed by byte offset. `pageserver.open()` makes one.

    Any thread may call it at any time; calls of a file or `heap:` run one after the other. While a call waits, other
    threads run. `close()` ends the session once no other thread is inside a call.

    Slices read and assign bytes: `image[70000:70008]`. Unlike those of `bytes` they are never cut: what leaves the image
    is OutOfBounds. `len(image)` is its size in bytes.
    """

    __slots__ = ("_handle", "__weakref__")
    _handle: Optional[_call.Handle]

    def __init__(self, handle: _call.Handle) -> None:
        self._handle = handle

    def close(self) -> None:
        """Ends the session: the lease is free, what was not published is dropped. Raises what went wrong with that; it
        is closed all the same, and once more does nothing. While another thread is inside a call the session ends when
        that call does, and nothing is raised. Without close() it ends with its last reference."""
        handle, self._handle = self._handle, None
        if handle is not None and _call.references(handle) <= _call.REFERENCES_OF_ONE:
            call(_lib.ps_session_end, handle)

    @property
    def closed(self) -> bool:
        return self._handle is None

    def __enter__(self) -> "Session":
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], value: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        try:
            self.close()
        except Error:
            # What was raised inside is what the program has to hear of.
            if kind is None:
                raise

    @property
    def size(self) -> int:
        """In bytes."""
        number = ctypes.c_uint64()
        call(_lib.ps_session_size, self._handle, _byref(number))
        return number.value

    @property
    def pages(self) -> int:
        number = ctypes.c_uint64()
        call(_lib.ps_session_pages, self._handle, _byref(number))
        return number.value

    def __len__(self) -> int:
        return self.size

    def __bool__(self) -> bool:
        return True  # also with no pages in it

    def grow(self, new_pages: int) -> int:
        """Appends pages of zeros. Returns the number of pages before."""
        number = ctypes.c_uint64()
        call(_lib.ps_session_grow, self._handle, unsigned("new_pages", new_pages), _byref(number))
        return number.value

    def read(self, offset: int, length: int) -> bytes:
        length = unsigned("length", length)
        if length > _LARGE and unsigned("offset", offset) + length > self.size:
            # Before memory is taken for it.
            raise OutOfBounds(f"read offset={offset} length={length} exceeds size={self.size}")
        buffer = bytearray(length)
        self.read_into(offset, buffer)
        return bytes(buffer)

    def read_into(self, offset: int, buffer: Buffer) -> None:
        """Fills any writable, contiguous buffer, without a copy. On an error its content is unspecified."""
        # call(), written out: this is where time counts.
        handle = self._handle
        if handle is None:
            raise InvalidArgument("it is closed")
        offset = _index(offset)
        if not 0 <= offset < 18446744073709551616:
            unsigned("offset", offset)
        length = memoryview(buffer).nbytes
        error = _CError(_ERROR_BYTES)
        code = _read(handle.pointer, offset, _byref(_byte_at(buffer)) if length else None, length, error)
        if code != 0:
            del handle
            raise error_of(code, error.text)

    def write(self, offset: int, data: Buffer) -> None:
        """Never grows the image. A buffer that is read-only and no `bytes`, or not contiguous, is copied first."""
        place, length = _call.readable(data)
        call(_lib.ps_session_write, self._handle, unsigned("offset", offset), place, length)

    def zero(self, offset: int, length: int) -> None:
        """As a write of zeros of any length, without sending or storing them."""
        call(_lib.ps_session_zero, self._handle, unsigned("offset", offset), unsigned("length", length))

    def flush(self) -> None:
        """Returns once everything before survives loss of power; publishes it where the session does so on_flush."""
        call(_lib.ps_session_flush, self._handle)

    def commit(self) -> None:
        """As flush(), unless a change of this session failed since the last that went well: then InvalidArgument, and
        nothing is published."""
        call(_lib.ps_session_commit, self._handle)

    @property
    def atomic_write_bytes(self) -> int:
        """The most bytes of a write that is applied whole or not at all. PAGE_BYTES: of one within a page. 1: none."""
        number = ctypes.c_uint64()
        call(_lib.ps_session_atomic_write_bytes, self._handle, _byref(number))
        return number.value

    def discard(self) -> None:
        """writer: drops what is not published; fork: back to the version at opening."""
        call(_lib.ps_session_discard, self._handle)

    @property
    def version(self) -> values.Version:
        """The version that reads see now."""
        found = _abi.CVersion()
        call(_lib.ps_session_version, self._handle, _byref(found))
        return values.version_of(found)

    def refresh(self) -> values.Refreshed:
        """Moves a pin, or a fork's base, to the newest version, and says what changed."""
        return taken(
            _lib.ps_session_refresh, self._handle, (), _abi.CRefreshed,
            values.refreshed_of, _lib.ps_refreshed_free,
        )  # fmt: skip

    def break_lease(self, epoch: int = 0) -> Optional[values.Holder]:
        """Takes the lease of this store from the writer with this epoch (0: whichever). Returns who that was."""
        found = ctypes.POINTER(_abi.CHolder)()
        call(_lib.ps_session_break_lease, self._handle, unsigned("epoch", epoch), _byref(found))
        if not found:
            return None
        try:
            return values.holder_of(found.contents)
        finally:
            _lib.ps_holder_free(found)

    def lost(self) -> Optional[Error]:
        """Why this session can't go on: LeaseLost, or what has ended its connection. None while it can. Takes in what
        the daemon has said meanwhile, without a round trip and without waiting for it."""
        try:
            call(_lib.ps_session_lost, self._handle)
        except Error as error:
            return error
        return None

    def stat(self) -> values.Stat:
        """A report on the store."""
        return taken(
            _lib.ps_session_stat, self._handle, (), _abi.CStat,
            values.stat_of, _lib.ps_stat_free,
        )  # fmt: skip

    def data_ranges(self, offset: int = 0, length: Optional[int] = None) -> List[values.Range]:
        """What of it may hold something other than zeros. Without a length: up to the end."""
        if length is None:
            length = max(self.size - offset, 0)
        return taken(
            _lib.ps_session_data_ranges, self._handle,
            (unsigned("offset", offset), unsigned("length", length)), _abi.CRanges,
            lambda found: values.ranges_of(found.ranges, found.count), _lib.ps_ranges_free,
        )  # fmt: skip

    def traffic(self) -> values.Traffic:
        """What the session has cost so far. Costs no round trip."""
        found = _abi.CTraffic(ctypes.sizeof(_abi.CTraffic))
        call(_lib.ps_session_traffic, self._handle, _byref(found))
        return values.traffic_of(found)

    def _bounds(self, key: slice) -> Tuple[int, int]:
        if key.step not in (None, 1):
            raise ValueError("an image has slices of step 1 only")
        start = 0 if key.start is None else _index(key.start)
        stop = None if key.stop is None else _index(key.stop)
        # Asks for the size only where it is needed: a live reader asks the daemon.
        if stop is None or stop < 0 or start < 0:
            size = self.size
            start = start + size if start < 0 else start
            stop = size if stop is None else stop + size if stop < 0 else stop
            if start < 0 or stop < 0:
                raise OutOfBounds(f"slice [{key.start}:{key.stop}] begins before an image of size={size}")
        return start, max(stop - start, 0)

    @overload
    def __getitem__(self, key: int) -> int: ...
    @overload
    def __getitem__(self, key: slice) -> bytes: ...
    def __getitem__(self, key: Union[int, slice]) -> Union[int, bytes]:
        if isinstance(key, slice):
            start, length = self._bounds(key)
            return self.read(start, length)
        return self.read(self._place(key), 1)[0]

    @overload
    def __setitem__(self, key: int, value: int) -> None: ...
    @overload
    def __setitem__(self, key: slice, value: Buffer) -> None: ...
    def __setitem__(self, key: Union[int, slice], value: Any) -> None:
        if isinstance(key, slice):
            start, length = self._bounds(key)
            given = memoryview(value).nbytes
            if given != length:
                raise ValueError(f"{given} bytes for a slice of {length}: an image has no room between")
            self.write(start, value)
        else:
            self.write(self._place(key), bytes((value,)))

    def _place(self, key: int) -> int:
        at = _index(key)
        if at < 0:
            size = self.size
            if at + size < 0:
                raise OutOfBounds(f"index {at} is before an image of size={size}")
            at += size
        return at

    # Iterating by index would end at OutOfBounds, after a request for each byte.
    __iter__ = None


class Daemon:
    """Lists, makes and removes a daemon's stores, shows who uses them, ends sessions. `pageserver.daemon()` makes one. Any thread may call it."""

    __slots__ = ("_handle",)
    _handle: Optional[_call.Handle]

    def __init__(self, handle: _call.Handle) -> None:
        self._handle = handle

    def close(self) -> None:
        self._handle = None

    def __enter__(self) -> "Daemon":
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], value: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()

    def ping(self) -> float:
        """Asks the daemon to answer. Returns how many seconds that took."""
        took = ctypes.c_uint64()
        call(_lib.ps_daemon_ping, self._handle, _byref(took))
        return took.value / 1e9

    def describe(self) -> values.DaemonInfo:
        return taken(
            _lib.ps_daemon_describe, self._handle, (), _abi.CDaemonInfo,
            values.daemon_info_of, _lib.ps_daemon_info_free,
        )  # fmt: skip

    def list(self) -> List[values.Store]:
        return taken(
            _lib.ps_daemon_list, self._handle, (), _abi.CStores,
            values.stores_of, _lib.ps_stores_free,
        )  # fmt: skip

    def create(self, store: str, pages: int = 0) -> None:
        call(_lib.ps_daemon_create, self._handle, store.encode(), unsigned("pages", pages))

    def remove(self, store: str) -> None:
        call(_lib.ps_daemon_remove, self._handle, store.encode())

    def sessions(self, store: Optional[str] = None) -> List[values.SessionReport]:
        """Who is connected, and what each does; with `store` only those on it, or waiting for it. Answered also while
        stores hang."""
        return taken(
            _lib.ps_daemon_sessions, self._handle, (store.encode() if store else None,), _abi.CSessions,
            values.sessions_of, _lib.ps_sessions_free,
        )  # fmt: skip

    def whoami(self, store: Optional[str] = None) -> values.WhoAmI:
        """Whom the daemon takes this client for, and what it may do with `store`, or with every store."""
        return taken(
            _lib.ps_daemon_whoami, self._handle, (store.encode() if store else None,), _abi.CIdentity,
            values.who_am_i_of, _lib.ps_identity_free,
        )  # fmt: skip

    def load(self, store: Optional[str] = None) -> values.Load:
        """What waits and hangs: of the daemon, and of `store`, or of all stores together."""
        return taken(
            _lib.ps_daemon_load, self._handle, (store.encode() if store else None,), _abi.CLoad,
            values.load_of, _lib.ps_load_free,
        )  # fmt: skip

    def kick(self, session: int, reason: str = "") -> values.Kicked:
        """Ends a session, whatever it does. Its client's calls raise ConnectionLost from then on, with a text that names
        who asked for this, and `reason`. NotFound where there is none any more."""
        return taken(
            _lib.ps_daemon_kick, self._handle, (0, unsigned("session", session), reason.encode()), _abi.CKicked,
            values.kicked_of, _lib.ps_kicked_free,
        )  # fmt: skip

    def kick_connection(self, connection: int, reason: str = "") -> values.Kicked:
        """The same with a connection, which may have no session."""
        return taken(
            _lib.ps_daemon_kick, self._handle, (1, unsigned("connection", connection), reason.encode()), _abi.CKicked,
            values.kicked_of, _lib.ps_kicked_free,
        )  # fmt: skip

    def break_lease(self, store: str, epoch: int = 0) -> Optional[values.Holder]:
        """Takes the lease from the writer with this epoch (0: whichever). Returns who that was."""
        found = ctypes.POINTER(_abi.CHolder)()
        call(_lib.ps_daemon_break_lease, self._handle, store.encode(), unsigned("epoch", epoch), _byref(found))
        if not found:
            return None
        try:
            return values.holder_of(found.contents)
        finally:
            _lib.ps_holder_free(found)


def open(
    uri: "Union[str, os.PathLike[str]]",
    *,
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
    token_file: Optional[_call.Path] = None,
    tls_ca: Optional[_call.Path] = None,
    tls_certificate: Optional[_call.Path] = None,
    tls_key: Optional[_call.Path] = None,
    tls_name: Optional[str] = None,
) -> Session:
    """Opens what `uri` names: pageserver://HOST[:PORT]/STORE, pageserver+unix:///STORE?socket=PATH, file:PATH, a plain
    path, heap:, store:PATH; pageservers:// goes through TLS. What is given beside it wins over it; times are in seconds.

    `token`, or the file that has it, and over TLS a certificate with its key say who this is, for a daemon that gives
    rights by that; without a token PAGESERVER_TOKEN of the environment is taken."""
    chosen = _call.options(
        access, view, publish, wait, name, client_name, connect_timeout, request_timeout, poll_us, cache_bytes,
        token, token_file, tls_ca, tls_certificate, tls_key, tls_name,
    )  # fmt: skip
    return Session(_call.opened(_lib.ps_session_open, _lib.ps_session_close, uri, chosen))


def daemon(
    uri: str,
    *,
    client_name: Optional[str] = None,
    connect_timeout: Optional[float] = None,
    request_timeout: Optional[float] = None,
    poll_us: Optional[int] = None,
    token: Optional[str] = None,
    token_file: Optional[_call.Path] = None,
    tls_ca: Optional[_call.Path] = None,
    tls_certificate: Optional[_call.Path] = None,
    tls_key: Optional[_call.Path] = None,
    tls_name: Optional[str] = None,
) -> Daemon:
    """Connects to pageserver://HOST[:PORT], pageservers://HOST[:PORT] or pageserver+unix:///?socket=PATH. Options are those
    of `open()`."""
    chosen = _call.options(
        client_name=client_name, connect_timeout=connect_timeout, request_timeout=request_timeout, poll_us=poll_us,
        token=token, token_file=token_file, tls_ca=tls_ca, tls_certificate=tls_certificate, tls_key=tls_key,
        tls_name=tls_name,
    )  # fmt: skip
    return Daemon(_call.opened(_lib.ps_daemon_open, _lib.ps_daemon_close, uri, chosen))
