"""How the client reaches a server: one channel, a deadline for every call, a watch over every stream.

`transport_aio.py` is the same for the async client.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from typing import Any, ParamSpec, Self, TypeAlias, TypeVar

import grpc

from whymatch.client.channel import Access, channel_options, complete_address
from whymatch.client.errors import WhymatchError
from whymatch.client.retrying import RETRIES, Deadline, check_retries, may_pass, pauses
from whymatch.client.stall import Pace
from whymatch.client.wire.failures import client_closed, from_grpc, stall, unanswered
from whymatch.client.wire.stubs import Stubs

Item = TypeVar("Item")
Request = TypeVar("Request")
Response = TypeVar("Response")
Outcome = TypeVar("Outcome")
Arguments = ParamSpec("Arguments")
Several: TypeAlias = Iterable[Item]


class Transport:
    """Calls the methods of one server. Safe to share between threads."""

    def __init__(self, address: str, timeout_s: float | None, access: Access, retries: int = RETRIES) -> None:
        """Prepare to call the server at `address`.

        timeout_s: for each call with all its tries, or each answer of a stream.
        retries: how often a call that only reads is tried again.
        """
        self.address = address = complete_address(address)
        self.timeout_s = timeout_s
        self._retries = check_retries(retries)
        self._closed = threading.Event()
        self._metadata = access.metadata()
        credentials = access.credentials()
        self._tls = credentials is not None
        options = channel_options(address)
        if credentials:
            self._channel = grpc.secure_channel(address, credentials, options)
        else:
            self._channel = grpc.insecure_channel(address, options)
        self.stubs = Stubs(self._channel)

    def with_timeout(self, timeout_s: float | None) -> Self:
        """Return the same with another deadline; both share the channel and are closed together."""
        other = copy.copy(self)
        other.timeout_s = timeout_s
        return other

    def close(self) -> None:
        """Close the connection; calls that still run are canceled."""
        self._closed.set()
        self._channel.close()

    def call(self, method: Callable[..., Response], request: Any) -> Response:
        """Call `method` with the deadline and the token, again if it only reads and may succeed; raise our errors."""
        deadline = Deadline(self.timeout_s)
        left = pauses(request, self._retries, deadline)
        while True:
            try:
                return self._try(method, request, deadline)
            except WhymatchError as error:
                pause_s = next(left, None) if may_pass(error) else None
                if pause_s is None:
                    raise
            self._closed.wait(pause_s)

    def _try(self, method: Callable[..., Response], request: Any, deadline: Deadline) -> Response:
        try:
            return self._begin(method, request, deadline.left_s())
        except grpc.RpcError as failure:
            raise self._error(failure) from None

    def _begin(self, method: Callable[..., Outcome], request: Any, timeout_s: float | None = None) -> Outcome:
        """Start a call, unless the client is closed."""
        if self._closed.is_set():
            raise client_closed()
        try:
            return method(request, timeout=timeout_s, metadata=self._metadata)
        except ValueError:
            if self._closed.is_set():  # meanwhile
                raise client_closed() from None
            raise

    def _error(self, failure: grpc.RpcError, deadline_s: float | None = None) -> WhymatchError:
        return from_grpc(failure, self.address, deadline_s, tls=self._tls, closed=self._closed.is_set())

    def stream(
        self,
        method: Callable[..., grpc.CallIterator[Response]],
        request: Any,
        deadline_s: float | None = None,
    ) -> Generator[Response, None, None]:
        """Yield the answers to one request; `deadline_s` is for the whole call, `timeout_s` for each answer."""
        pace = Pace()
        pace.send()
        call = self._begin(method, request, deadline_s)
        with closing(self._watched(call, pace, deadline_s)) as answers:
            for answer in answers:
                pace.send()  # the next one is now due
                yield answer

    def exchange(
        self, method: Callable[..., grpc.CallIterator[Response]], requests: Iterable[Any]
    ) -> Generator[Response, None, None]:
        """Yield one answer for each request; an exception of `requests` comes after the answers to those before it.

        gRPC reads `requests` in a thread of its own.
        """
        pace = Pace()
        broken: list[Exception] = []

        def outgoing() -> Iterator[Any]:
            try:
                for request in requests:
                    pace.send()
                    yield request
            except Exception as error:
                broken.append(error)

        call = self._begin(method, outgoing())
        with closing(self._watched(call, pace)) as answers:
            yield from answers
        if broken:
            raise broken[0]
        if pace.unanswered:
            raise unanswered(pace.unanswered)

    def _watched(
        self, call: grpc.CallIterator[Response], pace: Pace, deadline_s: float | None = None
    ) -> Generator[Response, None, None]:
        """Yield the answers of a stream; cancel it once one takes too long, or the caller stops."""
        stalled = threading.Event()
        ended = self._watch(pace, call, stalled)
        try:
            pace.listen()
            for answer in call:
                pace.answer()
                yield answer
                pace.listen()
        except grpc.RpcError as failure:
            if stalled.is_set():
                raise stall(self.timeout_s) from None
            raise self._error(failure, deadline_s) from None
        finally:
            ended.set()
            call.cancel()  # type: ignore[no-untyped-call]

    def _watch(self, pace: Pace, call: grpc.Call, stalled: threading.Event) -> threading.Event:
        """Cancel `call` and set `stalled` once an answer takes too long, until the event that this returns is set."""
        ended = threading.Event()
        timeout_s = self.timeout_s

        def watch() -> None:
            while timeout_s is not None and not ended.wait(min(1.0, timeout_s / 4)):
                if pace.waiting_s() > timeout_s:
                    stalled.set()
                    call.cancel()  # type: ignore[no-untyped-call]
                    return

        threading.Thread(target=watch, name="whymatch-watch", daemon=True).start()
        return ended


def beside(function: Callable[Arguments, Request], *arguments: Arguments.args, **options: Arguments.kwargs) -> Request:
    """Make a request, here and now: only an event loop has something to be beside of."""
    return function(*arguments, **options)


def each(items: Several[Item]) -> Iterator[Item]:
    """Yield the items."""
    return iter(items)
