import os
import pathlib
import socket
import subprocess
import sys

import pytest

import pageserver as package
from pageserver.testing import Server


def test_a_fork_is_private_and_goes_with_its_test(pageserver_fork: package.Session) -> None:
    pageserver_fork[0:4] = b"mine"
    assert pageserver_fork[0:4] == b"mine"


def test_the_next_fork_knows_nothing_of_it(pageserver_fork: package.Session) -> None:
    assert pageserver_fork[0:4] == bytes(4)
    assert pageserver_fork[70000:70005] == b"hello"


def test_the_fixtures_are_there_without_a_line(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        def test_empty(pageserver_fork):
            assert pageserver_fork.pages == 0
            pageserver_fork.grow(1)

        def test_again(pageserver, pageserver_fork):
            assert pageserver_fork.pages == 0
            assert pageserver.stores() == ["empty"]
        """
    )
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=2)


def test_a_build_that_raises_leaves_no_store(pageserver: Server) -> None:
    with pytest.raises(ZeroDivisionError):
        with pageserver.build("half") as image:
            image.grow(1)
            raise ZeroDivisionError
    assert "half" not in pageserver.stores()


def test_an_image_file_is_served_by_its_copy(pageserver: Server, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "mine.img"
    with package.open(path) as image:
        image.grow(1)
        image[0:4] = b"file"
    pageserver.add_image("mine", path)
    with pageserver.fork("mine") as fork:
        assert fork[0:4] == b"file"
        fork[0:4] = b"fork"
    with package.open(path, access="read") as image:
        assert image[0:4] == b"file"
    with pytest.raises(FileExistsError):
        pageserver.add_image("mine", path)


def test_a_daemon_that_can_t_start_says_why() -> None:
    with pytest.raises(package.ProviderError, match="no-such-flag"):
        Server(arguments=["--no-such-flag"])
    with pytest.raises(package.ProviderError):
        Server(daemon="/nowhere/pageserverd")


def test_a_server_leaves_nothing(pageserver: Server) -> None:
    with Server() as server:
        folder = os.path.dirname(server.socket)
        assert package.daemon(f"pageserver://{server.address}").ping() > 0
    assert not os.path.exists(folder)


def test_a_server_ends_with_its_process() -> None:
    program = (
        "import os, signal; from pageserver.testing import Server; s = Server(); print(s.socket, flush=True); "
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    said = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE).stdout.decode().strip()
    folder = os.path.dirname(said)
    assert folder
    import time

    until = time.monotonic() + 60
    while os.path.exists(folder) and time.monotonic() < until:
        time.sleep(0.005)
    assert not os.path.exists(folder)


def test_a_server_tells_no_service_manager(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        with Server():
            pass
        with pytest.raises(BlockingIOError):
            manager.recv(100)
