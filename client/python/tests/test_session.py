import array
import gc
import mmap
import os
import pathlib
import socket
import subprocess
import threading
import time
from typing import Any, Callable, List

import pytest

import pageserver
import pageserver as package
from pageserver import PAGE_BYTES
from pageserver.testing import Server, find_daemon


@pytest.fixture(params=["heap:", "file:{}/x.img", "store:{}/y.img", "fork"])
def image(request: pytest.FixtureRequest, tmp_path: pathlib.Path, pageserver_fork: pageserver.Session) -> Any:
    if request.param == "fork":
        yield pageserver_fork
        return
    with pageserver.open(request.param.format(tmp_path)) as opened:
        opened.grow(4)
        opened[70000:70005] = b"hello"
        yield opened


def test_an_image_is_pages_of_bytes(image: pageserver.Session) -> None:
    assert (image.pages, image.size, len(image)) == (4, 4 * PAGE_BYTES, 4 * PAGE_BYTES)
    assert image.grow(2) == 4
    assert image.grow(0) == 6
    image.write(5 * PAGE_BYTES - 2, b"across")
    assert image.read(5 * PAGE_BYTES - 2, 6) == b"across"
    assert image.read(6 * PAGE_BYTES, 0) == b""
    image.flush()


def test_slices_read_and_assign(image: pageserver.Session) -> None:
    assert image[70000:70008] == b"hello\0\0\0"
    image[70000:70008] = bytearray(b"goodbye!")
    assert image[70000:70008] == b"goodbye!"
    assert image[70000] == ord("g")
    image[70000] = 0x47
    assert image[70000:70003] == b"Goo"
    image[-2:] = b"zz"
    assert image[-3:] == b"\0zz"
    assert image[-1] == ord("z")
    assert len(image[:]) == len(image)
    assert image[5:5] == image[9:3] == b""
    image[5:5] = b""


def test_a_slice_is_never_cut(image: pageserver.Session) -> None:
    for key in (slice(len(image) - 2, len(image) + 1), slice(70000, 1 << 40), len(image), -len(image) - 1,
                slice(-len(image) - 1, None)):  # fmt: skip
        with pytest.raises(pageserver.OutOfBounds):
            image[key]
    with pytest.raises(IndexError):
        image[1 << 50]
    with pytest.raises(ValueError, match="3 bytes for a slice of 4"):
        image[0:4] = b"abc"
    with pytest.raises(ValueError, match="step 1 only"):
        image[0:4:2]
    with pytest.raises(ValueError):
        image[0] = 256
    with pytest.raises(TypeError):
        iter(image)
    with pytest.raises(TypeError):
        image["a"]  # type: ignore[call-overload]


def test_any_writable_buffer_is_filled_in_place(image: pageserver.Session) -> None:
    filled = bytearray(b"." * 9)
    image.read_into(70000, memoryview(filled)[2:7])
    assert filled == b"..hello.."
    numbers = array.array("H", [0] * 4)
    image.read_into(70000, numbers)
    assert numbers.tobytes() == b"hello\0\0\0"
    with mmap.mmap(-1, 4096) as mapped:
        image.read_into(70000, mapped)
        assert mapped[:5] == b"hello"
    image.read_into(70000, bytearray())
    for refused in (b"bytes", memoryview(b"read-only"), memoryview(bytearray(9))[::2], "text"):
        with pytest.raises((TypeError, BufferError)):
            image.read_into(70000, refused)


def test_any_buffer_is_written(image: pageserver.Session) -> None:
    for data in (b"12345678", bytearray(b"12345678"), memoryview(b"0123456789")[1:9],
                 memoryview(bytearray(b"0123456789"))[1:9], memoryview(bytearray(b"1.2.3.4.5.6.7.8."))[::2],
                 array.array("B", b"12345678")):  # fmt: skip
        image.zero(100, 8) if hasattr(image, "zero") and _has_session(image) else image.write(100, bytes(8))
        image.write(100, data)
        assert image[100:108] == b"12345678"
    image.write(100, b"")
    image.write(100, memoryview(b""))
    with pytest.raises(TypeError):
        image.write(100, "text")


def _has_session(image: pageserver.Session) -> bool:
    try:
        image.stat()
    except pageserver.Unsupported:
        return False
    return True


def test_numbers_that_c_would_take_for_others_are_refused(image: pageserver.Session) -> None:
    calls: List[Callable[[int], Any]] = [
        lambda n: image.read(n, 1), lambda n: image.write(n, b"x"), lambda n: image.grow(n),
        lambda n: image.read_into(n, bytearray(1)),
    ]  # fmt: skip
    for call in calls:
        for number in (-1, 1 << 64, 1 << 70):
            with pytest.raises(ValueError, match="2\\^64"):
                call(number)
    with pytest.raises(TypeError):
        image.read(1.5, 1)  # type: ignore[arg-type]


def test_errors_have_a_class_a_code_and_the_text(image: pageserver.Session) -> None:
    with pytest.raises(pageserver.OutOfBounds, match="read offset=700000 length=9 exceeds size=262144") as caught:
        image.read(700_000, 9)
    assert caught.value.code == pageserver.Code.OUT_OF_BOUNDS
    assert isinstance(caught.value, (pageserver.Error, IndexError))
    with pytest.raises(pageserver.InvalidArgument, match="is no scheme known here"):
        pageserver.open("nothing:x")
    with pytest.raises(pageserver.NotFound):
        pageserver.open("/nowhere/at/all.img", access="read")
    with pytest.raises(pageserver.ConnectionLost):
        pageserver.open("pageserver://127.0.0.1:1/x", connect_timeout=10)


def test_a_closed_session_says_so(image: pageserver.Session) -> None:
    with image:
        assert not image.closed
    assert image.closed
    image.close()
    for call in (lambda: image.size, lambda: image.read(0, 1), lambda: image.write(0, b""), image.flush):
        with pytest.raises(pageserver.InvalidArgument, match="it is closed"):
            call()


def test_close_says_that_the_daemon_is_gone() -> None:
    server = Server()
    with server.build("gone") as image:
        image.grow(1)
    first, second = server.open("gone", access="read"), server.open("gone", access="read")
    server.close()
    with pytest.raises(package.ConnectionLost):
        first.close()
    assert first.closed
    first.close()
    # What was raised inside is what the program has to hear of.
    with pytest.raises(ZeroDivisionError), second:
        raise ZeroDivisionError


def test_after_close_the_lease_is_free(pageserver: Server) -> None:
    with pageserver.build("free") as image:
        image.grow(1)
    for _ in range(20):
        writer = pageserver.open("free")
        writer.write(0, b"x")
        writer.close()


def test_a_commit_publishes_nothing_behind_a_refused_change(pageserver: Server) -> None:
    with pageserver.build("commits") as image:
        image.grow(1)
    with pageserver.open("commits", publish="on_flush") as writer, pageserver.open("commits", access="read") as reader:
        writer.write(0, b"half")
        with pytest.raises(package.OutOfBounds):
            writer.write(1 << 40, b"rest")
        with pytest.raises(package.InvalidArgument, match="a write was refused"):
            writer.commit()
        assert reader[0:4] == bytes(4)
        writer.discard()
        writer.write(0, b"whole")
        writer.commit()
        assert reader[0:5] == b"whole"
        assert writer.atomic_write_bytes >= 1 << 20


def test_an_exception_that_is_kept_keeps_no_lease(pageserver: Server) -> None:
    with pageserver.build("kept") as image:
        image.grow(1)
    kept: List[BaseException] = []
    calls: List[Callable[[package.Session], Any]] = [
        lambda s: s.read(1 << 40, 1), lambda s: s.write(1 << 40, b"x"), lambda s: s[1 << 40], lambda s: s.zero(1 << 40, 1),
        lambda s: s.refresh(), lambda s: s.read_into(1 << 40, bytearray(1)), lambda s: s.data_ranges(1 << 40, 1),
    ]  # fmt: skip
    for call in calls:
        writer = pageserver.open("kept")
        with pytest.raises(package.Error) as caught:
            call(writer)
        kept.append(caught.value)
        writer.close()  # and the next writer opens at once


def test_options_are_checked() -> None:
    for wrong in ({"access": "all"}, {"view": ""}, {"publish": "never"}, {"wait": -1}, {"connect_timeout": 0},
                  {"poll_us": 1001}, {"name": "a\nb"}, {"cache_bytes": 5}):  # fmt: skip
        with pytest.raises(ValueError):
            pageserver.open("heap:" if "cache_bytes" in wrong else "pageserver://127.0.0.1:1/x", **wrong)
    with pytest.raises(ValueError, match="zero byte"):
        pageserver.open("a\0b")


def test_sessions_of_a_daemon(pageserver: Server, pageserver_image: str) -> None:
    with pageserver.build("busy") as writer:
        writer.grow(1)
        with pytest.raises(package.Busy) as refused:
            pageserver.open("busy")
        assert refused.value.code == 3
    reader = pageserver.open(pageserver_image, access="read", view="pinned", name="pin", cache_bytes=1 << 20)
    version = reader.version
    with pytest.raises(package.ReadOnly):
        reader.write(0, b"x")
    with pageserver.open(pageserver_image, publish="on_flush", name="me", request_timeout=30) as writer:
        writer[0:3] = b"new"
        writer.discard()
        assert writer[0:3] == bytes(3)
        writer[0:3] = b"new"
        writer.flush()
        stat = writer.stat()
        assert stat.store == pageserver_image and stat.pages == 4 and stat.writer is not None
        assert (stat.writer.name, stat.writer.access, stat.writer.publish) == ("me", "write", "on_flush")
        assert stat.oldest_holder is not None and stat.oldest_holder.view == "pinned"
        assert writer.data_ranges()[0].offset == 0
        assert writer.data_ranges(PAGE_BYTES, PAGE_BYTES)[0].length > 0
        assert writer.traffic().requests > 3
        assert reader[0:3] == bytes(3)
        refreshed = reader.refresh()
        assert reader[0:3] == b"new"
        assert refreshed.version.number > version.number and refreshed.version.incarnation == version.incarnation
        assert refreshed.changed[0].offset == 0 and not refreshed.everything
        writer.zero(0, 3)
        writer.flush()
    reader.close()


def test_what_was_replayed_is_in_a_report_and_in_a_list(tmp_path: pathlib.Path) -> None:
    arguments = ["--listen", "127.0.0.1:0", "--store", f"one={tmp_path / 'one.img'}", "--unix", str(tmp_path / "s")]
    arguments += ["--port-file", str(tmp_path / "port")]
    uri = f"pageserver+unix:///one?socket={tmp_path / 's'}"

    def started() -> "subprocess.Popen[bytes]":
        daemon = subprocess.Popen([find_daemon(), *arguments], stderr=subprocess.DEVNULL)
        while daemon.poll() is None and not (tmp_path / "port").exists():
            time.sleep(0.002)
        return daemon

    daemon = started()
    with package.open(uri) as image:
        image.grow(1)
        image[0:3] = b"one"
        assert image.stat().recovery is None
    daemon.kill()
    daemon.wait()
    (tmp_path / "port").unlink()
    daemon = started()
    with package.open(uri, access="read") as image:
        found = image.stat().recovery
    assert found is not None and (found.records, found.pages, found.kept_files, found.warned) == (2, 1, [], False)
    with package.daemon(f"pageserver+unix:///?socket={tmp_path / 's'}") as server:
        (listed,) = server.list()
    assert listed.recovery is not None and listed.recovery.records == 2 and listed.recovery.unix_ms == found.unix_ms
    daemon.terminate()
    assert daemon.wait() == 0


def test_a_daemon_is_asked_without_a_session(pageserver: Server) -> None:
    with pageserver.daemon() as daemon:
        assert daemon.ping() > 0
        info = daemon.describe()
        assert info.protocol_version == 1 and info.request_bytes_max >= 1 << 20 and "pageserver" in info.name
        daemon.create("listed", 3)
        with pytest.raises(package.AlreadyExists):
            daemon.create("listed")
        found = [each for each in daemon.list() if each.name == "listed"]
        assert found == [package.Store("listed", 3, False, False)] or found[0].pages == 3
        with pageserver.open("listed", name="holder") as writer:
            holder = daemon.break_lease("listed")
            assert holder is not None and holder.name == "holder"
            assert daemon.break_lease("listed") is None
            with pytest.raises(package.LeaseLost):
                writer.write(0, b"x")
        daemon.remove("listed")
        assert "listed" not in pageserver.stores()
    with pytest.raises(package.InvalidArgument, match="closed"):
        daemon.ping()


def test_who_uses_a_daemon_is_shown_and_ended(pageserver: Server) -> None:
    with pageserver.daemon() as daemon:
        daemon.create("seen")
    with pageserver.daemon() as daemon:
        session = pageserver.open("seen", name="holder")
        store = session.stat().store
        session.grow(1)
        (report,) = daemon.sessions(store)
        assert (report.session_name, report.state, report.waits_for) == ("holder", "session", "nothing")
        assert report.has_lease and report.store == store and report.requests >= 1
        assert len(daemon.sessions()) >= 2
        load = daemon.load(store)
        assert load.connections >= 2 and load.store_calls_stuck == 0
        assert session.stat().load is not None
        assert session.stat().home == package.Home("file", "", "", 0)
        kicked = daemon.kick(report.session_id, "enough")
        assert kicked.released and kicked.session.session_id == report.session_id
        with pytest.raises(package.ConnectionLost, match="enough"):
            session.write(0, b"x")
        with pytest.raises(package.NotFound):
            daemon.kick(report.session_id)
        with pytest.raises(package.NotFound):
            daemon.kick_connection(1 << 63)
        with pytest.raises(package.ConnectionLost, match="enough"):
            session.close()


def test_a_session_hears_that_it_is_over(pageserver: Server) -> None:
    with pageserver.daemon() as daemon:
        daemon.create("heard")
    for cache in (None, 1 << 20):
        with pageserver.open("heard", cache_bytes=cache) as writer:
            assert writer.lost() is None
            with pageserver.open("heard", access="read") as reader:
                broken = reader.break_lease()
                assert broken is not None and broken.access == "write"
                assert reader.break_lease() is None
            deadline = time.monotonic() + 30
            while writer.lost() is None:
                assert time.monotonic() < deadline
            assert isinstance(writer.lost(), package.LeaseLost)
    with package.open("heap:") as heap, pytest.raises(package.Unsupported):
        heap.break_lease()


def test_threads_share_a_session_and_run_while_it_waits(pageserver: Server) -> None:
    with pageserver.build("shared") as image:
        image.grow(4)
    image = pageserver.open("shared")
    faults: List[BaseException] = []

    def work(number: int) -> None:
        try:
            mine = bytes([number + 1]) * 1000
            for at in range(number * PAGE_BYTES, number * PAGE_BYTES + 500, 10):
                image.write(at, mine)
                assert image.read(at, 1000) == mine
        except BaseException as error:
            faults.append(error)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not faults

    # One thread waits in line for the lease, inside the library; this one goes on, and lets it have it.
    turned: List[int] = []

    def wait() -> None:
        with pageserver.open("shared", wait=60):
            turned.append(1)

    waiter = threading.Thread(target=wait)
    waiter.start()
    with pageserver.open("shared", access="read") as reader:
        while reader.stat().writers_waiting == 0:
            time.sleep(0)
    assert not turned
    image.close()
    waiter.join()
    assert turned


def test_closing_while_another_thread_is_inside_is_safe(pageserver: Server) -> None:
    with pageserver.build("closing") as image:
        image.grow(16)
    for _ in range(20):
        session = pageserver.open("closing", access="read")
        inside = threading.Event()

        def work(session: package.Session = session, inside: threading.Event = inside) -> None:
            buffer = bytearray(16 * PAGE_BYTES)
            try:
                while True:
                    inside.set()
                    session.read_into(0, buffer)
            except package.InvalidArgument:
                pass

        worker = threading.Thread(target=work)
        worker.start()
        inside.wait()
        session.close()
        worker.join()


def test_nothing_is_left_behind(pageserver: Server, pageserver_image: str) -> None:
    def descriptors() -> int:
        gc.collect()
        return len(os.listdir("/proc/self/fd"))

    before = descriptors()
    for _ in range(10):
        pageserver.fork(pageserver_image)  # not closed, and gone all the same
        pageserver.daemon()
    assert descriptors() == before


def test_the_version_is_the_library_s() -> None:
    from importlib.metadata import version

    assert version("pageserver") == pageserver.library_version()


def test_of_several_hosts_the_one_that_serves_the_store_is_found(tmp_path: pathlib.Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        down = f"127.0.0.1:{taken.getsockname()[1]}"  # bound, and nobody listens
        store = ["--store", f"only={tmp_path / 'only.img'}"]
        with Server() as other, Server(arguments=store) as serves:
            hosts = [down, other.address, serves.address]
            for order in (hosts, hosts[::-1]):
                with package.open(f"pageserver://{','.join(order)}/only") as session:
                    session.grow(1)
                    session.flush()
            with package.open(f"pageserver://{serves.address}/only", access="read") as reader:
                assert reader.pages == 2
            with pytest.raises(package.NotFound) as refused:
                package.open(f"pageserver://{down},{other.address}/only")
            assert down in str(refused.value) and other.address in str(refused.value)
            with pytest.raises(package.ConnectionLost):
                package.open(f"pageserver://{down}/only")
