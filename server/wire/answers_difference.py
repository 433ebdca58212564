"""From prediction differences to answers."""

from collections.abc import Sequence
from itertools import zip_longest

from whymatch.embed import Array
from whymatch.explain import ColorScale, DifferenceMap
from whymatch.server.explanations import Explanation
from whymatch.server.patch_samplers import Making
from whymatch.server.wire import answers_shapes
from whymatch.v1 import explain_service_pb2 as pb


def making_response(explanation: Explanation, making: Making | None) -> pb.ExplainPredictionDifferenceResponse:
    """Return how far a sampler is."""
    return pb.ExplainPredictionDifferenceResponse(
        name=f"explanations/{explanation.name}",
        model=explanation.model,
        fitted_count=making.done if making else 0,
        fit_count=making.total if making else 0,
    )


def progress_response(explanation: Explanation, done: int, seconds: float) -> pb.ExplainPredictionDifferenceResponse:
    """Return how far an explanation is, of which this call has done so much in so many seconds."""
    difference = explanation.difference
    assert difference is not None
    rate = done / seconds if done and seconds > 0 else 0.0
    return pb.ExplainPredictionDifferenceResponse(
        name=f"explanations/{explanation.name}",
        model=explanation.model,
        evaluations=difference.done,
        planned_evaluations=difference.planned,
        evaluations_per_second=rate,
        seconds_left=(difference.planned - difference.done) / rate if rate else 0.0,
    )


def add_maps(
    response: pb.ExplainPredictionDifferenceResponse,
    explanation: Explanation,
    drawings: Sequence[tuple[bytes, ColorScale]],
) -> None:
    """Add the maps to an answer; `drawings` are empty or one for each map."""
    making, difference = explanation.making, explanation.difference
    assert making
    assert difference
    response.sampler.CopyFrom(
        pb.PatchSampler(
            kind=explanation.sampler,
            image_count=making.image_count,
            patch_count=making.patch_count,
            seed=explanation.seed,
        )
    )
    response.multiplied_share = difference.multiplied_share
    response.computed_whole.extend(sorted(difference.computed_whole))
    parts = zip_longest(explanation.targets, explanation.maps, drawings, explanation.sensitivities)
    for asked, one, drawing, sensitivity in parts:
        response.maps.append(_map(_named(asked, one), one, drawing, sensitivity))


def _named(asked: pb.PredictionTarget, one: DifferenceMap) -> pb.PredictionTarget:
    """Return a target as it was asked for, but a class by its name, and no bytes of an image."""
    kind, name = asked.WhichOneof("target"), one.target.name.partition(":")[2]
    if kind == "class_probability":
        return pb.PredictionTarget(class_probability=name)
    if kind == "class_score":
        return pb.PredictionTarget(class_score=name)
    named = pb.PredictionTarget()
    named.CopyFrom(asked)
    if kind == "similarity" and asked.similarity.WhichOneof("source") == "content":
        named.similarity.ClearField("content")
    return named


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
