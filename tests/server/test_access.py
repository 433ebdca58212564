import asyncio

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from server_harness import connected, failure, serving
from small_weights import DIMENSIONS, WEIGHTS

from whymatch.embed import Pooling, load_model
from whymatch.server import ServerConfig
from whymatch.server.access import Tokens, is_loopback, read_tokens
from whymatch.server.errors import CannotStart, ReadOnlyToken, Unauthenticated
from whymatch.server.metrics import Metrics
from whymatch.server.serving import _interceptor, _log_start
from whymatch.v1 import (
    embed_service_pb2,
    explain_service_pb2,
    gallery_service_pb2,
    search_service_pb2,
    server_service_pb2,
)
from whymatch.v1.embed_service_pb2 import GetModelRequest
from whymatch.v1.gallery_service_pb2 import CreateGalleryRequest

CHANGING = {
    *("CreateGallery", "DeleteGallery", "SetHead", "PurgeGallery", "TagGeneration", "DeleteTag"),
    *("AddImage", "AddImages", "UpdateImage", "DeleteImage", "DeleteImages", "EraseImages"),
}
FILES = (gallery_service_pb2, search_service_pb2, explain_service_pb2, embed_service_pb2, server_service_pb2)


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),)


@pytest.fixture(scope="module")
def guarded(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokens")
    read, write = folder / "read", folder / "write"
    read.write_text("guest\nvisitor\n")
    write.write_text("\nowner  \n")
    config = ServerConfig(data=folder / "data", port=0, read_token_file=read, write_token_file=write)
    with serving(config, model) as server, connected(server) as api:
        yield api


@pytest.mark.parametrize("metadata", [(), bearer("wrong"), bearer(""), (("authorization", "guest"),), bearer("guest ")])
def test_a_call_without_a_known_token_is_refused(guarded, metadata):
    call = lambda: guarded.model(GetModelRequest(), metadata=metadata)  # noqa: E731
    assert failure(call) == ("UNAUTHENTICATED", "UNAUTHENTICATED")


@pytest.mark.parametrize("token", ["guest", "visitor", "owner"])
def test_every_token_may_read(guarded, token):
    assert guarded.model(GetModelRequest(), metadata=bearer(token)).dimensions == DIMENSIONS


def test_only_a_writing_token_may_change_anything(guarded):
    request = CreateGalleryRequest(gallery_id="mine")
    create = guarded.galleries.CreateGallery
    assert failure(lambda: create(request, metadata=bearer("guest"))) == ("PERMISSION_DENIED", "READ_ONLY_TOKEN")
    add = guarded.galleries.AddImages
    assert failure(lambda: list(add(iter([]), metadata=bearer("guest")))) == ("PERMISSION_DENIED", "READ_ONLY_TOKEN")
    assert create(request, metadata=bearer("owner")).name == "galleries/mine"


def test_health_needs_no_token(guarded):
    stub = health_pb2_grpc.HealthStub(guarded.channel)
    assert stub.Check(health_pb2.HealthCheckRequest()).status == health_pb2.HealthCheckResponse.SERVING


def test_exactly_the_methods_that_change_nothing_are_open_to_reading_tokens():
    tokens = Tokens(read=(b"guest",), write=(b"owner",))
    services = [one for file in FILES for one in file.DESCRIPTOR.services_by_name.values()]
    refused = set()
    for method in [method for service in services for method in service.methods]:
        try:
            tokens.check(f"{method.containing_service.name}/{method.name}", "Bearer guest")
        except ReadOnlyToken:
            refused.add(method.name)
    assert refused == CHANGING


def test_without_token_files_everybody_may_do_everything():
    Tokens().check("GalleryService/DeleteGallery", "")


def test_with_writing_tokens_alone_nobody_reads_without():
    with pytest.raises(Unauthenticated):
        Tokens(write=(b"owner",)).check("EmbedService/GetModel", "")


def test_a_token_file_that_is_missing_or_empty_is_an_error(tmp_path):
    (tmp_path / "empty").write_text("\n \n")
    for name in ("empty", "missing"):
        with pytest.raises(CannotStart, match=name):
            read_tokens(tmp_path / name, None)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_token_file_may_be_written_on_any_system(tmp_path, encoding):
    (tmp_path / "tokens").write_bytes("owner\r\n\t\r\n\tdeputy \t\r\n".encode(encoding))
    assert read_tokens(None, tmp_path / "tokens") == Tokens(write=(b"owner", b"deputy"))


@pytest.mark.parametrize("content", ["fine\nschl\u00fcssel", "fine\na\0b"])
def test_a_token_that_no_client_can_send_is_an_error(tmp_path, content):
    (tmp_path / "tokens").write_text(content, "utf-8")
    with pytest.raises(CannotStart, match=r"line 2 .* ASCII"):
        read_tokens(tmp_path / "tokens", None)


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("example.org", False)],
)
def test_loopback_addresses_are_known(host, expected):
    assert is_loopback(host) == expected


def test_the_status_of_a_refusal_is_sent_before_anything_is_parsed(guarded):
    broken = guarded.channel.unary_unary("/whymatch.v1.SearchService/Search")
    with pytest.raises(grpc.RpcError) as caught:
        broken(b"\xff")
    assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize(("host", "warned"), [("0.0.0.0", True), ("127.0.0.1", False)])
def test_tokens_in_plain_text_beyond_this_machine_are_warned_of(model, tmp_path, caplog, host, warned):
    tokens = tmp_path / "tokens"
    tokens.write_text("owner")
    with serving(ServerConfig(data=tmp_path / "data", host=host, port=0, write_token_file=tokens), model):
        assert any("plain text" in record.message for record in caplog.records) == warned


@pytest.mark.parametrize(
    ("host", "guard", "said"),
    [
        ("0.0.0.0", (), "anybody who reaches 0.0.0.0 may search, add and delete images and galleries, in plain text"),
        ("0.0.0.0", ("tls_certificate",), "anybody who reaches 0.0.0.0 may search, add and delete"),
        ("0.0.0.0", ("tls_certificate", "tls_client_ca"), ""),
        ("0.0.0.0", ("tls_certificate", "read_token_file"), ""),
        ("0.0.0.0", ("read_token_file",), "tokens travel in plain text to 0.0.0.0"),
        ("127.0.0.1", (), ""),
    ],
)
def test_a_server_that_others_reach_says_what_they_may_do(tmp_path, caplog, host, guard, said):
    (tmp_path / "file").write_text("token")
    config = ServerConfig(host=host, **dict.fromkeys(guard, tmp_path / "file"))
    _interceptor(config, Metrics(), asyncio.Event())
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == bool(said)
    assert all(message.startswith(said) for message in messages)
    assert all("plain text" in message for message in messages) or "tls_certificate" in guard


@pytest.mark.parametrize(("tap", "warned"), [("features.5,last", True), ("features.5", False)])
def test_gem_pooling_of_what_may_be_negative_is_warned_of(tmp_path, caplog, tap, warned):
    model = load_model(weights=WEIGHTS, pooling=Pooling("gem"), tap=tap)
    _log_start(ServerConfig(data=tmp_path), model, "127.0.0.1:1")
    assert any("GeM pooling takes what is below 0 as 0" in record.message for record in caplog.records) == warned
