"""One call of a handler: what may end it, and the answer to what it gives or raises."""

import asyncio
from collections.abc import Awaitable
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.responses import FileResponse, StreamingResponse
from starlette.responses import Response as StarletteResponse
from starlette.types import Send
from structlog.contextvars import bind_contextvars

from .._container import Container
from .._exits import as_error
from .._kv.deadline import deadline
from .._logs.bound_values import bound_values
from .._signatures import name_of
from .._threads import asynchronous
from ..context import Context
from ..errors import HTTPError
from .endpoints import Endpoint
from .failures import partial_error
from .headers import check_lines
from .interruption import Incoming, until_client_leaves
from .outgoing import Outgoing
from .ranges import with_ranges_that_count
from .replies import EventStream, NotEncodableError, Reply, reply_to_data, reply_to_result
from .streaming import Streaming, send_head


class Handling:
    """Call handlers and send their answers; every request that reaches one comes through here."""

    def __init__(self, container: Container) -> None:
        self._container = container
        self._seconds = container.settings.request_timeout

    async def answer(self, endpoint: Endpoint, outgoing: Outgoing, incoming: Incoming, send: Send | None) -> None:
        """Call the endpoint's handler and send what it gives, or what it raises means."""
        context = Context(self._container, incoming, outgoing)
        try:
            result = await self._call(endpoint, context, incoming)
            reply = reply_to_data(result, incoming.method)
            if reply is not None and send is None and outgoing.write(reply):
                context._start_background()
            else:
                await self._send(result if reply is None else reply, context, outgoing, incoming, send=send)
        except ClientDisconnect:
            self._container.logger.debug("request.client_gone")
        except BaseException as raised:  # noqa: BLE001 - a handler's sys.exit() is an answer of 500, too
            if isinstance(raised, NotEncodableError):
                raised.handler = name_of(endpoint.target)
            await self._answer_failure(raised, outgoing, incoming, send)
        finally:
            context._close()
            if send is not None:  # behind middleware, which may run it in a task of its own
                outgoing.bound_values = bound_values()

    async def _answer_failure(
        self, raised: BaseException, outgoing: Outgoing, incoming: Incoming, send: Send | None
    ) -> None:
        """Answer with what a handler or a stream's source raised, unless the answer has begun."""
        cutting_off = self._container.cutting_off
        if isinstance(raised, asyncio.CancelledError) and cutting_off and not outgoing.started:
            raised = HTTPError(503, "server is shutting down")
        nobody_asked = outgoing.owns_task and send is None and not (cutting_off or incoming.client_left)
        error = as_error(raised, task_may_end=not nobody_asked)
        if outgoing.started:
            outgoing.error = error
            self._container.log_failure(error)
            raise error  # only closing the connection tells the client
        await self.refuse(error, outgoing, incoming, send)

    async def refuse(self, error: Exception, outgoing: Outgoing, incoming: Incoming, send: Send | None) -> None:
        """Answer with an error."""
        outgoing.error = error
        reply = self._container.log_failure(error).reply(self._container.settings.error_format)
        await outgoing.send_reply(reply, send, with_body=incoming.method != "HEAD")

    async def _send(
        self, result: Any, context: Context, outgoing: Outgoing, incoming: Incoming, *, send: Send | None
    ) -> None:
        """Send what a handler gave, or the reply that was made of it."""
        reply = result
        if not isinstance(reply, Reply):
            reply = await reply_to_result(result, context.method, message_of=partial_error)
        try:
            if isinstance(reply, Reply):
                await outgoing.send_reply(reply, send, with_body=context.method != "HEAD")
            else:
                await self._send_response(reply, context, incoming, send or outgoing.send)
        finally:
            context._start_background()

    async def _send_response(
        self, response: StarletteResponse, context: Context, incoming: Incoming, send: Send
    ) -> None:
        """Send one of Starlette's responses; all but the simplest take their time."""
        request = context.request
        scope = request.scope
        if isinstance(response, FileResponse):
            check_lines(response.raw_headers)  # a response of several ranges has its type in the body, too
            status = response.stat_result
            scope = with_ranges_that_count(scope, None if status is None else status.st_size)
        if type(response).__call__ is StarletteResponse.__call__:
            await response(scope, request.receive, send)
        elif isinstance(response, StreamingResponse) and context.method == "HEAD":
            await send_head(response, send, self._container.logger)
        else:
            stopping = self._container.stopping if isinstance(response, EventStream) else None
            streaming = Streaming(incoming, send, self._container.logger)
            await streaming.send(response, scope, request.receive, stopping=stopping)

    def _call(self, endpoint: Endpoint, context: Context, incoming: Incoming) -> Awaitable[Any]:
        """Call the handler, within REQUEST_TIMEOUT, for as long as its client is there."""
        if endpoint.is_coroutine:
            work = until_client_leaves(endpoint.target, context, incoming)
        else:
            work = self._call_in_thread(endpoint, context, incoming)
        return work if self._seconds is None else _within(self._seconds, work)

    async def _call_in_thread(self, endpoint: Endpoint, context: Context, incoming: Incoming) -> Any:
        headers = incoming.headers
        if b"transfer-encoding" in headers or headers.get(b"content-length", b"0") != b"0":
            await context._read_ahead()  # a client that sends slowly keeps no thread
        bound: dict[str, Any] = {}

        def call(context: Context) -> Any:
            try:
                return endpoint.target(context)
            finally:
                bound.update(bound_values())  # in the thread's copy of the request's context variables

        try:
            return await asynchronous(call, self._container.handler_threads)(context)
        finally:
            bind_contextvars(**bound)
            context._end_waiting()


async def _within(seconds: float, work: Awaitable[Any]) -> Any:
    limit = asyncio.timeout(seconds)
    try:
        with deadline(seconds):
            async with limit:
                return await work
    except TimeoutError:
        if limit.expired():
            raise HTTPError(408, "request timed out") from None
        raise
