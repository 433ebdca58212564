"""Requests of ExplainPredictionDifference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from whymatch.client.inputs import ImageInput, SamplerKind, Stored
from whymatch.client.targets import (
    ClassProbability,
    ClassScore,
    Evidence,
    ImageEvidence,
    PredictionTarget,
    Similarity,
    Unit,
)
from whymatch.client.wire import requests_shapes
from whymatch.v1 import explain_service_pb2, shapes_pb2

DifferenceRequest: TypeAlias = explain_service_pb2.ExplainPredictionDifferenceRequest


def prediction_difference(
    image: ImageInput | Stored,
    targets: Sequence[PredictionTarget],
    gallery: str,
    *,
    window_px: int | None,
    context_px: int | None,
    sample_count: int | None,
    stride_px: int | None,
    sampler: SamplerKind | None,
    seed: int | None,
    max_standard_error: float | None,
    batch_size: int | None,
    training_image_count: int | None,
    refit_sampler: bool,
    with_sensitivity: bool,
    layer: str | None,
    overlays: bool | int,
) -> DifferenceRequest:
    """Ask what each part of an image is worth."""
    if isinstance(targets, PredictionTarget):
        raise TypeError(f"targets is a sequence, not one target; write targets=[{targets!r}]")
    return DifferenceRequest(
        parent=requests_shapes.gallery_path(gallery),
        image=requests_shapes.image_source(image, gallery),
        targets=[prediction_target(one, gallery) for one in targets],
        window_px=window_px,
        context_px=context_px,
        sample_count=sample_count,
        stride_px=stride_px,
        sampler=sampler or "",
        seed=seed or 0,
        max_standard_error=max_standard_error,
        batch_size=batch_size,
        training_image_count=training_image_count,
        refit_sampler=refit_sampler,
        with_sensitivity=with_sensitivity,
        layer=layer or "",
        overlays=requests_shapes.overlay_options(overlays),
    )


def resume_prediction_difference(name: str, *, overlays: bool | int) -> DifferenceRequest:
    """Ask to go on with an explanation."""
    return DifferenceRequest(
        name=f"explanations/{name.removeprefix('explanations/')}",
        overlays=requests_shapes.overlay_options(overlays),
    )


def prediction_target(target: PredictionTarget, gallery: str) -> explain_service_pb2.PredictionTarget:
    """Carry what is to be explained."""
    message = explain_service_pb2.PredictionTarget()
    match target:
        case ClassProbability(name):
            message.class_probability = name
        case ClassScore(name):
            message.class_score = name
        case Unit(layer, channel, cell):
            message.unit.CopyFrom(_unit(layer, channel, cell))
        case Similarity(image):
            message.similarity.CopyFrom(requests_shapes.image_source(image, gallery))
        case Evidence(label):
            message.label_evidence = label
        case ImageEvidence(name, other):
            message.image_evidence = requests_shapes.image_path(other or gallery, name)
        case _:
            raise TypeError(
                f"a target is for example ClassProbability('top1') or read_target('class:top1'), not {target!r}"
            )
    return message


def _unit(layer: str, channel: int, cell: tuple[int, int] | None) -> shapes_pb2.Unit:
    where = shapes_pb2.Cell(row=cell[0], column=cell[1]) if cell else None
    return shapes_pb2.Unit(layer=layer, channel=channel, cell=where)
