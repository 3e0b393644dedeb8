"""Fixtures for pytest, there as soon as the package is installed.

    pageserver         a daemon for all tests of the run (`pageserver.testing.Server`)
    pageserver_image   the name of the store whose forks tests get; yours, in conftest.py, builds it:

        @pytest.fixture(scope="session")
        def pageserver_image(pageserver):
            with pageserver.build("golden") as image:
                image.grow(16)
            return "golden"

    pageserver_fork    a private session on that image, gone after the test
"""
from typing import TYPE_CHECKING, Iterator

import pytest

if TYPE_CHECKING:
    from pageserver import Session
    from pageserver.testing import Server


@pytest.fixture(scope="session", name="pageserver")
def _pageserver() -> "Iterator[Server]":
    # Here, so that a machine without the library can still run tests that ask for none of this.
    from pageserver.testing import Server

    with Server() as server:
        yield server


@pytest.fixture(scope="session")
def pageserver_image(pageserver: "Server") -> str:
    """An empty image. Override it in conftest.py."""
    with pageserver.build("empty"):
        pass
    return "empty"


@pytest.fixture
def pageserver_fork(pageserver: "Server", pageserver_image: str) -> "Iterator[Session]":
    with pageserver.fork(pageserver_image) as session:
        yield session
