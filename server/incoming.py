"""The requests of a stream, until it ends, falls silent or the server stops."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TypeVar

from whymatch.server.errors import DeadlineExceeded, ShuttingDown

Request = TypeVar("Request")


async def incoming(
    requests: AsyncIterator[Request], *, idle_s: float, stopping: asyncio.Event
) -> AsyncGenerator[Request]:
    """Yield the requests of a stream.

    Raises:
        DeadlineExceeded: none came for `idle_s`; the time that the reader takes over one does not count.
        ShuttingDown: `stopping` is set, though more may be on their way.
    """
    stopped = asyncio.create_task(stopping.wait())
    request = None
    try:
        while not stopping.is_set():
            request = asyncio.ensure_future(anext(requests, None))
            await asyncio.wait({request, stopped}, timeout=idle_s, return_when=asyncio.FIRST_COMPLETED)
            if request.done():
                if (one := request.result()) is None:
                    return
                yield one
            elif not stopped.done():
                raise DeadlineExceeded(f"the stream sent nothing for {idle_s:g} s, the server's limit")
        raise ShuttingDown
    finally:
        stopped.cancel()
        if request:
            request.cancel()
