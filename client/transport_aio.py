"""How the async client reaches a server: one channel, a deadline for every call, a watch over every stream.

`transport.py` is the same for the sync client. Both are written by hand; what stands on them is written once, with
`await`, and translated by `make generate`.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing
from typing import Any, ParamSpec, Self, TypeAlias, TypeVar

import grpc
import grpc.aio
import numpy as np

from whymatch.client.channel import Access, channel_options, complete_address
from whymatch.client.errors import WhymatchError
from whymatch.client.results import Embedding
from whymatch.client.retrying import RETRIES, Deadline, check_retries, may_pass, pauses
from whymatch.client.stall import Pace
from whymatch.client.wire.failures import client_closed, from_grpc, stall, unanswered
from whymatch.client.wire.stubs import AsyncStubs

Item = TypeVar("Item")
Request = TypeVar("Request")
Response = TypeVar("Response")
Outcome = TypeVar("Outcome")
Arguments = ParamSpec("Arguments")
Several: TypeAlias = Iterable[Item] | AsyncIterable[Item]


class AsyncTransport:
    """Calls the methods of one server."""

    def __init__(self, address: str, timeout_s: float | None, access: Access, retries: int = RETRIES) -> None:
        """Prepare to call the server at `address`.

        timeout_s: for each call with all its tries, or each answer of a stream.
        retries: how often a call that only reads is tried again.
        """
        self.address = address = complete_address(address)
        self.timeout_s = timeout_s
        self._retries = check_retries(retries)
        self._closed = asyncio.Event()
        self._metadata = access.metadata()
        credentials = access.credentials()
        self._tls = credentials is not None
        options = channel_options(address)
        if credentials:
            self._channel = grpc.aio.secure_channel(address, credentials, options)
        else:
            self._channel = grpc.aio.insecure_channel(address, options)
        self.stubs = AsyncStubs(self._channel)

    def with_timeout(self, timeout_s: float | None) -> Self:
        """Return the same with another deadline; both share the channel and are closed together."""
        other = copy.copy(self)
        other.timeout_s = timeout_s
        return other

    async def close(self) -> None:
        """Close the connection; calls that still run are canceled."""
        self._closed.set()
        await self._channel.close(None)

    async def call(self, method: Callable[..., Awaitable[Response]], request: Any) -> Response:
        """Call `method` with the deadline and the token, again if it only reads and may succeed; raise our errors."""
        deadline = Deadline(self.timeout_s)
        left = pauses(request, self._retries, deadline)
        while True:
            try:
                return await self._try(method, request, deadline)
            except WhymatchError as error:
                pause_s = next(left, None) if may_pass(error) else None
                if pause_s is None:
                    raise
            await asyncio.sleep(pause_s)

    async def _try(self, method: Callable[..., Awaitable[Response]], request: Any, deadline: Deadline) -> Response:
        try:
            return await self._begin(method, request, deadline.left_s())
        except grpc.RpcError as failure:
            raise self._error(failure) from None

    def _begin(self, method: Callable[..., Outcome], request: Any, timeout_s: float | None = None) -> Outcome:
        """Start a call, unless the client is closed."""
        if self._closed.is_set():
            raise client_closed()
        return method(request, timeout=timeout_s, metadata=self._metadata)

    def _error(self, failure: grpc.RpcError, deadline_s: float | None = None) -> WhymatchError:
        return from_grpc(failure, self.address, deadline_s, tls=self._tls, closed=self._closed.is_set())

    async def stream(
        self,
        method: Callable[..., grpc.aio.UnaryStreamCall[Any, Response]],
        request: Any,
        deadline_s: float | None = None,
    ) -> AsyncGenerator[Response, None]:
        """Yield the answers to one request; `deadline_s` is for the whole call, `timeout_s` for each answer."""
        pace = Pace()
        pace.send()
        call = self._begin(method, request, deadline_s)
        async with aclosing(self._watched(call, pace, deadline_s)) as answers:
            async for answer in answers:
                pace.send()  # the next one is now due
                yield answer

    async def exchange(
        self, method: Callable[..., grpc.aio.StreamStreamCall[Any, Response]], requests: AsyncIterable[Any]
    ) -> AsyncGenerator[Response, None]:
        """Yield one answer for each request; an exception of `requests` comes after the answers to those before it."""
        pace = Pace()
        broken: list[Exception] = []

        async def outgoing() -> AsyncIterator[Any]:
            try:
                async for request in requests:
                    pace.send()
                    yield request
            except Exception as error:
                broken.append(error)

        call = self._begin(method, outgoing())
        async with aclosing(self._watched(call, pace)) as answers:
            async for answer in answers:
                yield answer
        if broken:
            raise broken[0]
        if pace.unanswered:
            raise unanswered(pace.unanswered)

    async def _watched(
        self,
        call: grpc.aio.UnaryStreamCall[Any, Response] | grpc.aio.StreamStreamCall[Any, Response],
        pace: Pace,
        deadline_s: float | None = None,
    ) -> AsyncGenerator[Response, None]:
        """Yield the answers of a stream; cancel it once one takes too long, or the caller stops."""
        watch = asyncio.create_task(self._watch(pace, call))
        try:
            pace.listen()
            async for answer in call:
                pace.answer()
                yield answer
                pace.listen()
        except grpc.RpcError as failure:
            raise self._error(failure, deadline_s) from None
        except asyncio.CancelledError:
            if watch.done():
                raise stall(self.timeout_s) from None
            raise
        finally:
            watch.cancel()
            call.cancel()

    async def _watch(self, pace: Pace, call: grpc.aio.Call) -> None:
        """Cancel `call` once an answer takes too long."""
        while self.timeout_s is None or pace.waiting_s() <= self.timeout_s:
            await asyncio.sleep(min(1.0, (self.timeout_s or 1.0) / 4))
        call.cancel()


async def beside(
    function: Callable[Arguments, Request], *arguments: Arguments.args, **options: Arguments.kwargs
) -> Request:
    """Make a request in another thread, so that files are read and pictures encoded beside the event loop.

    A vector needs neither, and the way to another thread takes longer than its request.
    """
    if arguments and isinstance(arguments[0], np.ndarray | Embedding):
        return function(*arguments, **options)
    return await asyncio.to_thread(function, *arguments, **options)


async def each(items: Several[Item]) -> AsyncIterator[Item]:
    """Yield the items of either kind of iterable."""
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item
