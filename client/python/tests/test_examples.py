"""What README and docs/clients.md show does what they say."""
import pathlib
import subprocess
import sys

from pageserver.testing import Server

EXAMPLES = pathlib.Path(__file__).parents[1] / "examples"


def run(name: str, uri: str) -> "subprocess.CompletedProcess[str]":
    words = [sys.executable, str(EXAMPLES / name), uri]
    return subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8")


def test_hello(pageserver: Server, pageserver_image: str, tmp_path: pathlib.Path) -> None:
    assert run("hello.py", "heap:").stdout == "hello from 16 pages\n"
    assert run("hello.py", str(tmp_path / "plain.img")).stdout == "hello from 16 pages\n"
    assert run("hello.py", pageserver.uri(pageserver_image)).stdout == "hello from 4 pages\n"
    refused = run("hello.py", "nothing:")
    assert refused.returncode == 1 and "is no scheme known here" in refused.stderr


def test_many_in_flight(pageserver: Server, pageserver_image: str) -> None:
    assert run("many_in_flight.py", pageserver.uri(pageserver_image)).stdout == "64 blocks, 63 of zeros\n"
