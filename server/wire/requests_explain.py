"""Requests of ExplainService, checked at the door; those of prediction difference have a file of their own."""

from typing import cast

from whymatch.embed import Aggregation, BadRequest, InterActiveSetting
from whymatch.explain import INTERACTIVE_PX, MAX_INTERACTIVE_PX, MIN_INTERACTIVE_PX
from whymatch.server.rankings import Contender, OfLabel
from whymatch.server.wire import requests_shapes
from whymatch.v1 import explain_service_pb2

MAX_SETTINGS = 64


def at_generation(
    request: explain_service_pb2.ExplainMatchRequest | explain_service_pb2.ExplainRankingRequest, gallery: str
) -> int | None:
    """Return the generation of the gallery whose head counts, None for now. Raises BadRequest if there is none."""
    generation = requests_shapes.at_generation(request)
    if generation is not None and not gallery:
        raise BadRequest("`at_generation` requires a gallery; give `parent`, or a stored image")
    return generation


def settings(request: explain_service_pb2.ExplainInterActiveRequest) -> list[InterActiveSetting]:
    """Return the layers to weigh, and how. Raises BadRequest, BadLayer."""
    if not 1 <= len(request.settings) <= MAX_SETTINGS:
        raise BadRequest(f"there are {len(request.settings)} `settings`; give 1 to {MAX_SETTINGS}")
    if empty := next((one for one in request.settings if not one.layer), None):
        raise BadRequest(f"a setting has no `layer` ({empty}); name one that GetModel lists")
    return [
        InterActiveSetting(
            one.layer,
            one.supervision or InterActiveSetting.supervision,
            one.norm if one.HasField("norm") else InterActiveSetting.norm,
        )
        for one in request.settings
    ]


def input_px(request: explain_service_pb2.ExplainInterActiveRequest) -> int:
    """Return the size of the network's input. Raises BadRequest."""
    if not request.HasField("size_px"):
        return INTERACTIVE_PX
    if not MIN_INTERACTIVE_PX <= request.size_px <= MAX_INTERACTIVE_PX:
        raise BadRequest(f"`size_px` is {request.size_px}; take {MIN_INTERACTIVE_PX} to {MAX_INTERACTIVE_PX}")
    return request.size_px


def descriptor(request: explain_service_pb2.ExplainInterActiveRequest) -> Aggregation | None:
    """Return how to pool descriptors, None for no descriptors. Raises BadRequest."""
    if request.descriptor in ("average", "max"):
        return cast(Aggregation, request.descriptor)
    if request.descriptor:
        raise BadRequest(
            f"`descriptor` is {requests_shapes.quoted(request.descriptor)}; take `average` or `max`, or leave it empty"
        )
    return None


def contender(message: explain_service_pb2.Contender, field: str) -> Contender:
    """Return what a query is compared with. Raises BadName, BadRequest."""
    match message.WhichOneof("contender"):
        case "image":
            return requests_shapes.source(message.image, field)
        case "label" if message.label:
            return OfLabel(message.label)
    raise BadRequest(f"`{field}` is missing; give an `image` or a `label`")
