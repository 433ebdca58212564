"""What a request for prediction difference asks for, checked at the door."""

import hashlib
from typing import cast, get_args

from whymatch.embed import BadRequest
from whymatch.explain import (
    IMAGENET_IMAGES,
    MAX_CONTEXT_CELLS,
    MAX_CONTEXT_PX,
    PredictionDifferenceSetting,
    SamplerKind,
)
from whymatch.server.difference_values import AskedTarget, DifferenceRequest, OfClass, OfImage, OfNeighbors, OfUnit
from whymatch.server.wire import requests_shapes
from whymatch.v1 import explain_service_pb2 as pb

MAX_TARGETS = 32
MAX_SAMPLES = MAX_BATCH = 1000
CONTEXT_MARGIN_PX = 4
"""How much larger than its window a context is where nobody says it, as in the paper."""
OF_CELLS = PredictionDifferenceSetting(window_px=1, context_px=3, stride_px=1)
"""What is taken of a layer's cells where nobody says it."""


def asked(request: pb.ExplainPredictionDifferenceRequest) -> DifferenceRequest | str:
    """Return what a request asks for, or the name of the explanation to go on with; hashes an image that was sent.

    Raises:
        BadName, BadRequest, BadLimit.
    """
    if not request.name:
        return difference_request(request)
    others = [field.name for field, _ in request.ListFields() if field.name not in ("name", "overlays")]
    if others:
        raise BadRequest(f"`name` goes on with an explanation as it is; leave out `{'`, `'.join(others)}`, or the name")
    collection, _, explanation = request.name.partition("/")
    if collection != "explanations" or not explanation:
        raise BadRequest(f"{request.name[:80]!r} names no explanation; write `explanations/` and what the answer named")
    return explanation


def difference_request(request: pb.ExplainPredictionDifferenceRequest) -> DifferenceRequest:
    """Return what a request asks for. Raises BadName, BadRequest, BadLimit."""
    if not 1 <= len(request.targets) <= MAX_TARGETS:
        raise BadRequest(f"there are {len(request.targets)} `targets`; give 1 to {MAX_TARGETS}")
    default = OF_CELLS if request.layer else PredictionDifferenceSetting()
    margin, largest = (2, MAX_CONTEXT_CELLS) if request.layer else (CONTEXT_MARGIN_PX, MAX_CONTEXT_PX)
    window_px = request.window_px if request.HasField("window_px") else default.window_px
    setting = PredictionDifferenceSetting(
        window_px,
        request.context_px if request.HasField("context_px") else min(window_px + margin, largest),
        requests_shapes.limit(request, "sample_count", MAX_SAMPLES, default=default.sample_count),
        request.stride_px if request.HasField("stride_px") else default.stride_px,
        requests_shapes.seed(request.seed),
        requests_shapes.limit(request, "batch_size", MAX_BATCH, default=default.batch_size),
        request.max_standard_error if request.HasField("max_standard_error") else None,
    )
    return DifferenceRequest(
        requests_shapes.gallery_name(request.parent),
        requests_shapes.source(request.image, "image"),
        tuple(_target(target, _instances(request)) for target in request.targets),
        _sampler(request.sampler),
        setting,
        request.refit_sampler,
        request.with_sensitivity,
        _digest(request),
        request.layer or None,
    )


def _digest(request: pb.ExplainPredictionDifferenceRequest) -> str:
    """Return what is the same for all requests for the same maps."""
    same = pb.ExplainPredictionDifferenceRequest()
    same.CopyFrom(request)
    for field in ("overlays", "batch_size"):
        same.ClearField(field)
    return hashlib.sha256(same.SerializeToString(deterministic=True)).hexdigest()


def _instances(request: pb.ExplainPredictionDifferenceRequest) -> int:
    if not request.HasField("training_image_count"):
        return IMAGENET_IMAGES
    if not 1 <= request.training_image_count <= 2**53:
        raise BadRequest(f"`training_image_count` is {request.training_image_count}; take 1 or more, or leave it out")
    return request.training_image_count


def _sampler(kind: str) -> SamplerKind:
    if kind and kind not in get_args(SamplerKind):
        raise BadRequest(f"`sampler` is {kind[:80]!r}; take {', '.join(get_args(SamplerKind))}, or leave it empty")
    return cast(SamplerKind, kind or "conditional")


def _target(target: pb.PredictionTarget, instances: int) -> AskedTarget:
    match target.WhichOneof("target"):
        case "class_probability":
            return OfClass(target.class_probability, instances)
        case "class_score":
            return OfClass(target.class_score, None)
        case "unit":
            cell = (target.unit.cell.row, target.unit.cell.column) if target.unit.HasField("cell") else None
            return OfUnit(target.unit.layer, target.unit.channel, cell)
        case "similarity":
            return OfImage(requests_shapes.source(target.similarity, "similarity"))
        case "label_evidence":
            return OfNeighbors(requests_shapes.label(target.label_evidence))
        case "image_evidence":
            return OfNeighbors("", requests_shapes.image_name(target.image_evidence))
    kinds = ", ".join(f"`{field.name}`" for field in target.DESCRIPTOR.fields)
    raise BadRequest(f"a target is empty; give it one of {kinds}")
