"""What `--help` says of numbers that are left to the server is what the server takes."""

from dataclasses import asdict
from typing import get_args

import pytest
from typer.main import get_command

from whymatch.client.cli.app import app
from whymatch.embed import InterActiveSetting
from whymatch.explain import INTERACTIVE_PX, PredictionDifferenceSetting, SamplerKind
from whymatch.explain.units import (
    FIELD_IMAGES,
    LABEL_IMAGES,
    SEGMENT_QUANTILE,
    TOP_IMAGES,
    AxisSetting,
    ColorThresholds,
    OccluderSetting,
    SegmentThreshold,
    SelectivitySetting,
)
from whymatch.server import explain_servicer, search_servicer
from whymatch.server.wire import requests_shapes, requests_unit

DIFFERENCE, OCCLUDER = PredictionDifferenceSetting(), OccluderSetting()
SERVER = {
    ("search", "limit"): requests_shapes.DEFAULT_LIMIT,
    ("search", "box_share"): requests_shapes.DEFAULT_BOX_SHARE,
    ("rerank", "limit"): requests_shapes.DEFAULT_LIMIT,
    ("rerank", "box_share"): requests_shapes.DEFAULT_BOX_SHARE,
    ("rerank", "candidates"): search_servicer.DEFAULT_CANDIDATES,
    **{
        (f"explain {command}", name): default
        for command in ("match", "point")
        for name, default in {
            "channels": requests_shapes.DEFAULT_LIMIT,
            "correspondences": requests_shapes.DEFAULT_LIMIT,
            "box_share": requests_shapes.DEFAULT_BOX_SHARE,
        }.items()
    },
    ("explain label", "box_share"): requests_shapes.DEFAULT_BOX_SHARE,
    ("explain ranking", "channels"): requests_shapes.DEFAULT_LIMIT,
    ("explain ranking", "cells"): requests_shapes.DEFAULT_LIMIT,
    ("explain ranking", "box_share"): requests_shapes.DEFAULT_BOX_SHARE,
    ("explain rank", "limit"): requests_shapes.DEFAULT_LIMIT,
    ("explain rank", "box_share"): requests_shapes.DEFAULT_BOX_SHARE,
    ("explain neighbors", "limit"): explain_servicer.DEFAULT_NEIGHBORS,
    ("explain neighbors", "labels"): requests_shapes.DEFAULT_LIMIT,
    ("explain components", "pairs"): explain_servicer.DEFAULT_PAIRS,
    ("explain components", "seed"): 0,
    ("explain interactive", "size_px"): INTERACTIVE_PX,
    ("explain interactive", "norms"): InterActiveSetting.norm,
    ("explain interactive", "supervisions"): InterActiveSetting.supervision,
    ("explain prediction-difference", "windows"): DIFFERENCE.window_px,
    ("explain prediction-difference", "samples"): DIFFERENCE.sample_count,
    ("explain prediction-difference", "stride_px"): DIFFERENCE.stride_px,
    ("explain prediction-difference", "samplers"): get_args(SamplerKind)[0],
    ("explain prediction-difference", "seed"): DIFFERENCE.seed,
    ("units show", "top"): TOP_IMAGES,
    ("units show", "labels_of"): LABEL_IMAGES,
    ("units labels", "top"): LABEL_IMAGES,
    ("units show", "quantile"): SEGMENT_QUANTILE,
    ("units colors", "top"): TOP_IMAGES,
    ("units colors", "seed"): AxisSetting.seed,
    **{
        ("units colors", name): default
        for setting in (ColorThresholds(), AxisSetting())
        for name, default in asdict(setting).items()
    },
    **{("units filters", name): default for name, default in asdict(ColorThresholds()).items()},
    **{
        ("units colors", name): getattr(SelectivitySetting(), name)
        for name in ("leading", "categories", "merge_distance", "max_pixels")
    },
    ("units colors", "colored_share"): SelectivitySetting.gray_share,
    ("units report", "labels_of"): LABEL_IMAGES,
    ("units receptive-field", "images"): FIELD_IMAGES,
    ("units receptive-field", "side_px"): OCCLUDER.side_px,
    ("units receptive-field", "stride_px"): OCCLUDER.stride_px,
    ("units receptive-field", "threshold"): OCCLUDER.threshold,
    ("units receptive-field", "seed"): OCCLUDER.seed,
    ("units segment", "count"): requests_unit.SEGMENTED,
    ("units segment", "share"): SegmentThreshold.value,
    ("units minimal-image", "segments"): requests_unit.PARTS,
}
OWN = {
    ("units labels", "precision"),
    ("units report", "fields"),
    ("units report", "field_images"),
    ("units segment", "limit"),
    ("units segment", "precision"),
    ("explain match", "cards"),
    ("explain prediction-difference", "share"),
}
"""Numbers that are no request's: 0 for none, or the command's own work."""
CONNECTION = {"timeout"}


def commands(group=None, prefix: str = ""):
    for name, command in (group or get_command(app)).commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


OPTIONS = {(name, option.name): option for name, command in commands() for option in command.params}


@pytest.mark.parametrize("place", SERVER, ids=" ".join)
def test_the_default_that_is_shown_is_the_servers(place):
    shown = OPTIONS[place].show_default
    first = str(shown).split(",")[0]
    assert first == f"{SERVER[place]:g}" if isinstance(SERVER[place], int | float) else first == SERVER[place]
    assert OPTIONS[place].default is None


def test_no_other_number_has_a_default():
    numbers = {
        place
        for place, option in OPTIONS.items()
        if isinstance(option.default, int | float) and not isinstance(option.default, bool)
    }
    assert {place for place in numbers if place[1] not in CONNECTION} <= OWN
