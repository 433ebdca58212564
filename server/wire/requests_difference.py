"""What a request for prediction difference asks for, checked at the door."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias, cast, get_args

from whymatch.embed import Array, BadRequest, Model
from whymatch.explain import (
    IMAGENET_IMAGES,
    MAX_CONTEXT_PX,
    PredictionDifferenceSetting,
    SamplerKind,
    Target,
    class_probability_target,
    class_score_target,
    unit_target,
)
from whymatch.server.sources import ImageName, Source
from whymatch.server.wire import requests_shapes
from whymatch.v1 import explain_service_pb2 as pb

MAX_TARGETS = 32
MAX_SAMPLES = MAX_BATCH = 1000
CONTEXT_MARGIN_PX = 4
"""How much larger than its window a context is where nobody says it, as in the paper."""


@dataclass(frozen=True)
class OfClasses:
    """A target that the class scores decide."""

    make: Callable[[Model, Array], Target]
    """Of the model and the class scores of the image."""


@dataclass(frozen=True)
class OfUnits:
    """A target within the network."""

    target: Target


@dataclass(frozen=True)
class OfImage:
    """The similarity to an image."""

    source: Source


@dataclass(frozen=True)
class OfNeighbors:
    """The evidence for a label, or for one image, among the neighbors."""

    label: str
    image: ImageName | None = None


Wanted: TypeAlias = OfClasses | OfUnits | OfImage | OfNeighbors


@dataclass(frozen=True, eq=False)
class DifferenceRequest:
    """An explanation by prediction difference that somebody asks for."""

    gallery: str
    source: Source
    wanted: tuple[Wanted, ...]
    sampler: SamplerKind
    setting: PredictionDifferenceSetting
    refit: bool
    with_sensitivity: bool


def difference_request(request: pb.ExplainPredictionDifferenceRequest) -> DifferenceRequest:
    """Return what a request asks for. Raises BadName, BadRequest, BadLimit."""
    if not 1 <= len(request.targets) <= MAX_TARGETS:
        raise BadRequest(f"there are {len(request.targets)} `targets`; give 1 to {MAX_TARGETS}")
    default = PredictionDifferenceSetting()
    window_px = request.window_px if request.HasField("window_px") else default.window_px
    usual_px = min(window_px + CONTEXT_MARGIN_PX, MAX_CONTEXT_PX)
    setting = PredictionDifferenceSetting(
        window_px,
        request.context_px if request.HasField("context_px") else usual_px,
        requests_shapes.limit(request, "sample_count", MAX_SAMPLES, default=default.sample_count),
        request.stride_px if request.HasField("stride_px") else default.stride_px,
        requests_shapes.seed(request.seed),
        requests_shapes.limit(request, "batch_size", MAX_BATCH, default=default.batch_size),
        request.max_standard_error if request.HasField("max_standard_error") else None,
    )
    return DifferenceRequest(
        requests_shapes.gallery_name(request.parent),
        requests_shapes.source(request.image, "image"),
        tuple(_wanted(target, _instances(request)) for target in request.targets),
        _sampler(request.sampler),
        setting,
        request.refit_sampler,
        request.with_sensitivity,
    )


def digest(request: pb.ExplainPredictionDifferenceRequest, *facts: object) -> str:
    """Return 32 hexadecimal digits that are the same for a request for the same maps, given the same facts."""
    same = pb.ExplainPredictionDifferenceRequest()
    same.CopyFrom(request)
    for field in ("overlays", "batch_size"):
        same.ClearField(field)
    return hashlib.sha256(same.SerializeToString(deterministic=True) + repr(facts).encode()).hexdigest()[:32]


def check_only_named(request: pb.ExplainPredictionDifferenceRequest) -> None:
    """Raise BadRequest for a request that names an explanation, and describes one, too."""
    others = [field.name for field, _ in request.ListFields() if field.name not in ("name", "overlays")]
    if others:
        raise BadRequest(f"`name` goes on with an explanation as it is; leave out `{'`, `'.join(others)}`, or the name")


def explanation_name(name: str) -> str:
    """Return the {explanation} of `explanations/{explanation}`. Raises BadRequest."""
    collection, _, explanation = name.partition("/")
    if collection != "explanations" or not explanation:
        raise BadRequest(f"{name[:80]!r} names no explanation; write `explanations/` and what the answer named")
    return explanation


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


def _wanted(target: pb.PredictionTarget, instances: int) -> Wanted:
    match target.WhichOneof("target"):
        case "class_probability":
            name = target.class_probability
            return OfClasses(lambda model, scores: class_probability_target(model, name, scores, instances=instances))
        case "class_score":
            name = target.class_score
            return OfClasses(lambda model, scores: class_score_target(model, name, scores))
        case "unit":
            cell = (target.unit.cell.row, target.unit.cell.column) if target.unit.HasField("cell") else None
            return OfUnits(unit_target(target.unit.layer, target.unit.channel, cell))
        case "similarity":
            return OfImage(requests_shapes.source(target.similarity, "similarity"))
        case "label_evidence":
            return OfNeighbors(requests_shapes.label(target.label_evidence))
        case "image_evidence":
            return OfNeighbors("", requests_shapes.image_name(target.image_evidence))
    kinds = ", ".join(f"`{field.name}`" for field in target.DESCRIPTOR.fields)
    raise BadRequest(f"a target is empty; give it one of {kinds}")
