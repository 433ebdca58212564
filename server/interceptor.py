"""What happens around every call: admission, deadline, errors turned into statuses, the log line, the counters."""

import asyncio
import logging
import re
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import DecodeError

from whymatch.embed import BadRequest
from whymatch.server.access import Tokens
from whymatch.server.errors import DeadlineExceeded, ShuttingDown, TooManyCalls
from whymatch.server.logs import logger, request_id
from whymatch.server.metrics import Metrics
from whymatch.server.status import INTERNAL, code_of, reason_of
from whymatch.server.wire.answers_errors import to_status

PREFIX = "/whymatch.v1."
"""Health and reflection are not ours: everybody may call them, at any time."""
REQUEST_ID = "x-request-id"

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Handler: TypeAlias = Any  # grpc.RpcMethodHandler, whose stubs know only the handlers of threads


class CallInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]
    """The one layer between gRPC and the servicers, which therefore only read, call and write."""

    def __init__(
        self,
        tokens: Tokens,
        metrics: Metrics,
        *,
        max_calls: int,
        default_deadline_s: float,
        stopping: asyncio.Event,
    ) -> None:
        self._tokens = tokens
        self._metrics = metrics
        self._max_calls = max_calls
        self._default_deadline_s = default_deadline_s
        self._handlers: dict[str, Handler] = {}
        self._running = 0
        self._tasks: set[asyncio.Task[Any]] = set()
        self._cut_off: set[asyncio.Task[Any]] = set()
        self._stopping = stopping
        self._idle = asyncio.Event()
        metrics.in_flight.set_function(lambda: self._running)

    async def intercept_service(
        self, continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]], details: grpc.HandlerCallDetails
    ) -> Handler:
        """Return the wrapped handler of a method; each is wrapped once."""
        if details.method in self._handlers:
            return self._handlers[details.method]
        handler = await continuation(details)
        if handler is None or not details.method.startswith(PREFIX):
            return handler
        return self._handlers.setdefault(details.method, self._wrapped(details.method, handler))

    async def drain(self, grace_s: float) -> None:
        """Refuse new calls, and wait for the running ones to end, but not longer than `grace_s`."""
        self._stopping.set()
        if self._running:
            try:
                await asyncio.wait_for(self._idle.wait(), grace_s)
            except TimeoutError:
                logger.warning("%d calls did not end within %g s and are cut off", self._running, grace_s)
                self._cut_off = set(self._tasks)
                for task in self._cut_off:  # each tells its client why, before gRPC would cancel it without a word
                    task.cancel()

    def _wrapped(self, method: str, handler: Handler) -> Handler:
        name = method.removeprefix(PREFIX)

        async def unary(raw: bytes, context: Context) -> Any:
            async with self._call(name, context), self._deadline(context):
                return await handler.unary_unary(handler.request_deserializer(raw), context)

        async def stream(requests: AsyncIterator[Any], context: Context) -> None:
            async with self._call(name, context), aclosing(handler.stream_stream(requests, context)) as responses:
                async for response in responses:
                    await context.write(response)

        async def progress(raw: bytes, context: Context) -> None:
            async with self._call(name, context):
                request = handler.request_deserializer(raw)
                async with aclosing(handler.unary_stream(request, context)) as responses:
                    async for response in responses:
                        await context.write(response)

        if handler.request_streaming:
            return grpc.stream_stream_rpc_method_handler(
                stream, handler.request_deserializer, handler.response_serializer
            )
        # No deserializer: bytes that are no message are the caller's mistake, and gRPC would call them ours.
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(progress, None, handler.response_serializer)
        return grpc.unary_unary_rpc_method_handler(unary, None, handler.response_serializer)

    @asynccontextmanager
    async def _call(self, method: str, context: Context) -> AsyncIterator[None]:
        """Run one call."""
        started = time.perf_counter()
        metadata = dict(context.invocation_metadata() or ())
        request_id.set(_request_id(metadata))
        trailer = ((REQUEST_ID, request_id.get()),)
        context.set_trailing_metadata(trailer)
        code = "OK"
        failure: Exception | None = None
        try:
            try:
                with self._admitted(method, str(metadata.get("authorization", ""))):
                    yield
            except asyncio.CancelledError:
                if asyncio.current_task() not in self._cut_off:
                    code = "DEADLINE_EXCEEDED" if context.time_remaining() == 0 else "CANCELLED"
                    raise
                failure = ShuttingDown()
            except Exception as err:
                failure = BadRequest(f"the request cannot be parsed: {err}") if isinstance(err, DecodeError) else err
            if failure is not None:
                code = code_of(failure).name
                status = to_status(failure)
                await context.abort(status.code, status.details, (*trailer, *status.trailing_metadata))
        finally:
            seconds = time.perf_counter() - started
            self._metrics.count_call(method, code, seconds)
            _log(method, code, failure, seconds, context)

    @contextmanager
    def _admitted(self, method: str, authorization: str) -> Iterator[None]:
        self._tokens.check(method, authorization)
        if self._stopping.is_set():
            raise ShuttingDown
        if self._running >= self._max_calls:
            raise TooManyCalls(self._max_calls)
        self._running += 1
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        try:
            yield
        finally:
            self._tasks.discard(task)
            self._running -= 1
            self._notice_end()

    def _notice_end(self) -> None:
        if self._stopping.is_set() and not self._running:
            self._idle.set()

    @asynccontextmanager
    async def _deadline(self, context: Context) -> AsyncIterator[None]:
        """Give a call the server's deadline if its client set none."""
        if _has_deadline(context):
            yield
            return
        try:
            async with asyncio.timeout(self._default_deadline_s) as timeout:
                yield
        except TimeoutError as err:
            if timeout.expired():
                limit_s = self._default_deadline_s
                raise DeadlineExceeded(
                    f"the call has no deadline and took longer than {limit_s:g} s, the server's limit"
                ) from err
            raise


def _has_deadline(context: Context) -> bool:
    remaining: float | None = context.time_remaining()
    return remaining is not None


def _request_id(metadata: Mapping[str, str | bytes]) -> str:
    """Return the client's name for the call if it is a sane one, or make one."""
    given = metadata.get(REQUEST_ID, "")
    if isinstance(given, str) and re.fullmatch(r"[A-Za-z0-9._-]{1,64}", given):
        return given
    return uuid.uuid4().hex


def _log(method: str, code: str, failure: Exception | None, seconds: float, context: Context) -> None:
    """Write the line of a call; a fault of our own comes with its traceback."""
    ours = failure is not None and reason_of(failure) == INTERNAL
    facts = {
        "method": method,
        "code": code,
        "reason": reason_of(failure) if failure else "",
        "duration_ms": round(seconds * 1000, 3),
        "peer": context.peer(),
    }
    logger.log(
        logging.ERROR if ours else logging.INFO, "call", extra={"facts": facts}, exc_info=failure if ours else None
    )
