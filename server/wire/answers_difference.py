"""Answers of ExplainPredictionDifference."""

from itertools import zip_longest

from whymatch.embed import Array
from whymatch.explain import ColorScale, DifferenceMap
from whymatch.server.difference_values import (
    AskedTarget,
    DifferenceAnswer,
    DifferenceRequest,
    OfClass,
    OfImage,
    OfNeighbors,
    OfUnit,
)
from whymatch.server.sources import ImageName
from whymatch.server.wire import answers_shapes
from whymatch.v1 import explain_service_pb2 as pb
from whymatch.v1 import shapes_pb2


def difference_response(answer: DifferenceAnswer) -> pb.ExplainPredictionDifferenceResponse:
    """Return how far an explanation is and, where the call shows them, its maps."""
    progress, rate = answer.progress, answer.evaluations_per_second
    response = pb.ExplainPredictionDifferenceResponse(
        name=f"explanations/{answer.name}",
        model=answer.origin.model,
        provenance=answers_shapes.provenance(answer.origin),
        progress=answers_shapes.progress(progress),
        evaluations_per_second=rate,
        seconds_left=(progress.total - progress.done) / rate if rate else 0.0,
    )
    if (found := progress.result) is not None:
        request = answer.request
        response.complete = found.is_final
        response.sampler.kind, response.sampler.seed = request.sampler, request.setting.seed
        response.sampler.image_count, response.sampler.patch_count = found.source.image_count, found.source.patch_count
        response.sampler.channel_count = found.source.channel_count
        response.sampler.variance_share = found.source.variance_share
        response.setting.CopyFrom(_setting(request))
        response.multiplied_share = found.multiplied_share
        response.computed_whole.extend(sorted(found.computed_whole))
        parts = zip_longest(request.targets, found.maps, answer.drawings, found.sensitivities)
        response.maps.extend(_map(_target(asked, one), one, drawing, steep) for asked, one, drawing, steep in parts)
    return response


def _setting(request: DifferenceRequest) -> pb.PredictionDifferenceSetting:
    setting = request.setting
    return pb.PredictionDifferenceSetting(
        window_px=setting.window_px,
        context_px=setting.context_px,
        sample_count=1 if request.sampler == "mean" else setting.sample_count,
        stride_px=setting.stride_px,
        layer=request.layer or "",
    )


def _target(asked: AskedTarget, found: DifferenceMap) -> pb.PredictionTarget:
    """Return a target as it was asked for, but a class by its name, and no bytes of an image."""
    match asked:
        case OfClass(instances=None):
            return pb.PredictionTarget(class_score=found.target.name)
        case OfClass():
            return pb.PredictionTarget(class_probability=found.target.name)
        case OfUnit(layer, channel, cell):
            at = shapes_pb2.Cell(row=cell[0], column=cell[1]) if cell else None
            return pb.PredictionTarget(unit=shapes_pb2.Unit(layer=layer, channel=channel, cell=at))
        case OfImage(bytes()):
            return pb.PredictionTarget(similarity=shapes_pb2.ImageSource())
        case OfImage(ImageName(gallery, image)):
            return pb.PredictionTarget(
                similarity=shapes_pb2.ImageSource(image=answers_shapes.image_name(gallery, image))
            )
        case OfNeighbors(image=None):
            return pb.PredictionTarget(label_evidence=asked.label)
        case OfNeighbors(image=ImageName(gallery, image)):
            return pb.PredictionTarget(image_evidence=answers_shapes.image_name(gallery, image))
    raise AssertionError(asked)


def _map(
    target: pb.PredictionTarget,
    one: DifferenceMap,
    drawing: tuple[bytes, ColorScale] | None,
    sensitivity: Array | None,
) -> pb.PredictionDifference:
    picture, scale = drawing or (b"", None)
    errors = one.standard_errors
    return pb.PredictionDifference(
        target=target,
        measure=one.target.measure,
        area=answers_shapes.box(one.placement.area),
        value=one.plain,
        rows=one.values.shape[0],
        columns=one.values.shape[1],
        values=one.values.ravel().tolist(),
        standard_errors=() if errors is None else errors.ravel().tolist(),
        sensitivities=() if sensitivity is None else sensitivity.ravel().tolist(),
        width_px=one.placement.width_px,
        height_px=one.placement.height_px,
        overlay_png=picture,
        color_scale=answers_shapes.color_scale(scale),
    )
