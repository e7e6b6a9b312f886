"""HTTPS: who is trusted, and what is said of those who are not."""

import datetime as dt
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import boto3
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kvik_dynamodb import DynamoDB, DynamoDBError

from .conftest import EventLog, Maker
from .faults import FaultProxy, drop_by_reset

HOST = x509.IPAddress(ip_address("127.0.0.1"))
ANOTHER = x509.DNSName("another.example")


class Authority:
    """Make certificates for servers, and the file by which to trust them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.trust = folder / "authority.pem"
        self.trust.write_bytes(self._certificate(self._key, "authority", HOST, is_authority=True))

    def server(self, name: x509.GeneralName) -> ssl.SSLContext:
        """Give what a server needs to say that this is its name."""
        key = ec.generate_private_key(ec.SECP256R1())
        chain = self._folder / "server.pem"
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        chain.write_bytes(pem + self._certificate(key, "server", name, is_authority=False))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain)
        return context

    def _certificate(
        self, key: ec.EllipticCurvePrivateKey, subject: str, name: x509.GeneralName, *, is_authority: bool
    ) -> bytes:
        issuer, own = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, who)]) for who in ("authority", subject))
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder(issuer_name=issuer, subject_name=own, public_key=key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([name]), critical=False)
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        )
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def server_name() -> x509.GeneralName:
    """Give the name that the server claims to have; a test may ask for another."""
    return HOST


@pytest.fixture
async def proxy(
    authority: Authority, server_name: x509.GeneralName, dynamodb_endpoint: str
) -> AsyncIterator[FaultProxy]:
    """Give a proxy that speaks TLS, in place of the plain one."""
    async with FaultProxy(dynamodb_endpoint, tls=authority.server(server_name)) as running:
        yield running


@pytest.fixture
def trusted(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trust the authority, as a company that has its own does."""
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.trust))


@pytest.fixture
def wire_at(table: str, session: boto3.Session) -> Callable[[str], DynamoDB]:
    """Give a function that makes a driver with the wire and little time, to another server than the proxy."""
    options: dict[str, Any] = {"transport": "wire", "connect_timeout": 0.1, "total_timeout": 1.0}
    return lambda url: DynamoDB(table, "eu-west-1", url, session=session, **options)


@pytest.mark.usefixtures("trusted", "nothing_leaks")
async def test_a_trusted_server(behind_proxy: Maker, proxy: FaultProxy) -> None:
    """Every request goes over TLS, as many over one connection as without it, large ones too."""
    async with behind_proxy() as db:
        await db.set("k", "v" * 300_000)
        assert await db.get("k") == "v" * 300_000
        assert await db.get_many(["k", "missing"]) == {"k": "v" * 300_000}
        assert (await db.health_check())["status"] == "UP"
    assert proxy.accepted <= 2


@pytest.mark.usefixtures("trusted", "nothing_leaks")
async def test_tls_connections_fail_as_plain_ones_do(behind_proxy: Maker, proxy: FaultProxy) -> None:
    """Reset, or closed while idle: the right answer comes."""
    log, db = EventLog(), behind_proxy()
    db.use_logger(log)
    async with db:
        await db.set("k", "v")
        await proxy.hang_up()
        assert await db.get("k") == "v"
        assert log.warnings == []
        proxy.script.extend([drop_by_reset] * 3)
        assert await db.get("k") == "v"
        assert log.warnings != []


async def is_not_trusted(db: DynamoDB, proxy: FaultProxy) -> None:
    """Find that nothing is sent, nor tried again, and that connect, calls and health say what is wrong."""
    log = EventLog()
    db.use_logger(log)
    for call in (db.connect(), db.set("k", "v")):
        with pytest.raises(DynamoDBError) as caught:
            await call
        error = caught.value
        assert (error.code, error.cause) == ("unavailable", "certificate")
        assert (error.outcome, error.retryable) == ("not_applied", False)
        assert "AWS_CA_BUNDLE" in str(error)
        assert proxy.url in str(error)
    assert (await db.health_check())["details"]["error"] == "certificate"
    await db.close()
    assert (proxy.requests, log.warnings) == ([], [])


@pytest.mark.usefixtures("nothing_leaks")
async def test_a_server_whose_authority_is_not_trusted(behind_proxy: Maker, proxy: FaultProxy) -> None:
    """Its name is right, and nobody vouches for it."""
    await is_not_trusted(behind_proxy(), proxy)


@pytest.mark.usefixtures("trusted", "nothing_leaks")
@pytest.mark.parametrize("server_name", [ANOTHER], ids=["another"])
async def test_a_server_with_another_name(behind_proxy: Maker, proxy: FaultProxy) -> None:
    """Its certificate is sound, and somebody else's."""
    await is_not_trusted(behind_proxy(), proxy)


@pytest.mark.usefixtures("trusted", "nothing_leaks")
async def test_a_server_without_tls(wire_at: Callable[[str], DynamoDB], dynamodb_endpoint: str) -> None:
    """https:// to a server that speaks plain HTTP: it cannot be connected to, and a write was not sent."""
    db = wire_at(dynamodb_endpoint.replace("http:", "https:"))
    for call in (db.connect(), db.set("k", "v")):
        with pytest.raises(DynamoDBError) as caught:
            await call
        assert (caught.value.code, caught.value.cause) == ("unavailable", "network")
        assert caught.value.outcome == "not_applied"
    await db.close()


@pytest.mark.usefixtures("nothing_leaks")
async def test_a_handshake_that_stalls(wire_at: Callable[[str], DynamoDB]) -> None:
    """A server that accepts and shakes no hands costs the time for connecting, and a write was not sent."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        db = wire_at(f"https://127.0.0.1:{silent.getsockname()[1]}")
        for call in (db.connect(), db.set("k", "v")):
            with pytest.raises(DynamoDBError) as caught:
                await call
            assert (caught.value.code, caught.value.cause) == ("unavailable", "timeout")
            assert caught.value.outcome == "not_applied"
        await db.close()
