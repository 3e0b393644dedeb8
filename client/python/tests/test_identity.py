"""Who a client is for a daemon: tokens and certificates, in the URI or beside it, and what whoami says of them."""
import asyncio
import os
import pathlib
import shutil
import subprocess
from typing import Iterator

import pytest

import pageserver as package
from pageserver.testing import Server

HASH_OF_ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def secret(path: pathlib.Path, text: str) -> pathlib.Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


def config(place: pathlib.Path, more: str = "") -> str:
    tokens = secret(place / "tokens", f"ci sha256:{HASH_OF_ABC}\n")
    path = place / "config.json"
    path.write_text(
        f'{{"tokens_file": "{tokens}", "rules": ['
        f'{{"who": "token:ci", "stores": "mine", "may": ["write", "create"]}}{more}]}}'
    )
    return str(path)


@pytest.fixture
def ruled(tmp_path: pathlib.Path) -> Iterator[Server]:
    server = Server(arguments=["--config", config(tmp_path)])
    try:
        yield server
    finally:
        server.close()


def test_a_token_of_a_file_says_who_this_is(ruled: Server, tmp_path: pathlib.Path) -> None:
    token = secret(tmp_path / "ci.token", "abc\n")
    key = f"?token_file={token}"
    with package.daemon(f"pageserver://{ruled.address}{key}") as daemon:
        daemon.create("mine", 1)
        with pytest.raises(package.PermissionDenied, match="takes the right create"):
            daemon.create("other", 1)
    with package.open(f"pageserver://{ruled.address}/mine{key}") as mine:
        mine[0:1] = b"x"
    with pytest.raises(package.PermissionDenied, match="takes the right write"):
        package.open(f"pageserver://{ruled.address}/mine")
    with package.open(f"pageserver://{ruled.address}/mine", token_file=token) as mine:
        assert mine[0:1] == b"x"
    token.chmod(0o644)
    with pytest.raises(package.PermissionDenied, match="chmod 600"):
        package.open(f"pageserver://{ruled.address}/mine{key}")


def test_a_token_beside_the_uri_and_whoami(ruled: Server) -> None:
    uri = f"pageserver://{ruled.address}"
    with package.daemon(uri, token="abc") as daemon:
        daemon.create("mine", 1)
        found = daemon.whoami("mine")
        assert (found.identity, found.rights) == ("token:ci", ["write", "create"])
        assert "token:ci" in found.why
        assert daemon.whoami().rights == []
        with pytest.raises(package.InvalidArgument, match="no store's name"):
            daemon.whoami("a/b")
    with package.daemon(uri) as daemon:
        assert (daemon.whoami("mine").identity, daemon.whoami("mine").rights) == ("anyone", [])
    with package.open(uri + "/mine", token="abc") as mine:
        mine[0:1] = b"x"
    with pytest.raises(package.PermissionDenied):
        package.open(uri + "/mine", token="def")
    with pytest.raises(package.InvalidArgument, match="token is empty"):
        package.open(uri + "/mine", token="")
    with pytest.raises(ValueError, match="token holds a zero byte"):
        package.open(uri + "/mine", token="a\0b")
    with pytest.raises(package.InvalidArgument, match="nothing that this URI's scheme knows"):
        package.open("heap:", token="abc")

    async def work() -> bytes:
        async with await package.connect(uri + "/mine", token="abc") as session:
            return await session.read(0, 1)

    assert asyncio.run(work()) == b"x"


def test_without_rules_a_socket_knows_its_user(pageserver: Server) -> None:
    with pageserver.daemon() as daemon:
        assert daemon.whoami().identity == f"uid:{os.getuid()}"
        assert "read" in daemon.whoami().rights


def openssl(place: pathlib.Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=place, check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def certificates(place: pathlib.Path) -> None:
    """ca.pem, and by it server.pem for localhost and one.pem for a client; NAME.key beside each."""
    (place / "req.cnf").write_text("[req]\ndistinguished_name=none\nprompt=no\n[none]\n")
    new = ["req", "-new", "-config", "req.cnf", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc"]
    openssl(place, *new, "-x509", "-days", "9", "-subj", "/CN=ca", "-addext", "basicConstraints=critical,CA:TRUE",
            "-keyout", "ca.key", "-out", "ca.pem")  # fmt: skip
    for name, names, usage in (("server", "DNS:localhost", "serverAuth"), ("one", "URI:app:one", "clientAuth")):
        openssl(place, *new, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        (place / "ext").write_text(f"basicConstraints=CA:FALSE\nextendedKeyUsage={usage}\nsubjectAltName={names}\n")
        openssl(place, "x509", "-req", "-days", "9", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
                "-CAcreateserial", "-extfile", "ext", "-out", f"{name}.pem")  # fmt: skip
        (place / f"{name}.key").chmod(0o600)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl to make certificates with")
def test_a_certificate_says_who_this_is(tmp_path: pathlib.Path) -> None:
    certificates(tmp_path)
    ca, one, key = tmp_path / "ca.pem", tmp_path / "one.pem", tmp_path / "one.key"
    server = Server(
        arguments=["--config", config(tmp_path, ', {"who": "cert:app:one", "stores": "mine", "may": ["read"]}'), "--listen-tls", "localhost:0",
                   "--tls-certificate", str(tmp_path / "server.pem"), "--tls-key", str(tmp_path / "server.key"),
                   "--tls-client-ca", str(ca)]
    )  # fmt: skip
    try:
        with package.daemon(f"pageserver://{server.address}", token="abc") as daemon:
            daemon.create("mine", 1)
        port = server.addresses[-1].rpartition(":")[2]
        uri = f"pageservers://localhost:{port}"
        with package.daemon(uri, tls_ca=ca, tls_certificate=one, tls_key=key) as daemon:
            found = daemon.whoami("mine")
            assert (found.identity, found.rights) == ("cert:app:one", ["read"])
        with package.open(uri + "/mine", access="read", tls_ca=ca, tls_certificate=one, tls_key=key) as mine:
            assert mine[0:1] == b"\0"
        # The same in the URI; a token is somebody else, whatever the certificate says.
        query = f"?tls_ca={ca}&tls_certificate={one}&tls_key={key}"
        with package.open(f"{uri}/mine{query}", token="abc") as mine:
            mine[0:1] = b"x"
        with pytest.raises(package.ConnectionLost, match="wants a certificate of its clients"):
            package.open(uri + "/mine", access="read", tls_ca=ca)
        with pytest.raises(package.ConnectionLost, match="tls_ca="):
            package.open(uri + "/mine", access="read", tls_certificate=one, tls_key=key)
        with pytest.raises(package.ConnectionLost, match="elsewhere.example"):
            package.open(f"{uri}/mine{query}", access="read", tls_name="elsewhere.example")
        with pytest.raises(package.InvalidArgument, match="go together"):
            package.open(uri + "/mine", tls_ca=ca, tls_key=key)

        async def work() -> bytes:
            async with await package.connect(
                uri + "/mine", access="read", tls_ca=ca, tls_certificate=one, tls_key=key
            ) as session:
                return await session.read(0, 1)

        assert asyncio.run(work()) == b"x"
    finally:
        server.close()
