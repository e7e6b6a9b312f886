"""The certificate of a server that speaks HTTPS, looked at before anything starts."""

import ssl
from collections.abc import Iterator
from pathlib import Path

from ..config import BadSetting, Settings


def certificate_problems(settings: Settings) -> Iterator[BadSetting]:
    """Find what keeps CERT_FILE and KEY_FILE, where both are set, from being used by the server."""
    certificate, key = settings.cert_file, settings.key_file
    if not certificate or not key:
        return
    unreadable = [*_unreadable("CERT_FILE", certificate), *_unreadable("KEY_FILE", key)]
    yield from unreadable
    if not unreadable:
        yield from _unusable(certificate, key)


def _unreadable(name: str, file: str) -> Iterator[BadSetting]:
    try:
        Path(file).read_bytes()  # OpenSSL would not say which of the two it cannot read
    except (OSError, ValueError) as error:
        yield BadSetting(name, file, f"cannot be read: name a file that this process may read ({error})")


def _unusable(certificate: str, key: str) -> Iterator[BadSetting]:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, _refuse_to_ask)
    except _EncryptedError:
        yield BadSetting("KEY_FILE", key, "encrypted: give a key without a passphrase")
    except ssl.SSLError as error:
        problem = (
            "does not belong to CERT_FILE: give the key that the certificate was made for"
            if error.reason == "KEY_VALUES_MISMATCH"
            else "this or CERT_FILE cannot be used: give a certificate chain and its private key as PEM files"
        )
        yield BadSetting("KEY_FILE", key, f"{problem} ({error})")


class _EncryptedError(Exception):
    """Raised when a key can be read only with a passphrase."""


def _refuse_to_ask() -> str:
    """Stand in for OpenSSL's question at the terminal, which would wait for an operator who is not there."""
    raise _EncryptedError
