"""HTTPS by CERT_FILE and KEY_FILE."""

import contextlib
import datetime as dt
import json
import os
import re
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from support import END_TIMEOUT, START_TIMEOUT, Program, until

MAIN = """
import asyncio
from kvik import App

app = App()

@app.get("/")
async def get(ctx):
    return ctx.request.url.scheme

@app.get("/slow")
async def slow(ctx):
    ctx.logger.info("at work")
    await asyncio.sleep(0.5)

@app.post("/")
async def post(ctx):
    return len(await ctx.body())

app.run()
"""


@dataclass
class Files:
    """A program, and a certificate for it that its own key has signed."""

    folder: Path

    def __post_init__(self) -> None:
        (self.folder / "main.py").write_text(MAIN)
        key = ec.generate_private_key(ec.SECP256R1())
        self._write("key.pem", key)
        self._write("other.pem", ec.generate_private_key(ec.SECP256R1()))
        self._write("encrypted.pem", key, b"secret")
        self.cert.write_bytes(_certificate(key))
        (self.folder / "noise.pem").write_text("noise")

    def __getitem__(self, name: str) -> str:
        return str(self.folder / f"{name}.pem") if name else ""

    @property
    def cert(self) -> Path:
        return self.folder / "cert.pem"

    @property
    def main(self) -> Path:
        return self.folder / "main.py"

    def client_context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.cert))

    def _write(self, name: str, key: ec.EllipticCurvePrivateKey, password: bytes = b"") -> None:
        encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption_algorithm=encryption
        )
        (self.folder / name).write_bytes(pem)


def _certificate(key: ec.EllipticCurvePrivateKey) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder(issuer_name=name, subject_name=name, public_key=key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("tls"))


@dataclass
class Https:
    running: Program
    port: int
    context: ssl.SSLContext

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def wait_until_ready(self) -> None:
        until(self._is_ready, "the program does not answer")

    def _is_ready(self) -> bool:
        try:
            self.connect().close()
        except ConnectionError:
            return False
        return True

    def connect(self) -> ssl.SSLSocket:
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=START_TIMEOUT)
        return self.context.wrap_socket(plain, server_hostname="127.0.0.1")


@contextlib.contextmanager
def serving(files: Files, log: Path) -> Iterator[Https]:
    environ = {"CERT_FILE": files["cert"], "KEY_FILE": files["key"], "MAX_BODY_SIZE": "1KiB"}
    running = Program(files.main, log, environ)
    try:
        until(lambda: "Starting server on port" in running.output, "the program did not start")
        (port,) = re.findall(r"Starting server on port: (\d+)", running.output)
        served = Https(running, int(port), files.client_context())
        served.wait_until_ready()
        yield served
    finally:
        running.kill()


@pytest.fixture(scope="module")
def https(files: Files) -> Iterator[Https]:
    with serving(files, files.folder / "log") as served:
        yield served


def test_https(https: Https) -> None:
    """With a certificate the app speaks HTTPS, and its clients can check who answers."""
    with httpx.Client(verify=https.context, base_url=https.url, trust_env=False, timeout=START_TIMEOUT) as client:
        assert client.get("/").json() == {"data": "https"}
        assert client.post("/", content=b"body").json() == {"data": 4}


def test_a_client_that_is_still_sending_sees_the_413(https: Https) -> None:
    """A body over MAX_BODY_SIZE is refused while the client sends it, and the client reads the answer."""
    with httpx.Client(verify=https.context, base_url=https.url, trust_env=False, timeout=START_TIMEOUT) as client:
        answer = client.post("/", content=b"b" * 8_000_000, headers={"Connection": "close"})
    assert answer.status_code == 413
    assert answer.json() == {"error": {"message": "request body is larger than 1024 bytes"}}


def test_a_malformed_head_is_400(https: Https) -> None:
    """Early errors are answered through TLS as well."""
    with https.connect() as client:
        client.sendall(b"hello\r\n\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    ("cert", "key", "variable", "problem"),
    [
        ("cert", "", "CERT_FILE", "KEY_FILE is missing: set both for HTTPS, or neither for HTTP"),
        ("", "key", "KEY_FILE", "CERT_FILE is missing: set both for HTTPS, or neither for HTTP"),
        ("none", "key", "CERT_FILE", "cannot be read: name a file that this process may read"),
        ("cert", "none", "KEY_FILE", "cannot be read: name a file that this process may read"),
        (
            "cert",
            "other",
            "KEY_FILE",
            "does not belong to CERT_FILE: give the key that the certificate was made for",
        ),
        ("cert", "encrypted", "KEY_FILE", "encrypted: give a key without a passphrase"),
        (
            "noise",
            "key",
            "KEY_FILE",
            "this or CERT_FILE cannot be used: give a certificate chain and its private key as PEM files",
        ),
    ],
)
def test_a_certificate_that_cannot_be_used_exits_1(
    files: Files, cert: str, key: str, variable: str, problem: str
) -> None:
    """One line names the variable and what to do; the port is never taken, nor a question asked."""
    run = subprocess.run(
        [sys.executable, str(files.main)],
        env={**os.environ, "HTTP_PORT": "0", "CERT_FILE": files[cert], "KEY_FILE": files[key]},
        capture_output=True,
        text=True,
        timeout=START_TIMEOUT,
        check=False,
    )
    assert run.returncode == 1
    (text,) = run.stderr.splitlines()
    line = json.loads(text)
    assert (line["message"], line["variable"]) == ("config.invalid", variable)
    assert line["problem"].startswith(problem)
    assert run.stdout == ""


@pytest.mark.parametrize("path", ["/", "/slow"])
def test_a_client_that_stays_does_not_delay_the_end(files: Files, tmp_path: Path, path: str) -> None:
    """At SIGTERM what is in flight is answered, and a client that ignores the server's farewell is left."""
    with serving(files, tmp_path / "log") as https, https.connect() as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        if path == "/":
            assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
        else:
            until(lambda: "at work" in https.running.output)
        assert END_TIMEOUT < 30, "no better than asyncio, which waits half a minute for the farewell"
        assert https.running.terminate() == 0
        if path == "/slow":
            assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
