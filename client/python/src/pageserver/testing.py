"""A daemon for tests: started once, and for each test a fork of its own, gone at the end.

    with Server() as server:
        with server.build("golden") as image:      # once
            image.grow(16)
        with server.fork("golden") as database:    # private to this test, in well under a millisecond
            database[0:7] = b"changed"             # golden is as it was
"""
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.parse
from types import TracebackType
from typing import Any, Iterator, List, Optional, Sequence, Type, Union

from . import session as _session
from .errors import Error, NotFound, ProviderError

START_TIMEOUT = 60.0

# What a service manager has given this process: the daemon is none of its services.
_MANAGERS = {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"}

# Ends the daemon when its standard input ends, which it does when the process that holds it does, in whatever way; and
# ends itself when the daemon does.
_KEEPER = """
folder=$1; shift
exec 3<&0
"$@" </dev/null 3<&- & daemon=$!
{ read -r _ <&3; kill -TERM "$daemon" 2>/dev/null; } & watcher=$!
exec 3<&-
wait "$daemon"; status=$?
kill "$watcher" 2>/dev/null
if [ "$status" = 0 ]; then rm -rf -- "$folder"; fi
exit "$status"
"""


def find_daemon() -> str:
    """The daemon to start: `PAGESERVERD`, else one in PATH, else one beside the interpreter."""
    named = os.environ.get("PAGESERVERD")
    if named:
        return named
    found = shutil.which("pageserverd") or shutil.which("pageserverd", path=os.path.dirname(sys.executable))
    if found is None:
        raise NotFound("no pageserverd in PATH or beside the interpreter; set PAGESERVERD to its path")
    return found


class Server:
    """A daemon of this process, with a folder of its own for its stores. It ends with the process, however that ends."""

    def __init__(self, daemon: Optional[str] = None, arguments: Sequence[str] = ()) -> None:
        program = daemon or find_daemon()
        self._folder = tempfile.mkdtemp(prefix="pageserver-")
        self.directory = os.path.join(self._folder, "stores")
        self.socket = os.path.join(self._folder, "d.sock")
        ready = os.path.join(self._folder, "ready")
        self._log = os.path.join(self._folder, "log")
        os.mkdir(self.directory)
        command = [program, "--directory", self.directory, "--allow-create", "--allow-remove"]
        command += ["--listen", "127.0.0.1:0", "--unix", self.socket]
        command += ["--port-file", ready, *arguments]
        with open(self._log, "wb") as log:
            # A session of its own: Ctrl-C in a terminal is for the tests.
            self._keeper: "subprocess.Popen[bytes]" = subprocess.Popen(
                ["/bin/sh", "-c", _KEEPER, "pageserver-keeper", self._folder, *command],
                stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True,
                env={name: value for name, value in os.environ.items() if name not in _MANAGERS},
            )  # fmt: skip
        try:
            self.addresses = self._wait_until_it_serves(ready)
            self.address = self.addresses[0]
        except BaseException:
            self.close()
            raise

    def _wait_until_it_serves(self, ready: str) -> List[str]:
        """HOST:PORT of each listener."""
        until = time.monotonic() + START_TIMEOUT
        # The file is renamed into place once the daemon serves.
        while not os.path.exists(ready):
            if self._keeper.poll() is not None or time.monotonic() > until:
                raise ProviderError(f"the daemon does not serve; it said: {self.log()}")
            time.sleep(0.002)
        with open(ready, encoding="utf-8") as file:
            lines = [line.strip() for line in file]
        addresses = [line for line in lines if line.rpartition(":")[0] and line.rpartition(":")[2].isdigit()]
        if addresses:
            return addresses
        raise ProviderError(f"the daemon serves, and {ready} names no address")

    def log(self) -> str:
        """What the daemon has said."""
        try:
            with open(self._log, encoding="utf-8", errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def _uri(self, store: str = "") -> str:
        return f"pageserver+unix:///{store}?socket={urllib.parse.quote(self.socket)}"

    def uri(self, store: str) -> str:
        """Of a store, by the Unix socket."""
        return self._uri(store)

    def open(self, store: str, **options: Any) -> _session.Session:
        """As `pageserver.open()`, for a store of this server."""
        return _session.open(self._uri(store), **options)

    def fork(self, store: str, **options: Any) -> _session.Session:
        """A private view of the store as it is now, to write to; nothing of it stays."""
        return self.open(store, access="fork", **options)

    def daemon(self) -> _session.Daemon:
        return _session.daemon(self._uri())

    @contextlib.contextmanager
    def build(self, store: str) -> "Iterator[_session.Session]":
        """Makes a store; what is written to it is there at the end. Where the body raises there is no store."""
        with self.daemon() as daemon:
            daemon.create(store)
        try:
            with self.open(store, publish="on_flush") as image:
                yield image
                image.flush()
        except BaseException:
            with self.daemon() as daemon, contextlib.suppress(Error):
                daemon.remove(store)
            raise

    def add_image(self, store: str, path: "Union[str, os.PathLike[str]]") -> None:
        """Serves a copy of the image file as `store`."""
        target = os.path.join(self.directory, store + ".img")
        if os.path.exists(target):
            raise FileExistsError(target)
        shutil.copyfile(path, target + ".new")
        os.rename(target + ".new", target)

    def stores(self) -> List[str]:
        with self.daemon() as daemon:
            return [each.name for each in daemon.list()]

    def close(self) -> None:
        """Stops the daemon and removes its folder. Once more does nothing."""
        if self._keeper.stdin is not None and not self._keeper.stdin.closed:
            self._keeper.stdin.close()
        self._keeper.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> "Server":
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], value: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()
