"""Faults on order, at each request of a workload in turn: an error that says it, and never a wrong byte or a hang."""
import contextlib
import threading
import time
from typing import Callable, Iterator, List, Optional

import pytest

import pageserver as package
from pageserver import PAGE_BYTES, Session
from pageserver.testing import Server

ENDS_THE_SESSION = (package.ConnectionLost, package.TimedOut, package.ProtocolError)
FORMS = ["", "&publish=on_flush&cache_bytes=1MiB", "&access=fork"]


@pytest.fixture(scope="module")
def faulty() -> Iterator[Server]:
    with Server(arguments=["--allow-faults"]) as server:
        yield server


def pattern(length: int, seed: int) -> bytes:
    return bytes((at * 31 + seed * 7 + 1) % 256 for at in range(length))


class Walk:
    """One workload, and what its session and others must see."""

    def __init__(self, session: Session, form: str, content: bytes) -> None:
        self.session, self.form = session, form
        self.seen = self.published = content
        self.doubtful: Optional[bytes] = None  # may have been published before the connection was lost
        self.over = False
        self.failures = 0

    def attempt(self, after: bytes, publishes: bool, call: Callable[[], object]) -> None:
        if self.over:
            return
        began = time.monotonic()
        try:
            call()
            self.seen = after
            if publishes:
                self.published = after
        except package.Error as error:
            assert len(str(error)) > 10
            self.failures += 1
            ends = isinstance(error, ENDS_THE_SESSION)
            self.over = ends or isinstance(error, (package.LeaseLost, package.SnapshotTooOld))
            if ends:
                if publishes:
                    self.doubtful = after
                with pytest.raises(type(error)):
                    self.session.write(0, b"x")
                assert self.session.lost() is not None
        assert time.monotonic() - began < 15

    def change(self, offset: int, data: bytes, call: Callable[[], object]) -> None:
        if offset + len(data) <= len(self.seen):
            after = self.seen[:offset] + data + self.seen[offset + len(data) :]
            self.attempt(after, self.form == "", call)

    def write(self, offset: int, data: bytes) -> None:
        self.change(offset, data, lambda: self.session.write(offset, data))

    def read(self, offset: int, length: int) -> None:
        def compare() -> None:
            assert self.session.read(offset, length) == self.seen[offset : offset + length]

        self.attempt(self.seen, False, compare)

    def grow(self) -> None:
        def grow() -> None:
            assert self.session.grow(1) == len(self.seen) // PAGE_BYTES

        self.attempt(self.seen + bytes(PAGE_BYTES), self.form == "", grow)

    def flush(self) -> None:
        self.attempt(self.seen, self.form != "&access=fork", self.session.flush)

    def run(self) -> None:
        for number in range(2):
            self.read(10, 100)
            self.write(PAGE_BYTES + 50 + 100 * number, pattern(64, 7 + number))
            self.write(2 * PAGE_BYTES - 40, pattern(40, 9 + number))
            self.grow()
            self.change(20, bytes(30), lambda: self.session.zero(20, 30))
            self.flush()
            self.write(5, pattern(3, 13 + number))
            if "on_flush" in self.form and number == 0:
                self.attempt(self.published, False, self.session.discard)
            self.read(0, len(self.seen))
        self.flush()


def walk_all(server: Server, fault: str, form: str, stores: str) -> int:
    """The fault at each request in turn, until it strikes none any more; how many runs failed."""
    failed, quiet, number = 0, 0, 0
    timeout = "100ms" if fault == "hang" else "20s"
    # What a session does not notice may still have struck: two in a row that fail at nothing are the end.
    while quiet < 2:
        number += 1
        assert number < 200
        store = f"{stores}-{number}"
        content = pattern(2 * PAGE_BYTES, 1)
        with server.build(store) as image:
            image.grow(2)
            image.write(0, content)
        uri = f"{server.uri(store)}&wait_ms=10000&request_timeout={timeout}"
        session = package.open(f"{uri}&faults=any:{number}:{fault}{form}")
        walk = Walk(session, form, content)
        walk.run()
        with contextlib.suppress(package.Error):
            session.close()
        with package.open(f"{uri}&access=read") as reader:
            found = reader.read(0, reader.size)
        place = f"{form}, any:{number}:{fault}"
        assert found in (walk.published, walk.doubtful), place
        failed += 1 if walk.failures else 0
        quiet = 0 if walk.failures else quiet + 1
    return failed


@pytest.mark.parametrize("fault", ["no_space", "cut=before", "cut=after", "torn=7", "lost", "hang"])
def test_each_fault_at_each_request_is_told_and_no_byte_is_wrong(faulty: Server, fault: str) -> None:
    problems: List[BaseException] = []

    def walk(number: int, form: str) -> None:
        try:
            lost = "snapshot_too_old" if form == "&access=fork" else "lease_lost"
            failed = walk_all(faulty, lost if fault == "lost" else fault, form, f"{fault.replace('=', '-')}-{number}")
            assert failed >= (1 if fault == "lost" else 4), f"{form}: {failed}"
        except BaseException as error:
            problems.append(error)

    walks = [threading.Thread(target=walk, args=(number, form)) for number, form in enumerate(FORMS)]
    for one in walks:
        one.start()
    for one in walks:
        one.join()
    for problem in problems:
        raise problem


@pytest.mark.parametrize("order", ["cut=before", "always:cut=after", "always:torn"])
def test_with_resume_each_request_is_carried_out_once(faulty: Server, order: str) -> None:
    store = "resume-" + order.replace(":", "-").replace("=", "-")
    with faulty.build(store) as image:
        image.grow(1)
    with package.open(f"{faulty.uri(store)}&resume=20&faults=grow:{order}") as session:
        assert [session.grow(1) for _ in range(4)] == [1, 2, 3, 4]
    with package.open(f"{faulty.uri(store)}&access=read") as reader:
        assert reader.pages == 5
