"""How the async client reaches a server: one channel, a deadline for every call, a watch over every stream.

`transport.py` is the same for the sync client. Both are written by hand; what stands on them is written once, with
`await`, and translated by `make generate`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing
from typing import Any, ParamSpec, TypeAlias, TypeVar

import grpc
import grpc.aio
import numpy as np

from whymatch.client.channel import Access, channel_options
from whymatch.client.results import Embedding
from whymatch.client.stall import Pace
from whymatch.client.wire.failures import from_grpc, stall, unanswered
from whymatch.client.wire.stubs import AsyncStubs

Item = TypeVar("Item")
Request = TypeVar("Request")
Response = TypeVar("Response")
Arguments = ParamSpec("Arguments")
Several: TypeAlias = Iterable[Item] | AsyncIterable[Item]


class AsyncTransport:
    """Calls the methods of one server."""

    def __init__(self, address: str, timeout_s: float | None, access: Access) -> None:
        """Prepare to call the server at `address`; `timeout_s` is for each call, or each answer of a stream."""
        self.address = address
        self.timeout_s = timeout_s
        self._metadata = access.metadata()
        credentials = access.credentials()
        options = channel_options(address)
        if credentials:
            self._channel = grpc.aio.secure_channel(address, credentials, options)
        else:
            self._channel = grpc.aio.insecure_channel(address, options)
        self.stubs = AsyncStubs(self._channel)

    async def close(self) -> None:
        """Close the connection; calls that still run are canceled."""
        await self._channel.close(None)

    async def call(self, method: Callable[..., Awaitable[Response]], request: Any) -> Response:
        """Call `method` with the deadline and the token; raise our errors."""
        try:
            return await method(request, timeout=self.timeout_s, metadata=self._metadata)
        except grpc.RpcError as failure:
            raise from_grpc(failure, self.address) from None

    async def stream(
        self,
        method: Callable[..., grpc.aio.UnaryStreamCall[Any, Response]],
        request: Any,
        deadline_s: float | None = None,
    ) -> AsyncGenerator[Response, None]:
        """Yield the answers to one request; `deadline_s` is for the whole call, `timeout_s` for each answer."""
        pace = Pace()
        pace.send()
        call = method(request, timeout=deadline_s, metadata=self._metadata)
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

        call = method(outgoing(), metadata=self._metadata)
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
            raise from_grpc(failure, self.address, deadline_s) from None
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
