"""Daemons that lie, each with one lie: those of tests/unit/client/lies.hpp, which all clients hear."""
import os
import subprocess
from typing import Iterator, List, NamedTuple, Optional

import pytest

import pageserver as package
from pageserver import PAGE_BYTES, Code
from pageserver.testing import find_daemon

PAGES = 4
ENDS = {Code.PROTOCOL_ERROR, Code.CONNECTION_LOST, Code.TIMED_OUT, Code.LEASE_LOST}


class Lie(NamedTuple):
    port: str
    query: str
    kind: str  # "-": it does no harm
    text: str
    name: str


@pytest.fixture(scope="module")
def lies() -> Iterator[List[Lie]]:
    beside = os.path.join(os.path.dirname(find_daemon()), "lying_daemon")
    program = os.environ.get("PAGESERVER_LYING_DAEMON", beside)
    with subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin and process.stdout
        told = []
        for line in process.stdout:
            if line == "\n":
                break
            told.append(Lie(*line.rstrip("\n").split("\t")))
        yield told
        process.stdin.close()  # with which it ends


def bytes_at(offset: int, length: int) -> bytes:
    return bytes((offset + i) % 251 + 1 for i in range(length))


def all_that_a_session_does(session: package.Session, reader: bool) -> None:
    assert session.read(100, 8) == bytes_at(100, 8)
    assert session.read(PAGE_BYTES - 150, 300) == bytes_at(PAGE_BYTES - 150, 300)
    if not reader:
        session.write(2 * PAGE_BYTES, b"private")
        assert session.grow(1) == PAGES
        assert session.read(2 * PAGE_BYTES - 4, 8) == bytes_at(2 * PAGE_BYTES - 4, 4) + b"priv"
        session.zero(2 * PAGE_BYTES + 50, 20)
    session.data_ranges(0, PAGE_BYTES)
    session.stat()
    if reader:
        session.refresh()
    else:
        session.write(2 * PAGE_BYTES + 128, b"more")
    session.flush()
    if not reader:
        session.discard()
    assert session.read(0, 8) == bytes_at(0, 8)


def heard(lie: Lie) -> Optional[package.Error]:
    """What the first call that fails raises; after an end every later one raises the same."""
    daemon = f"pageserver://127.0.0.1:{lie.port}"
    session = None
    try:
        if lie.query == "list":
            with package.daemon(daemon) as connection:
                connection.list()
            return None
        session = package.open(f"{daemon}/demo?{lie.query}", poll_us=0)
        all_that_a_session_does(session, "access=read" in lie.query)
        return None
    except package.Error as error:
        if session is not None and error.code in ENDS:
            for _ in range(2):
                with pytest.raises(type(error)) as again:
                    session.read(0, 1)
                assert str(again.value) == str(error)
            if error.code != Code.LEASE_LOST:  # without its lease a session ends like any other
                with pytest.raises(type(error)) as again:
                    session.close()
                assert str(again.value) == str(error)
        return error
    finally:
        if session is not None:
            session.close()


def test_each_lie_of_a_daemon_is_a_clear_error_and_never_a_wrong_byte(lies: List[Lie]) -> None:
    wrong = []
    for lie in lies:
        error = heard(lie)
        kind = "-" if error is None else Code(error.code).name.lower()
        if kind != lie.kind or lie.text not in str(error or ""):
            wrong.append(f"{lie.name} ({lie.query}): {kind}: {error}, expected {lie.kind}: ...{lie.text}")
    assert len(lies) > 80
    assert not wrong, "\n".join(wrong)
