"""Addresses, outages and servers that are busy, closed or in trouble."""

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent import futures

import grpc
import pytest
from google.protobuf.any_pb2 import Any
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status
from typer.testing import CliRunner

from whymatch.client import (
    AsyncClient,
    Cancelled,
    Client,
    Internal,
    NewImage,
    ResourceExhausted,
    Unavailable,
    WhymatchError,
)
from whymatch.client.channel import channel_options
from whymatch.client.cli.app import app
from whymatch.client.retrying import READING, may_pass
from whymatch.server import access
from whymatch.v1 import embed_service_pb2 as embed
from whymatch.v1 import embed_service_pb2_grpc as embed_grpc
from whymatch.v1 import gallery_service_pb2 as gallery
from whymatch.v1 import gallery_service_pb2_grpc as gallery_grpc


class Moody(embed_grpc.EmbedServiceServicer, gallery_grpc.GalleryServiceServicer):
    """Fails as often as it is told, then answers."""

    def __init__(self) -> None:
        self.failures: list[tuple[grpc.StatusCode, str]] = []
        self.calls = 0
        self.delay_s = 0.0

    def GetModel(self, request, context):
        self._meet(context)
        return embed.Model(backbone="moody")

    def CreateGallery(self, request, context):
        self._meet(context)
        return gallery.Gallery(name="galleries/g")

    def _meet(self, context) -> None:
        self.calls += 1
        time.sleep(self.delay_s)
        context.set_trailing_metadata((("x-request-id", f"call-{self.calls}"),))
        if not self.failures:
            return
        code, reason = self.failures.pop(0)
        if not reason:
            context.abort(code, "not now")
        detail = Any()
        detail.Pack(error_details_pb2.ErrorInfo(reason=reason, domain="whymatch"))
        status = rpc_status.to_status(status_pb2.Status(code=code.value[0], message="not now", details=[detail]))
        mine = (("x-request-id", f"call-{self.calls}"),)
        context.abort_with_status(Status(status.code, status.details, (*status.trailing_metadata, *mine)))


class Status(grpc.Status):
    def __init__(self, code, details, trailing_metadata) -> None:
        self.code, self.details, self.trailing_metadata = code, details, trailing_metadata


def started(moody: Moody, address: str = "127.0.0.1:0") -> tuple[grpc.Server, str]:
    server = grpc.server(futures.ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
    embed_grpc.add_EmbedServiceServicer_to_server(moody, server)
    gallery_grpc.add_GalleryServiceServicer_to_server(moody, server)
    port = server.add_insecure_port(address)
    server.start()
    return server, f"127.0.0.1:{port}"


@pytest.fixture
def moody() -> Moody:
    return Moody()


@pytest.fixture
def moody_address(moody) -> Iterator[str]:
    server, address = started(moody)
    yield address
    server.stop(None).wait()


BUSY = (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_CALLS")
STOPPING = (grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN")
AWAY = (grpc.StatusCode.UNAVAILABLE, "")
CANCELED = (grpc.StatusCode.CANCELLED, "")
FULL = (grpc.StatusCode.RESOURCE_EXHAUSTED, "STORAGE_FULL")
BROKEN = (grpc.StatusCode.INTERNAL, "INTERNAL")


@pytest.mark.parametrize("failure", [BUSY, STOPPING, AWAY, CANCELED])
def test_a_call_that_only_reads_is_tried_again(moody, moody_address, failure):
    moody.failures = [failure] * 3
    with Client(moody_address) as client:
        assert client.model().backbone == "moody"
    assert moody.calls == 4


def test_the_async_client_tries_again_likewise(moody, moody_address):
    moody.failures = [BUSY, AWAY]

    async def scenario() -> str:
        async with AsyncClient(moody_address) as client:
            return (await client.model()).backbone

    assert asyncio.run(scenario()) == "moody"
    assert moody.calls == 3


def test_tries_are_counted_and_the_last_error_stands(moody, moody_address):
    moody.failures = [AWAY] * 9 + [BUSY]
    with Client(moody_address, retries=2) as client, pytest.raises(Unavailable):
        client.model()
    assert moody.calls == 3


def test_without_retries_every_call_is_tried_once(moody, moody_address):
    moody.failures = [BUSY]
    with Client(moody_address, retries=0) as client, pytest.raises(ResourceExhausted) as caught:
        client.model()
    assert (moody.calls, caught.value.reason) == (1, "TOO_MANY_CALLS")


def test_a_call_that_changes_something_is_tried_once(moody, moody_address):
    moody.failures = [AWAY]
    with Client(moody_address) as client, pytest.raises(Unavailable):
        client.create_gallery("g")
    assert moody.calls == 1


@pytest.mark.parametrize("failure", [FULL, BROKEN, (grpc.StatusCode.INVALID_ARGUMENT, "BAD_REQUEST")])
def test_what_stays_as_it_is_is_tried_once(moody, moody_address, failure):
    moody.failures = [failure]
    with Client(moody_address) as client, pytest.raises(WhymatchError):
        client.model()
    assert moody.calls == 1


def test_all_tries_share_the_deadline(moody, moody_address):
    moody.failures = [AWAY] * 99
    moody.delay_s = 0.2
    started_at = time.monotonic()
    with Client(moody_address, timeout_s=0.5, retries=50) as client, pytest.raises(WhymatchError):
        client.model()
    assert time.monotonic() - started_at < 1.5
    assert moody.calls <= 3


def test_a_negative_number_of_retries_is_a_mistake():
    with pytest.raises(ValueError, match="retries"):
        Client(retries=-1)


def test_client_and_server_agree_on_what_only_reads():
    assert READING == access.READING


def test_an_image_that_is_too_large_stays_so():
    from whymatch.client import MessageTooLarge

    assert not may_pass(MessageTooLarge("too large"))
    assert may_pass(ResourceExhausted("busy", reason="TOO_MANY_CALLS"))


def test_a_cancellation_that_nobody_asked_for_is_an_outage(moody, moody_address):
    moody.failures = [CANCELED]
    with Client(moody_address, retries=0) as client, pytest.raises(Unavailable, match="gave up"):
        client.model()


def test_the_name_of_the_call_is_on_the_error_and_in_the_text_of_a_fault(moody, moody_address):
    moody.failures = [BROKEN, BUSY]
    with Client(moody_address, retries=0) as client:
        with pytest.raises(Internal, match="x-request-id: call-1") as caught:
            client.model()
        assert caught.value.request_id == "call-1"
        with pytest.raises(ResourceExhausted) as busy:
            client.model()
        assert busy.value.request_id == "call-2"
        assert "call-2" not in str(busy.value)


def test_a_closed_client_says_so(moody_address):
    client = Client(moody_address)
    client.close()
    with pytest.raises(Cancelled, match="closed"):
        client.model()
    with pytest.raises(Cancelled, match="closed"):
        list(client.add([NewImage(b"", "a")]))


def test_a_closed_async_client_says_so(moody_address):
    async def scenario() -> None:
        client = AsyncClient(moody_address)
        await client.with_timeout(5).close()  # which has the same connection
        with pytest.raises(Cancelled, match="closed"):
            await client.model()
        with pytest.raises(Cancelled, match="closed"):
            [one async for one in client.add([NewImage(b"", "a")])]

    asyncio.run(scenario())


def test_a_call_that_runs_when_its_client_is_closed_is_cancelled(moody, moody_address):
    moody.delay_s = 2
    client = Client(moody_address)
    threading.Timer(0.3, client.close).start()
    with pytest.raises(Cancelled, match="closed"):
        client.model()


def test_after_an_outage_the_client_is_back_soon(moody):
    server, address = started(moody)
    with Client(address, retries=0) as client:
        client.model()
        server.stop(None).wait()
        end = time.monotonic() + 6
        while time.monotonic() < end:
            with pytest.raises(Unavailable):
                client.model()
            time.sleep(0.1)
        server, _ = started(moody, address)
        back = time.monotonic()
        while time.monotonic() < back + 20:
            try:
                client.model()
                break
            except Unavailable:
                time.sleep(0.05)
        assert time.monotonic() - back < 4
    server.stop(None).wait()


def test_a_new_client_does_not_inherit_the_patience_of_others():
    assert dict(channel_options("localhost:1"))["grpc.use_local_subchannel_pool"] == 1


@pytest.mark.parametrize(
    ("given", "complete"),
    [
        ("localhost", "localhost:50051"),
        (" example.org ", "example.org:50051"),
        ("localhost:7", "localhost:7"),
        ("::1", "[::1]:50051"),
        ("[::1]", "[::1]:50051"),
        ("[::1]:7", "[::1]:7"),
        ("unix:/run/whymatch.sock", "unix:/run/whymatch.sock"),
        ("dns:///localhost:7", "dns:///localhost:7"),
    ],
)
def test_an_address_without_a_port_has_the_default_one(given, complete):
    with Client(given) as client:
        assert client.address == complete


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("http://localhost:50051", "http://; write HOST:PORT alone, 'localhost:50051'"),
        ("https://example.org/", "tls=True"),
        ("grpc://localhost", "grpc://"),
        ("localhost:", "HOST:PORT"),
        ("localhost:port", "HOST:PORT"),
        ("localhost:70000", "HOST:PORT"),
        ("localhost/path", "HOST:PORT"),
        ("", "HOST:PORT"),
    ],
)
def test_what_is_no_address_is_a_mistake(given, said):
    with pytest.raises(ValueError, match="HOST:PORT") as caught:
        Client(given)
    assert said in str(caught.value)


def test_the_command_line_says_it_as_misuse():
    result = CliRunner().invoke(app, ["gallery", "list", "--address", "http://localhost:50051"])
    assert (result.exit_code, "http://" in result.stderr) == (2, True)


@pytest.mark.parametrize("token", ["schl\u00fcssel", "two\nlines"])
def test_a_token_that_cannot_be_sent_is_a_mistake(token):
    with pytest.raises(ValueError, match="ASCII"):
        Client(token=token)


def test_a_web_server_is_no_whymatch_server():
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            with listener.accept()[0] as connection:
                connection.recv(1000)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        with Client(address, retries=0) as client, pytest.raises(Unavailable, match="a web server answers"):
            client.model()
