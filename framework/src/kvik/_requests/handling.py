"""One call of a handler: what may end it, and the answer to what it gives or raises."""

import asyncio
from collections.abc import Awaitable
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import Send
from structlog.contextvars import bind_contextvars

from .._container import Container
from .._kv.deadline import deadline
from .._logs.bound_values import bound_values
from .._threads import asynchronous
from ..context import Context
from ..errors import HTTPError
from .endpoints import Endpoint
from .failures import partial_error
from .interruption import Incoming, until_client_leaves
from .outgoing import Outgoing
from .replies import NotEncodableError, Reply, reply_to_data, reply_to_result
from .running_handler import name_of


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
                await self._send(result if reply is None else reply, context, outgoing, send)
        except ClientDisconnect:
            self._container.logger.debug("request.client_gone")
        except asyncio.CancelledError:
            if not self._container.cutting_off or outgoing.started:
                raise  # somebody else's cancellation, or too late for an answer
            await self.refuse(HTTPError(503, "server is shutting down"), outgoing, incoming, send)
        except Exception as error:
            if isinstance(error, NotEncodableError):
                error.handler = name_of(endpoint.target)
            if outgoing.started:
                outgoing.error = error
                self._container.log_failure(error)
                raise  # only closing the connection tells the client
            await self.refuse(error, outgoing, incoming, send)
        finally:
            context._close()

    async def refuse(self, error: Exception, outgoing: Outgoing, incoming: Incoming, send: Send | None) -> None:
        """Answer with an error."""
        outgoing.error = error
        reply = self._container.log_failure(error).reply(self._container.settings.error_format)
        await outgoing.send_reply(reply, send, with_body=incoming.method != "HEAD")

    async def _send(self, result: Any, context: Context, outgoing: Outgoing, send: Send | None) -> None:
        """Send what a handler gave, or the reply that was made of it."""
        reply = result
        if not isinstance(reply, Reply):
            stopping = self._container.stopping
            reply = await reply_to_result(result, context.method, message_of=partial_error, stopping=stopping)
        try:
            if isinstance(reply, Reply):
                await outgoing.send_reply(reply, send, with_body=context.method != "HEAD")
            else:
                request = context.request
                await reply(request.scope, request.receive, send or outgoing.send)
        finally:
            context._start_background()

    def _call(self, endpoint: Endpoint, context: Context, incoming: Incoming) -> Awaitable[Any]:
        """Call the handler, within REQUEST_TIMEOUT, for as long as its client is there."""
        if endpoint.is_coroutine:
            work = until_client_leaves(endpoint.target, context, incoming)
        else:
            work = self._call_in_thread(endpoint, context)
        return work if self._seconds is None else _within(self._seconds, work)

    async def _call_in_thread(self, endpoint: Endpoint, context: Context) -> Any:
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
