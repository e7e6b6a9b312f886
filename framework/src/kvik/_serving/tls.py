"""The certificate of a server that speaks HTTPS, looked at before anything starts."""

import ssl
import sys
from pathlib import Path

from structlog.typing import FilteringBoundLogger

from ..config import Settings


class _CertificateError(Exception):
    """Say what is wrong, and what to do about it."""


def check_certificate(settings: Settings, logger: FilteringBoundLogger) -> None:
    """Exit with status 1, and one line that says what to do, where CERT_FILE and KEY_FILE are of no use."""
    try:
        _load(settings.cert_file, settings.key_file)
    except _CertificateError as error:
        files = {"cert_file": settings.cert_file, "key_file": settings.key_file}
        logger.error(str(error), **files, error=str(error.__cause__ or ""))
        sys.exit(1)


def _load(cert_file: str | None, key_file: str | None) -> None:
    """Load the pair as the server will; raises _CertificateError."""
    if not cert_file and not key_file:
        return
    if not cert_file or not key_file:
        missing, given = ("CERT_FILE", "KEY_FILE") if key_file else ("KEY_FILE", "CERT_FILE")
        raise _CertificateError(f"{given} is set but {missing} is not: set both for HTTPS, or neither for HTTP")
    _check_readable("CERT_FILE", cert_file)
    _check_readable("KEY_FILE", key_file)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert_file, key_file, _refuse_to_ask)
    except ssl.SSLError as error:
        raise _CertificateError(
            "CERT_FILE and KEY_FILE do not belong together: give the key that the certificate was made for"
            if error.reason == "KEY_VALUES_MISMATCH"
            else "CERT_FILE or KEY_FILE cannot be used: give a certificate chain and its private key as PEM files"
        ) from error


def _check_readable(name: str, file: str) -> None:
    try:
        Path(file).read_bytes()  # OpenSSL would not say which of the two it cannot read
    except OSError as error:
        raise _CertificateError(f"{name} cannot be read: name a file that this process may read") from error


def _refuse_to_ask() -> str:
    """Stand in for OpenSSL's question at the terminal, which would wait for an operator who is not there."""
    raise _CertificateError("KEY_FILE is encrypted: give a key without a passphrase")
