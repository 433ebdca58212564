"""A real server on a free port of 127.0.0.1, in a thread, and what the tests say to it."""

import asyncio
import itertools
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from sample_pictures import png

from whymatch.embed import Model
from whymatch.server import ServerConfig
from whymatch.server.serving import running
from whymatch.v1 import (
    embed_service_pb2_grpc,
    explain_service_pb2_grpc,
    gallery_service_pb2_grpc,
    search_service_pb2_grpc,
    server_service_pb2_grpc,
    unit_service_pb2_grpc,
)
from whymatch.v1.explain_service_pb2 import ExplainPredictionDifferenceResponse
from whymatch.v1.gallery_service_pb2 import AddImagesRequest, AddImagesResponse, CreateGalleryRequest

START_LIMIT_S = 60
Outcome = TypeVar("Outcome")


class Api:
    """The services on one channel."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.channel = channel
        self.galleries = gallery_service_pb2_grpc.GalleryServiceStub(channel)
        search = search_service_pb2_grpc.SearchServiceStub(channel)
        self.search, self.rerank, self.find_duplicates = search.Search, search.Rerank, search.FindDuplicates
        self.search_several = search.BatchSearch
        explain = explain_service_pb2_grpc.ExplainServiceStub(channel)
        self.explain, self.explain_label = explain.ExplainMatch, explain.ExplainLabel
        self.explain_components = explain.ExplainComponents
        self.explain_ranking, self.explain_rank = explain.ExplainRanking, explain.ExplainRank
        self.explain_neighbors = explain.ExplainNeighbors
        self.explain_interactive = explain.ExplainInterActive
        self.explain_difference = explain.ExplainPredictionDifference
        embed = embed_service_pb2_grpc.EmbedServiceStub(channel)
        self.embed, self.model = embed.EmbedImage, embed.GetModel
        self.server_info = server_service_pb2_grpc.ServerServiceStub(channel).GetServerInfo
        self.units = unit_service_pb2_grpc.UnitServiceStub(channel)

    def create(self, name: str, **settings: object) -> str:
        return self.galleries.CreateGallery(CreateGalleryRequest(gallery_id=name, gallery=settings)).name

    def add(self, parent: str, images: dict[str, bytes], **facts: object) -> list[AddImagesResponse]:
        requests = [
            AddImagesRequest(parent=parent, image_id=name, content=content, **facts) for name, content in images.items()
        ]
        return list(self.galleries.AddImages(iter(requests)))

    def fill(self, name: str, seeds: range, **settings: object) -> str:
        """Make a gallery of pictures; each is named after its seed and labelled even or odd."""
        parent = self.create(name, **settings)
        requests = [
            AddImagesRequest(parent=parent, image_id=f"{n}.png", content=png(n), label=("even", "odd")[n % 2])
            for n in seeds
        ]
        assert all(answer.HasField("image") for answer in self.galleries.AddImages(iter(requests)))
        return parent


def done_of(answer: ExplainPredictionDifferenceResponse, counted: str = "evaluations") -> int:
    """How many are done, 0 if the answer counts something else."""
    return answer.progress.done if answer.progress.counted == counted else 0


def total_of(answer: ExplainPredictionDifferenceResponse, counted: str = "evaluations") -> int:
    """How many there are, 0 if the answer counts something else."""
    return answer.progress.total if answer.progress.counted == counted else 0


class Sender:
    """Requests that are sent one by one, when the test says so."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[AddImagesRequest | None] = queue.SimpleQueue()

    def __iter__(self) -> Iterator[AddImagesRequest]:
        return self

    def __next__(self) -> AddImagesRequest:
        one = self._queue.get()
        if one is None:
            raise StopIteration
        return one

    def send(self, one: AddImagesRequest) -> None:
        self._queue.put(one)

    def end(self) -> None:
        self._queue.put(None)


def clogged(api: Api, parent: str) -> grpc.Call:
    """Begin a stream whose client sends without end and takes no answer, so that the server cannot end it in peace."""
    sent: list[AddImagesRequest] = []
    one = AddImagesRequest(parent=parent, image_id="0", content=png(0, 32, 32), metadata={"long": "x" * 16_000})
    stream = api.galleries.AddImages(sent.append(one) or one for _ in itertools.count())

    def sent_in_a_while() -> int:
        before = len(sent)
        time.sleep(0.3)
        return len(sent) - before

    eventually(lambda: len(sent))
    eventually(sent_in_a_while, lambda count: count == 0)
    return stream


class ServerThread:
    """A server in a thread of its own."""

    def __init__(self, config: ServerConfig, model: Model) -> None:
        self._config, self._model = config, model
        self._ready = threading.Event()
        self.address = ""
        self._thread = threading.Thread(target=asyncio.run, args=(self._run(),))
        self._thread.start()
        assert self._ready.wait(START_LIMIT_S)
        assert self.address, "the server did not start"

    def stop(self) -> None:
        """Begin to stop, as SIGTERM does."""
        with suppress(RuntimeError):  # it has stopped
            self._loop.call_soon_threadsafe(self._stop.set)

    def join(self) -> None:
        self._thread.join(START_LIMIT_S)
        assert not self._thread.is_alive()

    async def _run(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        try:
            async with running(self._config, self._model) as self.address:
                self._ready.set()
                await self._stop.wait()
        finally:
            self._ready.set()


@contextmanager
def serving(config: ServerConfig, model: Model) -> Iterator[ServerThread]:
    server = ServerThread(config, model)
    try:
        yield server
    finally:
        server.stop()
        server.join()


@contextmanager
def connected(
    server: ServerThread | None = None, credentials: grpc.ChannelCredentials | None = None, *, address: str = ""
) -> Iterator[Api]:
    target = server.address if server else address
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    options.append(("grpc.enable_http_proxy", 0))
    channel = (
        grpc.secure_channel(target, credentials, options) if credentials else grpc.insecure_channel(target, options)
    )
    with channel:
        yield Api(channel)


@contextmanager
def api_of(config: ServerConfig, model: Model) -> Iterator[Api]:
    """A server of its own for a test, and a channel to it."""
    with serving(config, model) as server, connected(server) as api:
        yield api


def eventually(call: Callable[[], Outcome], expected: Callable[[Outcome], bool] = bool) -> Outcome:
    """Call until the outcome is as expected, at most some seconds."""
    end = time.monotonic() + 10
    while not expected(found := call()):
        assert time.monotonic() < end, f"still {found}"
        time.sleep(0.02)
    return found


def outcome(call: Callable[[], object]) -> tuple[str, str]:
    """Return status code and reason of a call; OK if it does not fail."""
    try:
        call()
    except grpc.RpcError as err:
        return err.code().name, reason(err)
    return "OK", ""


def failure(call: Callable[[], object]) -> tuple[str, str]:
    """Return status code and reason of a call that fails."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code().name, reason(caught.value)


def reason(err: grpc.RpcError) -> str:
    status = rpc_status.from_call(err)
    assert status is not None, f"no details: {err}"
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.domain == "whymatch"
    assert status.message == err.details()
    return info.reason
