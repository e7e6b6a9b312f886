"""What HTTP/1.0 does not have: chunks."""

from .body_pace import LingeringTransport

_CHUNKED = b"\r\ntransfer-encoding: chunked\r\n"


class UnchunkedTransport(LingeringTransport):
    """The transport of a response to an HTTP/1.0 client: the end of the connection is the end of its body."""

    _is_chunked: bool | None = None

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write the head, which uvicorn's cycle writes first, or the content of a chunk, which it writes whole."""
        data = bytes(data)
        if self._is_chunked is None:
            self._is_chunked = _CHUNKED in data
            data = data.replace(_CHUNKED, b"\r\n")
        elif self._is_chunked:
            size, _, rest = data.partition(b"\r\n")
            data = rest[: int(size or b"0", 16)]
        super().write(data)
