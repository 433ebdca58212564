"""UnitService through a real channel: what it streams, and what bad input gets."""

import io

import numpy as np
import pytest
from google.protobuf.text_format import Merge
from PIL import Image
from sample_pictures import encoded, png
from server_harness import Api, api_of, connected, eventually, failure, outcome, serving
from small_networks import model_of, small
from torch import nn

from whymatch.embed import DecodeLimits
from whymatch.embed.networks import Network
from whymatch.explain.units import LayerResponses, decode_filters
from whymatch.server import ServerConfig
from whymatch.v1.embed_service_pb2 import GetModelRequest
from whymatch.v1.explain_service_pb2 import ExplainMatchRequest
from whymatch.v1.gallery_service_pb2 import SetHeadRequest
from whymatch.v1.shapes_pb2 import ImageSource, OverlayOptions, Unit
from whymatch.v1.unit_service_pb2 import (
    AxisSetting,
    ColorThresholds,
    DecodeFiltersRequest,
    DescribeLayerColorsRequest,
    DescribeUnitsRequest,
    FindMinimalImageRequest,
    FindReceptiveFieldRequest,
    OccluderSetting,
    SegmentUnitsRequest,
    SelectivitySetting,
)

LAYER = "features.4"


@pytest.fixture(scope="module")
def gallery(api: Api) -> str:
    """A gallery of its own, of pictures 0 to 11."""
    return api.fill("unit-photos", range(12))


def describe(api: Api, parent: str, layer: str = LAYER, **fields: object):
    return list(api.units.DescribeUnits(DescribeUnitsRequest(parent=parent, layer=layer, **fields)))


def units_of(answers):
    return [answer.unit for answer in answers if answer.WhichOneof("answer") == "unit"]


def picture_of(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


def test_units_come_with_their_top_images(api, gallery, model):
    answers = describe(api, gallery, channels=[3, 0], top_count=2, with_patches=True, with_colors=True)
    assert [one.progress.counted for one in answers[:-2]] == ["images"] * (len(answers) - 2)
    assert {one.model for one in answers} == {model.fingerprint}
    first, second = units_of(answers)
    assert [first.unit.channel, second.unit.channel] == [3, 0]
    responses = LayerResponses(model, LAYER)
    peaks = {}
    for n in range(12):
        peaks[n] = float(responses.maps(np.stack([model.prepare(png(n), DecodeLimits()).pixels]))[0, 3].max())
    best = max(peaks, key=peaks.__getitem__)
    top = first.top_images[0]
    assert top.name == f"{gallery}/images/{best}.png"
    assert top.label == ("even", "odd")[best % 2]
    assert top.response == pytest.approx(peaks[best], rel=1e-4) == first.maximum
    assert first.image_count == 12
    assert first.label_image_count == 9  # each label has 6, and fewer than 9 say too little
    assert sum(one.image_count for one in first.labels) == 9
    field = first.receptive_field
    patch = picture_of(top.patch_png)
    assert patch.shape[0] <= field.height_px
    assert patch.shape[1] <= field.width_px
    assert 0 <= top.box.left_px < top.box.right_px <= 96
    assert 0 < first.color.selectivity <= 1
    assert first.color.quotient == pytest.approx(first.color.selectivity / 3)
    assert first.color.setting.categories == 20
    assert sum(one.share for one in first.color.categories) == pytest.approx(1, abs=1e-5)


def test_all_units_come_where_no_channels_are_named(api, gallery):
    found = units_of(describe(api, gallery, layer="features.3", top_count=1))
    assert [one.unit.channel for one in found] == list(range(len(found)))
    assert len(found) == 128
    assert not found[0].top_images[0].patch_png
    assert not found[0].HasField("color")


def test_the_second_time_no_image_is_looked_at_again(api):
    parent = api.fill("units-twice", range(20))
    first = [one.progress.done for one in describe(api, parent, channels=[0])[:-1]]
    again = [one.progress.done for one in describe(api, parent, channels=[0])[:-1]]
    assert first[0] == 0
    assert set(again) == {20}
    api.add(parent, {"new.png": png(77)})
    assert describe(api, parent, channels=[0])[0].progress.done == 20
    assert units_of(describe(api, parent, channels=[0]))[0].image_count == 21


def test_filters_are_decoded(api, model):
    answers = list(api.units.DecodeFilters(DecodeFiltersRequest(layer="features.0", channels=[5], with_values=True)))
    [found] = [one.filter for one in answers if one.WhichOneof("answer") == "filter"]
    [expected] = decode_filters(model, "features.0", [5])
    values = np.reshape(found.values, (found.rows, found.columns, 3))
    assert values == pytest.approx(expected.values, abs=1e-6)
    assert found.scale == pytest.approx(np.abs(values).max())
    assert picture_of(found.picture_png).shape == (3, 3, 3)
    assert found.color.content in ("varied", "constant")
    assert found.color.thresholds.aligned_share == 0.8
    plain = list(api.units.DecodeFilters(DecodeFiltersRequest(layer="features.0")))
    assert len([one for one in plain if one.WhichOneof("answer") == "filter"]) == 64
    assert not plain[0].filter.values
    assert (plain[-1].progress.counted, plain[-1].progress.done, plain[-1].progress.total) == ("filters", 64, 64)


def test_the_colors_of_a_layer(api, gallery):
    request = DescribeLayerColorsRequest(
        parent=gallery,
        layer="features.0",
        with_axes=True,
        with_selectivity=True,
        top_count=3,
        thresholds=ColorThresholds(name_share=0.1, aligned_share=0.5),
        axis_setting=AxisSetting(min_components=1, max_components=2),
        selectivity=SelectivitySetting(max_pixels=500),
    )
    *progress, last = api.units.DescribeLayerColors(request)
    assert {one.progress.counted for one in progress} == {"filters", "images", "units"}
    layer = last.layer
    assert len(layer.units) == 64
    assert layer.units[0].filter.thresholds.aligned_share == 0.5
    assert layer.units[0].selectivity.setting.max_pixels == 500
    assert [point.threshold for point in layer.curve] == pytest.approx([0.3, 0.4, 0.5, 0.6, 0.7])
    assert [point.share for point in layer.curve] == sorted((point.share for point in layer.curve), reverse=True)
    assert sum(layer.histogram) == sum(one.filter.HasField("angle_deg") for one in layer.units)
    assert bool(layer.axes) != bool(layer.no_axes)
    if layer.axes:
        assert len(layer.density) == 181
        assert sum(axis.weight for axis in layer.axes) == pytest.approx(1)


def test_one_half_of_the_colors_needs_no_gallery_and_the_other_no_filters(api, gallery):
    [*_, last] = api.units.DescribeLayerColors(DescribeLayerColorsRequest(layer="features.0", with_axes=True))
    assert not last.layer.curve
    request = DescribeLayerColorsRequest(parent=gallery, layer="features.0", with_selectivity=True, top_count=1)
    [*_, last] = api.units.DescribeLayerColors(request)
    assert not last.layer.units[0].HasField("filter")
    assert last.layer.curve


def test_a_receptive_field(api, gallery):
    request = FindReceptiveFieldRequest(
        parent=gallery,
        unit=Unit(layer="features.3", channel=7),
        image_count=2,
        occluder=OccluderSetting(side_px=5, stride_px=5),
    )
    *progress, last = api.units.FindReceptiveField(request)
    assert {one.progress.counted for one in progress} == {"images", "evaluations"}
    field = last.field
    assert 0 < field.width_px <= field.columns
    assert len(field.values) == field.rows * field.columns
    assert field.theoretical.width_px == field.columns
    assert (field.image_count, field.occluder.side_px, field.occluder.threshold) == (2, 5, 0.5)
    assert progress[-1].progress.done == field.evaluations
    assert 0 < field.multiplied_share < 1


def segments(api: Api, parent: str, **fields: object):
    request = SegmentUnitsRequest(parent=parent, image=ImageSource(content=png(3)), layer=LAYER, **fields)
    return list(api.units.SegmentUnits(request))


def test_an_image_is_segmented(api, gallery):
    answers = segments(api, gallery, channels=[0, 1], overlays=OverlayOptions(size_px=48))
    found = [one.segment for one in answers if one.WhichOneof("answer") == "segment"]
    assert [one.unit.channel for one in found] == [0, 1]
    for one in found:
        assert one.threshold == pytest.approx(one.maximum / 2)
        mask = picture_of(one.mask_png)
        assert mask.shape[0] < mask.shape[1]
        assert one.area_share == pytest.approx((mask > 0).mean())
        assert (one.width_px, one.height_px, one.area.right_px, one.area.bottom_px) == (96, 64, 96, 64)
        assert max(picture_of(one.overlay_png).shape) == 48
        assert len(one.responses) == one.rows * one.columns
    wider = [one.segment for one in segments(api, gallery, channels=[0], share=0.1)][-1]
    assert wider.area_share >= found[0].area_share


def test_a_quantile_says_what_it_is_estimated_from(api, gallery):
    found = segments(api, gallery, channels=[0], quantile=0.9)[-1].segment
    assert found.sampled_cells == 12 * 8
    assert 0 <= found.threshold < found.maximum


def test_one_pass_finds_and_localizes(api, gallery, model):
    request = SegmentUnitsRequest(
        parent=gallery, image=ImageSource(content=png(3)), layer=model.layer, channels=[4], match_limit=2
    )
    answers = list(api.units.SegmentUnits(request))
    assert answers[-1].matches.matches[0].image.name == f"{gallery}/images/3.png"
    assert answers[-1].matches.matches[0].score == pytest.approx(1, abs=1e-5)
    [segment] = [one.segment for one in answers if one.WhichOneof("answer") == "segment"]
    features = model.features([model.prepare(png(3), DecodeLimits())])[0].feature_map
    assert np.reshape(segment.responses, features.shape[:2]) == pytest.approx(features[..., 4], abs=1e-4)
    other = segments(api, gallery, channels=[0], match_limit=1)  # of another layer
    assert other[-1].matches.matches[0].image.name == f"{gallery}/images/3.png"


def test_a_minimal_image_keeps_its_match(api, gallery):
    request = FindMinimalImageRequest(
        parent=gallery,
        image=ImageSource(content=png(30)),
        segment_count=6,
        overlays=OverlayOptions(size_px=60),
    )
    answers = list(api.units.FindMinimalImage(request))
    taken = [one.step for one in answers if one.WhichOneof("answer") == "step"]
    first, last = taken[0], taken[-1]
    assert not first.HasField("segment")
    numbers = np.reshape(first.segments, (first.rows, first.columns))
    assert first.segments_left == numbers.max() + 1
    assert first.area_share == pytest.approx(1)
    assert first.prediction.startswith(f"{gallery}/images/")
    assert last.minimal
    assert last.segments_left == first.segments_left - (len(taken) - 2)
    assert max(picture_of(last.picture_png).shape) == 60
    assert {one.prediction for one in taken} == {first.prediction}
    assert last.evaluations == answers[-1].step.evaluations


def test_a_class_that_holds(tmp_path):
    with api_of(ServerConfig(data=tmp_path, port=0), small()) as api:
        source = ImageSource(content=png(5))
        request = FindMinimalImageRequest(image=source, class_name="top1", segment_count=4, segmentation="felzenszwalb")
        taken = list(api.units.FindMinimalImage(request))
        assert taken[0].step.prediction in "0123"
        assert 0 < taken[-1].step.value < 1
        other = "0" if taken[0].step.prediction != "0" else "1"
        wrong = FindMinimalImageRequest(image=source, class_name=other)
        assert failure(lambda: list(api.units.FindMinimalImage(wrong))) == ("INVALID_ARGUMENT", "BAD_TARGET")


def test_leading_channels_name_their_units(tmp_path):
    def leading(api: Api):
        query, match = ImageSource(image=f"{parent}/images/1.png"), ImageSource(image=f"{parent}/images/2.png")
        return api.explain(ExplainMatchRequest(query=query, match=match, channel_limit=3)).channels

    model = small()
    with api_of(ServerConfig(data=tmp_path / "a", port=0), model) as api:
        parent = api.fill("g", range(6))
        assert [(one.unit.layer, one.unit.channel) for one in leading(api)] == [
            (model.layer, one.channel) for one in leading(api)
        ]
        [described] = units_of(
            describe(api, parent, layer=leading(api)[0].unit.layer, channels=[leading(api)[0].channel])
        )
        assert described.top_images
        centering = SetHeadRequest(name=parent)
        centering.centering.SetInParent()
        list(api.galleries.SetHead(centering))
        assert all(one.HasField("unit") for one in leading(api))
        whitening = SetHeadRequest(name=parent)
        whitening.whitening.dimensions = 2
        list(api.galleries.SetHead(whitening))
        assert not any(one.HasField("unit") for one in leading(api))
    with api_of(ServerConfig(data=tmp_path / "b", port=0), small(tap="conv1+relu,next")) as api:
        parent = api.fill("g", range(3))
        for one in leading(api):
            assert (one.unit.layer, one.unit.channel) == (("conv1", one.channel) if one.channel < 6 else ("", 0))


def test_what_is_dead_says_so(tmp_path):
    model = small()
    model.trunk.module.get_submodule("conv1").bias.data[2] = -100.0
    with api_of(ServerConfig(data=tmp_path, port=0), model) as api:
        parent = api.fill("g", range(3))
        [found] = units_of(describe(api, parent, layer="conv1", channels=[2], with_colors=True, with_patches=True))
        assert (found.maximum, found.image_count, len(found.top_images), found.HasField("color")) == (0, 3, 0, False)
        request = FindReceptiveFieldRequest(parent=parent, unit=Unit(layer="conv1", channel=2))
        field = list(api.units.FindReceptiveField(request))[-1].field
        assert (field.width_px, field.image_count, field.theoretical.width_px) == (0, 0, 3)
        source = ImageSource(content=png(1))
        for threshold in ({"share": 0.5}, {"quantile": 0.5}):
            request = SegmentUnitsRequest(parent=parent, image=source, layer="conv1", channels=[2], **threshold)
            segment = list(api.units.SegmentUnits(request))[-1].segment
            assert not segment.HasField("threshold")
            assert segment.area_share == 0


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"layer": ""}, ("INVALID_ARGUMENT", "BAD_LAYER")),
        ({"layer": "features.99"}, ("INVALID_ARGUMENT", "BAD_LAYER")),
        ({"channels": [256]}, ("INVALID_ARGUMENT", "BAD_TARGET")),
        ({"channels": [-1]}, ("INVALID_ARGUMENT", "BAD_TARGET")),
        ({"top_count": 0}, ("INVALID_ARGUMENT", "BAD_LIMIT")),
        ({"top_count": 101}, ("INVALID_ARGUMENT", "BAD_LIMIT")),
        ({"top_count": 13}, ("FAILED_PRECONDITION", "TOO_FEW_IMAGES")),
        ({"label_image_count": 13}, ("FAILED_PRECONDITION", "TOO_FEW_IMAGES")),
        ({"with_colors": True, "selectivity": {"leading": 0}}, ("INVALID_ARGUMENT", "BAD_LIMIT")),
        ({"with_colors": True, "selectivity": {"merge_distance": float("nan")}}, ("INVALID_ARGUMENT", "BAD_REQUEST")),
        ({"with_colors": True, "selectivity": {"seed": -1}}, ("INVALID_ARGUMENT", "BAD_REQUEST")),
        ({"with_colors": True, "selectivity": {"seed": 2**40}}, ("INVALID_ARGUMENT", "BAD_REQUEST")),
        ({"parent": "galleries/nowhere"}, ("NOT_FOUND", "UNKNOWN_GALLERY")),
        ({"parent": ""}, ("INVALID_ARGUMENT", "BAD_NAME")),
    ],
)
def test_descriptions_that_cannot_be(api, gallery, fields, expected):
    request = DescribeUnitsRequest(**{"parent": gallery, "layer": LAYER} | fields)
    assert failure(lambda: list(api.units.DescribeUnits(request))) == expected


def test_an_image_is_no_match_of_itself_by_any_name(tmp_path):
    with api_of(ServerConfig(data=tmp_path, port=0), small()) as api:
        parent = api.fill("g", range(4))
        api.add(parent, {"twin.png": png(2)})
        request = FindMinimalImageRequest(parent=parent, image=ImageSource(content=png(2)), segment_count=20)
        taken = [one.step for one in api.units.FindMinimalImage(request) if one.WhichOneof("answer") == "step"]
        assert taken[0].prediction not in (f"{parent}/images/2.png", f"{parent}/images/twin.png")


def test_layers_say_whether_they_have_units(tmp_path):
    net = nn.Sequential()
    net.features = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU())
    net.avgpool = nn.AdaptiveAvgPool2d(4)
    net.classifier = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 3))
    model = model_of(Network("vgg-like", net.eval(), frozenset()))
    with api_of(ServerConfig(data=tmp_path, port=0), model) as api:
        layers = {layer.name: layer.has_units for layer in api.model(GetModelRequest()).layers}
        assert layers == {"features.1": True, "fc-6": False, "scores": False}
        parent = api.fill("g", range(2))
        assert outcome(lambda: describe(api, parent, layer="features.1")) == ("OK", "")
        assert failure(lambda: describe(api, parent, layer="fc-6"))[1] == "BAD_LAYER"
        assert failure(lambda: describe(api, parent, layer="scores"))[1] == "BAD_LAYER"


@pytest.mark.parametrize(
    ("method", "request_text", "expected"),
    [
        ("DecodeFilters", "", "BAD_LAYER"),
        ("DecodeFilters", 'layer: "features.0" channels: 64', "BAD_TARGET"),
        ("DecodeFilters", 'layer: "features.0" thresholds { aligned_share: 1.5 }', "BAD_REQUEST"),
        ("DecodeFilters", 'layer: "features.0" thresholds { flat_spread: nan }', "BAD_REQUEST"),
        ("DescribeLayerColors", 'layer: "features.0"', "BAD_REQUEST"),
        ("DescribeLayerColors", 'layer: "features.0" with_axes: true axis_setting { bin_deg: 7 }', "BAD_REQUEST"),
        (
            "DescribeLayerColors",
            'layer: "features.0" with_axes: true axis_setting { min_components: 9 max_components: 3 }',
            "BAD_REQUEST",
        ),
        (
            "DescribeLayerColors",
            'layer: "features.0" with_axes: true axis_setting { min_spread_deg: 0 }',
            "BAD_REQUEST",
        ),
        (
            "DescribeLayerColors",
            'layer: "features.0" with_axes: true axis_setting { min_spread_deg: 1e-300 }',
            "BAD_REQUEST",
        ),
        (
            "DescribeLayerColors",
            'layer: "features.0" with_axes: true axis_setting { min_components: 1 max_components: 20 bin_deg: 1 }',
            "BAD_REQUEST",
        ),
        ("DescribeLayerColors", 'layer: "features.0" with_selectivity: true', "BAD_NAME"),
        ("FindReceptiveField", "GALLERY", "BAD_LAYER"),
        (
            "FindReceptiveField",
            'GALLERY unit { layer: "features.3" channel: 500 }',
            "BAD_TARGET",
        ),
        (
            "FindReceptiveField",
            'GALLERY unit { layer: "features.3" cell { row: 1 } }',
            "BAD_REQUEST",
        ),
        (
            "FindReceptiveField",
            'GALLERY unit { layer: "features.3" } image_count: 13',
            "TOO_FEW_IMAGES",
        ),
        (
            "FindReceptiveField",
            'GALLERY unit { layer: "features.3" } occluder { side_px: 3 stride_px: 4 }',
            "BAD_WINDOW",
        ),
        (
            "FindReceptiveField",
            'GALLERY unit { layer: "features.3" } occluder { side_px: 0 }',
            "BAD_LIMIT",
        ),
        (
            "FindReceptiveField",
            'GALLERY unit { layer: "features.3" } occluder { threshold: 1 }',
            "BAD_WINDOW",
        ),
        ("SegmentUnits", 'GALLERY layer: "features.3" channels: 0', "BAD_REQUEST"),
        (
            "SegmentUnits",
            'GALLERY layer: "features.3" channels: 0 unit_limit: 2 image { content: "x" }',
            "BAD_REQUEST",
        ),
        (
            "SegmentUnits",
            'GALLERY layer: "features.3" channels: 0 detector_precision: 0.5 image { content: "x" }',
            "BAD_REQUEST",
        ),
        ("SegmentUnits", 'GALLERY layer: "features.3" detector_precision: 2 image { content: "x" }', "BAD_REQUEST"),
        ("SegmentUnits", 'GALLERY layer: "features.3" class_limit: 1001 image { content: "x" }', "BAD_REQUEST"),
        (
            "SegmentUnits",
            'GALLERY layer: "features.3" channels: 0 image { content: "x" }',
            "NOT_AN_IMAGE",
        ),
        (
            "SegmentUnits",
            'GALLERY layer: "features.3" channels: 500 image { IMAGE }',
            "BAD_TARGET",
        ),
        (
            "SegmentUnits",
            'GALLERY layer: "features.3" channels: 0 share: 0 image { IMAGE }',
            "BAD_REQUEST",
        ),
        (
            "SegmentUnits",
            'GALLERY layer: "features.3" channels: 0 quantile: nan image { IMAGE }',
            "BAD_REQUEST",
        ),
        (
            "SegmentUnits",
            'GALLERY layer: "features.3" channels: 0 match_limit: -1 image { IMAGE }',
            "BAD_REQUEST",
        ),
        ("FindMinimalImage", "image { IMAGE }", "BAD_NAME"),
        ("FindMinimalImage", "GALLERY", "BAD_REQUEST"),
        ("FindMinimalImage", 'image { IMAGE } class_name: "top1"', "NO_CLASS_SCORES"),
        ("FindMinimalImage", "GALLERY image { IMAGE } segment_count: 1", "BAD_LIMIT"),
        ("FindMinimalImage", 'GALLERY image { IMAGE } segmentation: "grid"', "BAD_REQUEST"),
        ("FindMinimalImage", 'GALLERY image { IMAGE } fill: "pink"', "BAD_REQUEST"),
    ],
)
def test_requests_that_cannot_be(api, gallery, method, request_text, expected):
    request = globals()[f"{method}Request"]()
    text = request_text.replace("IMAGE", f'image: "{gallery}/images/1.png"').replace("GALLERY", f'parent: "{gallery}"')
    Merge(text, request)
    assert failure(lambda: list(getattr(api.units, method)(request)))[1] == expected


def test_empty_galleries_and_galleries_of_one_image_say_so(api, fresh):
    parent = fresh()
    assert failure(lambda: describe(api, parent)) == ("FAILED_PRECONDITION", "TOO_FEW_IMAGES")
    api.add(parent, {"1.png": png(1)})
    request = FindMinimalImageRequest(parent=parent, image=ImageSource(image=f"{parent}/images/1.png"))
    assert failure(lambda: list(api.units.FindMinimalImage(request)))[1] == "BAD_TARGET"


def test_gray_galleries_have_no_colors_and_say_so(api, fresh):
    parent = fresh()
    api.add(parent, {f"{n}.png": encoded(Image.open(io.BytesIO(png(n))).convert("L")) for n in range(3)})
    [found] = units_of(describe(api, parent, channels=[0], with_colors=True))
    assert found.color.gray
    request = DescribeLayerColorsRequest(parent=parent, layer="features.0", with_selectivity=True)
    assert list(api.units.DescribeLayerColors(request))[-1].layer.gray


def test_layers_without_places_are_refused(tmp_path):
    with api_of(ServerConfig(data=tmp_path, port=0), small()) as api:
        parent = api.fill("g", range(2))
        assert failure(lambda: describe(api, parent, layer="fc"))[1] == "BAD_LAYER"
        request = DecodeFiltersRequest(layer="fc")
        assert failure(lambda: list(api.units.DecodeFilters(request)))[1] == "BAD_LAYER"


def test_a_canceled_pass_keeps_what_it_has(tmp_path, model):
    config = ServerConfig(data=tmp_path, port=0, batch_size=4)
    with api_of(config, model) as api:
        parent = api.fill("g", range(120))
        call = api.units.DescribeUnits(DescribeUnitsRequest(parent=parent, layer="features.4"))
        for answer in call:
            if answer.progress.done:
                call.cancel()
                break
        again = eventually(lambda: describe(api, parent, channels=[0]))
        assert again[0].progress.done > 0


def test_a_server_that_stops_ends_the_stream(tmp_path, model):
    with serving(ServerConfig(data=tmp_path, port=0), model) as server, connected(server) as api:
        parent = api.fill("g", range(12))
        call = api.units.DescribeUnits(DescribeUnitsRequest(parent=parent, layer="features.4", with_colors=True))
        next(call)
        server.stop()
        assert failure(lambda: list(call)) == ("UNAVAILABLE", "SHUTTING_DOWN")


def test_a_reading_token_may_look_at_units(tmp_path, model):
    (tmp_path / "read").write_text("reader\n")
    config = ServerConfig(data=tmp_path / "data", port=0, read_token_file=tmp_path / "read")
    with api_of(config, model) as api:
        request = DecodeFiltersRequest(layer="features.0", channels=[0])
        metadata = (("authorization", "Bearer reader"),)
        assert outcome(lambda: list(api.units.DecodeFilters(request, metadata=metadata)))[0] == "OK"
        assert failure(lambda: list(api.units.DecodeFilters(request)))[0] == "UNAUTHENTICATED"
