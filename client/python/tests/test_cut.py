"""A connection that is cut at each of its bytes: a clear error, and never a wrong byte."""
import asyncio
import os
import select
import socket
import threading
from typing import Callable, Iterator, List, Tuple

import pytest

import pageserver as package
from pageserver import PAGE_BYTES
from pageserver.testing import Server

ALL = 1 << 62


def bytes_at(offset: int, length: int) -> bytes:
    return bytes((offset + i) % 251 + 1 for i in range(length))


class CutProxy:
    """Passes one connection after the other on to the daemon, and cuts each after so many bytes in a direction."""

    def __init__(self, target: str) -> None:
        self.path = target + ".cut"
        self._target = target
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.path)
        self._listener.listen(8)
        self._stop = os.pipe()
        self._idle = threading.Event()
        self._idle.set()
        self._limits = [ALL, ALL]
        self._passed = [0, 0]
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def cut_after(self, to_daemon: int, to_client: int) -> None:
        self._idle.wait()
        self._limits, self._passed = [to_daemon, to_client], [0, 0]

    def passed(self) -> List[int]:
        self._idle.wait()
        return self._passed

    def close(self) -> None:
        os.close(self._stop[1])
        self._thread.join()
        os.close(self._stop[0])
        self._listener.close()

    def _run(self) -> None:
        while self._stop[0] not in select.select([self._stop[0], self._listener], [], [])[0]:
            self._idle.clear()
            client, _ = self._listener.accept()
            with client, socket.socket(socket.AF_UNIX) as daemon:
                daemon.connect(self._target)
                self._serve([client, daemon])
            self._idle.set()

    def _serve(self, ends: List[socket.socket]) -> None:
        while self._passed[0] < self._limits[0] and self._passed[1] < self._limits[1]:
            for ready in select.select(ends, [], [])[0]:
                way = ends.index(ready)
                try:
                    got = ready.recv(min(65536, self._limits[way] - self._passed[way]))
                    if not got:
                        return
                    ends[1 - way].sendall(got)
                except OSError:
                    return
                self._passed[way] += len(got)


@pytest.fixture
def proxy(pageserver: Server) -> Iterator[CutProxy]:
    if "cuts" not in pageserver.stores():
        with pageserver.build("cuts") as image:
            image.grow(2)
            image[:] = bytes_at(0, 2 * PAGE_BYTES)
    cutting = CutProxy(pageserver.socket)
    try:
        yield cutting
    finally:
        cutting.close()
        os.unlink(cutting.path)


def blocking(uri: str) -> None:
    with package.open(uri, access="fork", poll_us=0) as session:
        assert session[100:108] == bytes_at(100, 8)
        session[100:107] = b"private"
        assert session.grow(1) == 2
        assert session[98:110] == bytes_at(98, 2) + b"private" + bytes_at(107, 3)
        assert session.stat().pages == 2
        session.discard()
        assert session[100:108] == bytes_at(100, 8)


def in_flight(uri: str) -> None:
    async def work() -> None:
        async with await package.connect(uri, access="fork") as session:
            write = session.write(4000, b"written")
            outcomes = await asyncio.gather(
                write, *(session.read(i * 1000, 20) for i in range(8)), return_exceptions=True
            )
            for i, seen in enumerate(outcomes[1:]):
                expected = b"written" + bytes_at(4007, 13) if i == 4 else bytes_at(i * 1000, 20)
                assert isinstance(seen, package.ConnectionLost) or seen == expected
            for outcome in outcomes:
                if isinstance(outcome, BaseException):
                    raise outcome

    asyncio.run(asyncio.wait_for(work(), 60))


@pytest.mark.parametrize("work", [blocking, in_flight])
def test_a_cut_at_each_byte_is_connection_lost(proxy: CutProxy, work: Callable[[str], None]) -> None:
    uri = f"pageserver+unix:///cuts?socket={proxy.path}"
    work(uri)
    to_daemon, to_client = proxy.passed()
    assert to_daemon > 250 and to_client > 250
    cuts: List[Tuple[int, int]] = [(at, ALL) for at in range(1, to_daemon)]
    cuts += [(ALL, at) for at in range(1, to_client)]
    lost = 0
    for cut in cuts:
        proxy.cut_after(*cut)
        try:
            work(uri)
        except package.ConnectionLost as error:
            assert "the connection" in str(error)
            lost += 1
    # Whether the answer to close is cut shows to nobody.
    assert lost + 100 > len(cuts)


def test_a_session_that_has_ended_says_the_same_again(proxy: CutProxy) -> None:
    uri = f"pageserver+unix:///cuts?socket={proxy.path}"
    proxy.cut_after(ALL, ALL)
    package.open(uri, access="read").close()
    # Within the first answer after the opening.
    proxy.cut_after(ALL, proxy.passed()[1] - 5)
    session = package.open(uri, access="read")
    texts = []
    for call in [lambda: session.read(0, 100)] * 3 + [session.close]:
        with pytest.raises(package.ConnectionLost) as caught:
            call()
        texts.append(str(caught.value))
    assert len(set(texts)) == 1
