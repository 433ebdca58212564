import itertools
import time

import grpc
import pytest
from sample_pictures import png
from server_harness import Api, Sender, api_of, clogged, connected, eventually, failure, outcome, reason, serving
from small_weights import DIMENSIONS

from whymatch.server import ServerConfig
from whymatch.server.serving import SPARE_CALLS
from whymatch.v1.embed_service_pb2 import EmbedImageRequest, GetModelRequest
from whymatch.v1.gallery_service_pb2 import AddImagesRequest, ListImagesRequest
from whymatch.v1.search_service_pb2 import SearchRequest


@pytest.fixture
def small(model, tmp_path):
    """A server that accepts little."""
    config = ServerConfig(
        data=tmp_path, port=0, max_image_bytes=20_000, max_image_pixels=100 * 100, max_limit=5, max_concurrent_calls=2
    )
    with api_of(config, model) as api:
        yield api


def embed(api, content: bytes):
    return api.embed(EmbedImageRequest(image={"content": content}))


def test_an_image_with_too_many_bytes_is_refused(small):
    assert failure(lambda: embed(small, bytes(20_001))) == ("INVALID_ARGUMENT", "IMAGE_TOO_LARGE")


def test_an_image_with_too_many_pixels_is_refused_though_its_file_is_small(small):
    assert failure(lambda: embed(small, png(1, 200, 51))) == ("INVALID_ARGUMENT", "TOO_MANY_PIXELS")
    assert len(embed(small, png(1, 100, 100)).embedding) == DIMENSIONS


def test_a_message_beyond_all_bounds_is_refused_by_grpc(small):
    with pytest.raises(grpc.RpcError) as caught:
        embed(small, bytes(1_100_000))
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_the_largest_limit_is_the_servers_and_bounds_the_default(small):
    parent = small.fill("g", range(7))
    assert len(small.search(SearchRequest(parent=parent, image={"content": png(1)})).matches) == 5
    request = SearchRequest(parent=parent, image={"content": png(1)}, limit=6)
    with pytest.raises(grpc.RpcError, match="6, not from 1 to 5") as caught:
        small.search(request)
    assert reason(caught.value) == "BAD_LIMIT"


def test_calls_over_the_limit_are_refused_until_one_ends(small):
    parent, model = small.create("g"), lambda: small.model(GetModelRequest())
    senders = [Sender(), Sender()]
    streams = [small.galleries.AddImages(sender) for sender in senders]
    for sender, stream in zip(senders, streams, strict=True):
        sender.send(AddImagesRequest(parent=parent, image_id="a", content=png(1)))
        next(stream)
    assert failure(model) == ("RESOURCE_EXHAUSTED", "TOO_MANY_CALLS")
    senders[0].end()
    assert list(streams[0]) == []
    assert eventually(lambda: outcome(model), lambda found: found == ("OK", ""))
    senders[1].end()


def test_a_call_without_a_deadline_gets_the_servers(model, tmp_path):
    config = ServerConfig(data=tmp_path, port=0, default_deadline_s=0.001)
    with api_of(config, model) as api:
        assert failure(lambda: embed(api, png(1, 640, 480))) == ("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED")
        own = EmbedImageRequest(image={"content": png(1, 640, 480)})
        assert len(api.embed(own, timeout=30).embedding) == DIMENSIONS


def test_a_call_that_outlasts_the_grace_is_cut_off_and_meanwhile_others_are_refused(model, tmp_path):
    config = ServerConfig(data=tmp_path, port=0, grace_s=3)
    with serving(config, model) as server, connected(server) as api:
        stream = clogged(api, api.create("g"))
        server.stop()
        refused = eventually(lambda: outcome(lambda: api.model(GetModelRequest())), lambda found: found[0] != "OK")
        assert refused == ("UNAVAILABLE", "SHUTTING_DOWN")
        server.join()
        with pytest.raises(grpc.RpcError):
            list(stream)


def test_a_stream_ends_when_the_server_stops_and_all_that_was_read_is_answered_and_stored(model, tmp_path):
    config = ServerConfig(data=tmp_path, port=0)
    with serving(config, model) as server, connected(server) as api:
        parent = api.create("g")
        stream = api.galleries.AddImages(
            AddImagesRequest(parent=parent, image_id=f"{n}", content=png(n, 32, 32)) for n in itertools.count()
        )
        answered = [next(stream).image_id for _ in range(3)]
        server.stop()
        began = time.monotonic()
        with pytest.raises(grpc.RpcError) as caught:
            answered.extend(answer.image_id for answer in stream)
        assert (caught.value.code(), reason(caught.value)) == (grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN")
        assert time.monotonic() - began < config.grace_s / 2
    assert answered == [f"{n}" for n in range(len(answered))]
    with api_of(config, model) as api:
        page = api.galleries.ListImages(ListImagesRequest(parent=parent, page_size=1000))
        assert {image.name for image in page.images} == {f"{parent}/images/{name}" for name in answered}


def test_a_stream_that_sends_nothing_for_too_long_is_ended(model, tmp_path):
    with api_of(ServerConfig(data=tmp_path, port=0, stream_idle_s=0.5), model) as api:
        parent, sender = api.create("g"), Sender()
        stream = api.galleries.AddImages(sender)
        sender.send(AddImagesRequest(parent=parent, image_id="a", content=png(1)))
        assert next(stream).HasField("image")
        assert failure(lambda: next(stream)) == ("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED")
        silent = api.galleries.AddImages(Sender())
        assert failure(lambda: next(silent)) == ("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED")


def test_calls_far_over_the_limit_are_refused_before_they_are_read(small):
    method = small.channel.stream_stream("/whymatch.v1.EmbedService/EmbedImage", bytes)
    waiting = [method(Sender()) for _ in range(2 + SPARE_CALLS)]

    def code_beside_one_more() -> str:  # for the last one may have been refused beside the call that asks
        waiting.append(method(Sender()))
        return grpc_code(small)

    assert eventually(code_beside_one_more, lambda found: found != "OK") == "RESOURCE_EXHAUSTED"
    for call in waiting:
        call.cancel()
    eventually(lambda: grpc_code(small), lambda found: found == "OK")


def grpc_code(api) -> str:
    """Return the status code of a call that gRPC itself may refuse."""
    try:
        api.model(GetModelRequest())
    except grpc.RpcError as err:
        return err.code().name
    return "OK"


def test_a_client_that_pings_while_its_stream_is_quiet_is_served(model, tmp_path):
    options = [
        ("grpc.keepalive_time_ms", 1000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
    ]
    config = ServerConfig(data=tmp_path, port=0)
    with serving(config, model) as server, grpc.insecure_channel(server.address, options) as channel:
        api, sender = Api(channel), Sender()
        stream = api.galleries.AddImages(sender)
        sender.send(AddImagesRequest(parent=api.create("g"), image_id="a", content=png(1)))
        assert next(stream).image.width_px == 96
        time.sleep(5.5)
        sender.send(AddImagesRequest(parent="galleries/g", image_id="b", content=png(2)))
        assert next(stream).image.width_px == 96
        sender.end()
