import pytest

from pageserver.testing import Server

pytest_plugins = ["pytester"]


@pytest.fixture(scope="session")
def pageserver_image(pageserver: Server) -> str:
    with pageserver.build("golden") as image:
        image.grow(4)
        image[70000:70005] = b"hello"
    return "golden"
