"""Whatever bytes and messages come, the server gives an error that is not its own fault and goes on serving."""

import math

import grpc
import pytest
from examples import examples
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sample_pictures import encoded, picture, png
from server_harness import Api, outcome
from small_weights import DIMENSIONS

from whymatch.v1 import (
    embed_service_pb2,
    explain_service_pb2,
    gallery_service_pb2,
    search_service_pb2,
    server_service_pb2,
)
from whymatch.v1.embed_service_pb2 import EmbedImageRequest, GetModelRequest
from whymatch.v1.gallery_service_pb2 import AddImagesRequest

FILES = (gallery_service_pb2, search_service_pb2, explain_service_pb2, embed_service_pb2, server_service_pb2)
METHODS = [method for file in FILES for one in file.DESCRIPTOR.services_by_name.values() for method in one.methods]
UNARY = [method for method in METHODS if not method.client_streaming]
OURS = {"INTERNAL", "UNKNOWN", "UNAVAILABLE"}

some = settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
images = st.sampled_from([png(1, 48, 32), encoded(picture(2, 40, 40), "JPEG"), encoded(picture(3, 40, 40), "GIF")])


def check(call) -> None:
    """Call; a failure must have a reason that is not ours."""
    code, reason = outcome(call)
    assert code not in OURS, reason


@st.composite
def damaged_images(draw) -> bytes:
    """An image file with a few bytes changed, and perhaps cut short."""
    content = bytearray(draw(images))
    for _ in range(draw(st.integers(1, 8))):
        content[draw(st.integers(0, len(content) - 1))] = draw(st.integers(0, 255))
    return bytes(content[: draw(st.integers(1, len(content)))])


NAMES = ["galleries/hostile", "galleries/hostile/images/1.png", "hostile", "galleries/no", "auto", "even", "IVF2,Flat"]
LIKELY = {"parent": NAMES[:1], "name": NAMES[:2], "image": NAMES[1:2], "gallery_id": ["a", "b", "c"]}
"""What most messages have in these fields, so that they come far."""
SCALARS = {
    FieldDescriptor.TYPE_STRING: st.sampled_from(NAMES) | st.text(max_size=20),
    FieldDescriptor.TYPE_BYTES: images | st.binary(max_size=50),
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    FieldDescriptor.TYPE_INT32: st.integers(-(2**31), 2**31 - 1) | st.integers(0, 20),
    FieldDescriptor.TYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_FLOAT: st.floats(width=32),
    FieldDescriptor.TYPE_DOUBLE: st.floats(),
}


def messages(kind: Descriptor) -> st.SearchStrategy[Message]:
    """Messages of a type with any fields set."""
    fields = {field.name: values(field) for field in kind.fields if kind.full_name != "google.protobuf.Timestamp"}
    needed = {field.name: fields.pop(field.name) for field in kind.fields if is_likely(field)}
    chosen = st.fixed_dictionaries(needed, optional=fields)
    return chosen.map(lambda facts: message(kind, facts))


def message(kind: Descriptor, facts: dict[str, object]) -> Message:
    """Make a message; of a oneof the last field counts, as on the wire."""
    made = GetMessageClass(kind)()
    for name, value in facts.items():
        made.MergeFrom(GetMessageClass(kind)(**{name: value}))
    return made


def is_likely(field: FieldDescriptor) -> bool:
    return field.name in LIKELY and field.message_type is None


def values(field: FieldDescriptor) -> st.SearchStrategy[object]:
    if field.message_type and field.message_type.full_name == "google.protobuf.Struct":
        of_json = st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.lists(st.booleans(), max_size=2)
        return st.dictionaries(st.text(max_size=5), of_json, max_size=3)
    one = messages(field.message_type) if field.message_type else SCALARS[field.type]
    if is_likely(field):
        likely, unlikely = st.sampled_from(LIKELY[field.name]), one
        one = st.integers(0, 4).flatmap(lambda draw: likely if draw else unlikely)
    if not field.is_repeated:
        return one
    vectors = one.map(lambda value: [value] * DIMENSIONS) if field.type == FieldDescriptor.TYPE_FLOAT else st.nothing()
    return st.lists(one, max_size=4) | vectors


@pytest.fixture
def hostile(api: Api) -> str:
    """A gallery that requests may change or delete."""
    check(lambda: api.fill("hostile", range(3)))
    return "galleries/hostile"


@pytest.fixture(autouse=True)
def still_serving(api: Api):
    yield
    assert api.model(GetModelRequest(), timeout=10).dimensions == DIMENSIONS


@some
@given(content=st.binary(max_size=200) | damaged_images())
def test_any_bytes_as_an_image(api, content):
    check(lambda: api.embed(EmbedImageRequest(image={"content": content})))


@some
@given(content=damaged_images(), name=st.text(max_size=300), label=st.text(max_size=300))
def test_any_image_in_a_stream_fails_alone(api, hostile, content, name, label):
    bad = AddImagesRequest(parent=hostile, image_id=name, content=content, label=label)
    good = AddImagesRequest(image_id="good", content=png(9))
    first, second = api.galleries.AddImages(iter([bad, good]))
    assert first.image_id == name
    assert first.error.code != grpc.StatusCode.INTERNAL.value[0]
    assert second.HasField("image")


@pytest.mark.parametrize("method", UNARY, ids=lambda method: method.name)
@some
@given(data=st.data())
def test_any_message(api, hostile, method, data):
    request = data.draw(messages(method.input_type))
    call = api.channel.unary_stream(f"/{method.containing_service.full_name}/{method.name}")
    check(lambda: list(call(request.SerializeToString(), timeout=30)))


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
@some
@given(raw=st.binary(min_size=1, max_size=60))
def test_any_bytes_as_a_message(api, hostile, method, raw):
    path = f"/{method.containing_service.full_name}/{method.name}"
    if method.client_streaming:
        check(lambda: list(api.channel.stream_stream(path)(iter([raw]), timeout=30)))
    else:
        check(lambda: list(api.channel.unary_stream(path)(raw, timeout=30)))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 3e38, 1e-45])
def test_any_value_in_a_vector(api, hostile, value):
    request = search_service_pb2.SearchRequest(parent=hostile, embedding={"values": [value] * DIMENSIONS})
    check(lambda: api.search(request))
