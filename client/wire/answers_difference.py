"""Answers of ExplainPredictionDifference."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, repeat

import numpy as np

from whymatch.client import results, targets
from whymatch.client.inputs import Stored
from whymatch.client.wire import answers_shapes
from whymatch.v1 import explain_service_pb2


def prediction_difference(
    message: explain_service_pb2.ExplainPredictionDifferenceResponse,
    given: Sequence[targets.PredictionTarget] = (),
) -> results.PredictionDifferenceExplanation:
    """Read how far an explanation is, and its maps.

    given: the targets of the request, which know the file of an image better than the answer does.
    """
    return results.PredictionDifferenceExplanation(
        name=answers_shapes.short_name(message.name),
        model=message.model,
        maps=tuple(
            _difference_map(one, target) for one, target in zip(message.maps, chain(given, repeat(None)), strict=False)
        ),
        progress=answers_shapes.progress(message.progress),
        evaluations_per_second=message.evaluations_per_second,
        seconds_left=message.seconds_left,
        complete=message.complete,
        sampler=_patch_sampler(message.sampler) if message.HasField("sampler") else None,
        setting=_setting(message.setting) if message.HasField("setting") else None,
        multiplied_share=message.multiplied_share,
        computed_whole=tuple(message.computed_whole),
        provenance=answers_shapes.provenance(message),
    )


def _difference_map(
    message: explain_service_pb2.PredictionDifference, given: targets.PredictionTarget | None
) -> results.DifferenceMap:
    shape = (message.rows, message.columns)
    errors, sensitivities = (
        np.array(values, np.float32).reshape(shape) if values else None
        for values in (message.standard_errors, message.sensitivities)
    )
    return results.DifferenceMap(
        target=str(given if isinstance(given, targets.Similarity) else _target(message.target)),
        value=message.value,
        measure=message.measure,
        values=np.array(message.values, np.float32).reshape(shape),
        standard_errors=errors,
        sensitivities=sensitivities,
        width_px=message.width_px,
        height_px=message.height_px,
        area=answers_shapes.box(message.area),
        overlay_png=message.overlay_png,
        color_scale=answers_shapes.color_scale(message),
    )


def _target(message: explain_service_pb2.PredictionTarget) -> targets.PredictionTarget:
    unit = message.unit
    match message.WhichOneof("target"):
        case "class_probability":
            return targets.ClassProbability(message.class_probability)
        case "class_score":
            return targets.ClassScore(message.class_score)
        case "unit":
            cell = (unit.cell.row, unit.cell.column) if unit.HasField("cell") else None
            return targets.Unit(unit.layer, unit.channel, cell)
        case "label_evidence":
            return targets.Evidence(message.label_evidence)
        case "image_evidence":
            return targets.ImageEvidence(answers_shapes.short_name(message.image_evidence))
    name = answers_shapes.short_name(message.similarity.image)
    return targets.Similarity(Stored(name) if name else message.similarity.content)


def _patch_sampler(message: explain_service_pb2.PatchSampler) -> results.PatchSampler:
    return results.PatchSampler(
        message.kind,
        message.image_count,
        message.patch_count,
        message.seed,
        message.channel_count,
        message.variance_share,
    )


def _setting(message: explain_service_pb2.PredictionDifferenceSetting) -> results.PredictionDifferenceSetting:
    return results.PredictionDifferenceSetting(
        message.window_px, message.context_px, message.sample_count, message.stride_px, message.layer
    )
