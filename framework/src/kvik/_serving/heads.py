"""The heads of finished answers, which are nearly the same from one answer to the next."""

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from .._requests.cors import CORS
from .._requests.headers import RawHeaders, header_lines
from .._requests.replies import Reply
from .._requests.routing import allow


class Heads:
    """Keep templates of whole answers.

    They hold the headers that the server adds to every answer, such as Date, and are made anew with these: once a
    second.
    """

    def __init__(self) -> None:
        self._server_headers: RawHeaders = []
        self._templates: dict[tuple[int, bytes, frozenset[str], bytes], bytes] = {}

    def template(
        self, reply: Reply, server_headers: RawHeaders, *, cors: CORS, origin: bytes, methods: frozenset[str]
    ) -> bytes:
        """Give what makes an answer of its body's length, correlation id, further lines and body, by `%`.

        `reply` has a body, and no headers of its own.
        """
        if server_headers is not self._server_headers:
            self._server_headers = server_headers
            self._templates = {}
        key = (reply.status, reply.content_type, methods, origin)
        template = self._templates.get(key)
        if template is None:
            last = header_lines(cors.headers(origin, allow(methods)))
            first = STATUS_LINE[reply.status] + header_lines(server_headers)
            template = self._templates[key] = b"".join(
                (
                    _literal(first),
                    b"content-length: %d\r\n",
                    _literal(b"content-type: " + reply.content_type),
                    b"\r\nx-correlation-id: %b\r\n",
                    _literal(last),
                    b"%b\r\n%b",
                )
            )
        return template


def _literal(text: bytes) -> bytes:
    return text.replace(b"%", b"%%")
