"""A session for asyncio: many requests in flight on one connection, no thread."""
import asyncio
import ctypes
import itertools
import os
from types import TracebackType
from typing import Any, Callable, Dict, List, Optional, Tuple, Type, Union

from . import _abi, _call, values
from ._call import Buffer, call, unsigned
from .errors import ConnectionLost, Error, ProtocolError, error_of

_lib = _abi.lib
_IN, _OUT = 1, 4


class AsyncSession:
    """`await pageserver.connect(uri)` makes one. It belongs to the event loop that was running then.

    Operations take effect in the order in which they were started. Reads and writes above `request_bytes_max` are split,
    each part atomic by itself. A call that is cancelled may or may not take effect; its buffer is kept until the answer
    has come.
    """

    def __init__(self, handle: _call.Handle, loop: asyncio.AbstractEventLoop) -> None:
        self._handle: Optional[_call.Handle] = handle
        self._loop = loop
        self._keys = itertools.count(1)
        # Of each operation in flight: its future, and what must stay while it is.
        self._pending: Dict[int, Tuple["asyncio.Future[Any]", Any]] = {}
        self._descriptor = -1
        self._writes = False
        self._ending = False
        self._timer: Optional[asyncio.TimerHandle] = None
        self._soon: Optional[asyncio.Handle] = None
        opened = _abi.COpened(ctypes.sizeof(_abi.COpened))
        call(_lib.ps_async_opened, handle, ctypes.byref(opened))
        self.opened = values.view_of(opened)
        self.request_bytes_max: int = opened.request_bytes_max
        self.can_commit: bool = opened.can_commit != 0
        # Kept here: the library calls them for as long as the session lives.
        self._done = _abi.Done(lambda key, error: self._end(key, error, None))
        self._with_pages = _abi.PagesDone(lambda key, error, pages: self._end(key, error, lambda: pages))
        self._with_view = _abi.ViewDone(self._with(values.view_of))
        self._with_refreshed = _abi.RefreshedDone(self._with(values.refreshed_of))
        self._with_ranges = _abi.RangesDone(self._with(values.data_ranges_of))
        self._with_stat = _abi.StatDone(self._with(values.stat_of))
        self._with_holder = _abi.HolderDone(self._with(values.holder_of))
        self._lost_done = _abi.Done(lambda _, error: self._lost(error))
        self._told: Optional[Callable[[Error], None]] = None
        self._watch()

    def _with(self, convert: Callable[[Any], Any]) -> Callable[[int, Any, Any], None]:
        return lambda key, error, found: self._end(key, error, lambda: convert(found.contents) if found else None)

    def _end(self, key: int, error: Any, value: Optional[Callable[[], Any]]) -> None:
        future, _ = self._pending.pop(key)
        if future.done():  # cancelled
            return
        if error:
            future.set_exception(error_of(error.contents.code, error.contents.text))
        else:
            future.set_result(value() if value else None)

    def _start(self, function: Any, *parameters: Any, keep: Any = None) -> "asyncio.Future[Any]":
        key = next(self._keys)
        future = self._loop.create_future()
        self._pending[key] = (future, keep)
        try:
            call(function, self._handle, *parameters, key)
        except BaseException:
            del self._pending[key]
            future.cancel()
            raise
        # Those that are started in one turn of the loop leave together.
        if self._soon is None:
            self._soon = self._loop.call_soon(self._dispatch)
        return future

    def _dispatch(self) -> None:
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None
        handle = self._handle
        if handle is None:
            return
        error = _abi.CError(_abi.ERROR_BYTES)
        # What ended the session was told to each operation.
        _lib.ps_async_dispatch(handle.pointer, None, error)
        self._watch()

    def _watch(self) -> None:
        """Has the loop wait for what the session waits for now."""
        handle = self._handle
        if handle is None:
            return
        interest = _abi.CInterest(ctypes.sizeof(_abi.CInterest))
        error = _abi.CError(_abi.ERROR_BYTES)
        ended = _lib.ps_async_interest(handle.pointer, interest, error) != 0 or interest.descriptor < 0
        if self._descriptor >= 0 and (ended or interest.descriptor != self._descriptor):
            self._unwatch()
        if ended:
            return
        if self._descriptor < 0:
            self._descriptor = interest.descriptor
            self._loop.add_reader(self._descriptor, self._dispatch)
        writes = interest.events & _OUT != 0
        if writes and not self._writes:
            self._loop.add_writer(self._descriptor, self._dispatch)
        elif self._writes and not writes:
            self._loop.remove_writer(self._descriptor)
        self._writes = writes
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if interest.timeout_ms >= 0:
            self._timer = self._loop.call_later(interest.timeout_ms / 1000, self._dispatch)

    def _unwatch(self) -> None:
        if self._descriptor >= 0:
            self._loop.remove_reader(self._descriptor)
            self._loop.remove_writer(self._descriptor)
        self._descriptor = -1
        self._writes = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def close(self) -> None:
        """Ends the session, and raises what went wrong with that: when it returns the lease is free. With something
        outstanding it just leaves, and that raises ConnectionLost. Once more does nothing."""
        if self._handle is None or self._ending:
            return
        self._ending = True
        failed: Optional[Error] = None
        if not self._pending:
            try:
                await self._start(_lib.ps_async_end, 0, self._done)
            except Error as error:
                failed = error
        handle, self._handle = self._handle, None
        self._unwatch()
        pending, self._pending = self._pending, {}
        # Waits for the daemon's word, a second at most.
        await self._loop.run_in_executor(None, handle.close)
        for future, _ in pending.values():
            if not future.done():
                future.set_exception(ConnectionLost("the session was closed before the answer came"))
        if failed is not None:
            raise failed

    @property
    def closed(self) -> bool:
        return self._handle is None or self._ending

    async def __aenter__(self) -> "AsyncSession":
        return self

    async def __aexit__(
        self, kind: Optional[Type[BaseException]], value: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        try:
            await self.close()
        except Error:
            if kind is None:
                raise

    async def read(self, offset: int, length: int) -> bytes:
        buffer = bytearray(unsigned("length", length))
        await self.read_into(offset, buffer)
        return bytes(buffer)

    async def read_into(self, offset: int, buffer: Buffer) -> None:
        """Fills any writable, contiguous buffer, without a copy."""
        place, length = _call.writable(buffer)
        await self._transfer(_lib.ps_async_read, offset, place, length)

    async def write(self, offset: int, data: Buffer) -> None:
        """The data must stay as it is until this returns."""
        place, length = _call.readable(data)
        if isinstance(place, bytes):
            place = ctypes.c_char_p(place)
        await self._transfer(_lib.ps_async_write, offset, place, length)

    async def _transfer(self, function: Any, offset: int, place: Any, length: int) -> None:
        unsigned("offset", offset)
        most = self.request_bytes_max
        if length <= most:
            await self._start(function, offset, place, length, self._done, keep=place)
            return
        begin = ctypes.cast(place, ctypes.c_void_p).value or 0
        parts = [
            self._start(function, offset + at, begin + at, min(most, length - at), self._done, keep=place)
            for at in range(0, length, most)
        ]
        outcomes = await asyncio.gather(*parts, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    async def zero(self, offset: int, length: int) -> None:
        await self._start(_lib.ps_async_zero, unsigned("offset", offset), unsigned("length", length), self._done)

    async def grow(self, new_pages: int) -> int:
        """Returns the number of pages before."""
        before: int = await self._start(_lib.ps_async_grow, unsigned("new_pages", new_pages), self._with_pages)
        return before

    async def flush(self, timeout: float = 0) -> None:
        """`timeout`, in seconds, replaces the session's. While changes have no answer yet it is a commit."""
        await self._start(_lib.ps_async_flush, round(timeout * 1000), self._done)

    async def commit(self, timeout: float = 0) -> None:
        """A flush that publishes nothing where a change before it was refused."""
        await self._start(_lib.ps_async_commit, round(timeout * 1000), self._done)

    async def discard(self) -> None:
        await self._start(_lib.ps_async_discard, self._done)

    async def refresh(self) -> values.Refreshed:
        refreshed: values.Refreshed = await self._start(_lib.ps_async_refresh, self._with_refreshed)
        return refreshed

    async def size(self) -> values.View:
        """Pages and version of the session's view."""
        view: values.View = await self._start(_lib.ps_async_size, self._with_view)
        return view

    async def data_ranges(self, offset: int, length: int) -> List[values.Range]:
        ranges: List[values.Range] = []
        end = offset + length
        while True:
            found: values.DataRanges = await self._start(
                _lib.ps_async_data_ranges, unsigned("offset", offset), unsigned("length", end - offset),
                self._with_ranges,
            )  # fmt: skip
            ranges += found.ranges
            if found.described_until >= end:
                return ranges
            if found.described_until <= offset:
                raise ProtocolError(
                    f"data_ranges offset={offset} length={end - offset}: the answer describes nothing"
                )
            offset = found.described_until

    def on_lost(self, told: Optional[Callable[[Error], None]]) -> None:
        """`told` is called once, on the event loop, when the lease is lost or the connection has ended, also when nothing
        is outstanding."""
        self._told = told
        call(_lib.ps_async_on_lost, self._handle, self._lost_done if told else _abi.Done(), None)

    def _lost(self, error: Any) -> None:
        told, self._told = self._told, None
        if told is not None:
            self._loop.call_soon(told, error_of(error.contents.code, error.contents.text))

    async def stat(self) -> values.Stat:
        stat: values.Stat = await self._start(_lib.ps_async_stat, self._with_stat)
        return stat

    async def break_lease(self, epoch: int = 0) -> Optional[values.Holder]:
        holder: Optional[values.Holder] = await self._start(
            _lib.ps_async_break_lease, unsigned("epoch", epoch), self._with_holder
        )
        return holder


async def connect(
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
    token: Optional[str] = None,
    token_file: Optional[_call.Path] = None,
    tls_ca: Optional[_call.Path] = None,
    tls_certificate: Optional[_call.Path] = None,
    tls_key: Optional[_call.Path] = None,
    tls_name: Optional[str] = None,
) -> AsyncSession:
    """Opens a session on a daemon's store for the event loop that runs. Options are those of `pageserver.open()`."""
    chosen = _call.options(
        access, view, publish, wait, name, client_name, connect_timeout, request_timeout,
        token=token, token_file=token_file, tls_ca=tls_ca, tls_certificate=tls_certificate, tls_key=tls_key,
        tls_name=tls_name,
    )  # fmt: skip
    loop = asyncio.get_running_loop()
    handle = await loop.run_in_executor(
        None, _call.opened, _lib.ps_async_open, _lib.ps_async_close, uri, chosen
    )
    return AsyncSession(handle, loop)
