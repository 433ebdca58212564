import io
import math

import numpy as np
import pytest
from PIL import Image
from sample_pictures import png
from server_harness import failure

from whymatch.embed import InterActiveSetting, decode_image
from whymatch.embed.image import DecodeLimits
from whymatch.explain import explain_interactive
from whymatch.v1.embed_service_pb2 import GetModelRequest
from whymatch.v1.explain_service_pb2 import ExplainInterActiveRequest

LAYER = "features.5"


def asked(*settings: dict[str, object], **rest: object) -> ExplainInterActiveRequest:
    return ExplainInterActiveRequest(**{"image": {"content": png(3)}, "settings": settings, "size_px": 96} | rest)


def test_the_maps_are_those_of_the_network(api, model):
    settings = [
        InterActiveSetting(LAYER, "last", 1.0),
        InterActiveSetting(LAYER, "next", math.inf),
        InterActiveSetting("features.2", "features.8", 2.0),
    ]
    wanted = [{"layer": one.layer, "supervision": one.supervision, "norm": one.norm} for one in settings]
    answer = api.explain_interactive(asked(*wanted))
    expected = explain_interactive(model, png(3), settings, size_px=96)
    assert (answer.model, answer.input_width_px, answer.input_height_px) == (model.fingerprint, 128, 64)
    for result, setting, weight_map in zip(answer.results, settings, expected.maps, strict=True):
        values = np.array(result.map.values).reshape(result.map.rows, result.map.columns)
        np.testing.assert_allclose(values, weight_map.values, rtol=1e-4, atol=1e-5 * np.abs(values).max())
        assert (result.setting.layer, result.setting.norm) == (setting.layer, setting.norm)
        assert (result.map.width_px, result.map.height_px) == (96, 64)
        assert not result.descriptor
        assert not result.HasField("color_scale")


def test_supervision_and_norm_have_defaults(api):
    default, named = api.explain_interactive(
        asked({"layer": LAYER}, {"layer": LAYER, "supervision": "last", "norm": 2})
    ).results
    assert default == named


def test_an_input_keeps_the_shape_of_its_image_unless_it_is_warped(api):
    kept = api.explain_interactive(asked({"layer": LAYER}, size_px=256))
    warped = api.explain_interactive(asked({"layer": LAYER}, size_px=256, warp=True))
    assert (kept.input_width_px, kept.input_height_px) == (320, 224)
    assert (warped.input_width_px, warped.input_height_px) == (256, 256)


def test_descriptors_and_pictures_come_on_request(api, model):
    [result] = api.explain_interactive(asked({"layer": LAYER}, descriptor="max", overlays={"size_px": 48})).results
    [activeness] = explain_interactive(model, png(3), [InterActiveSetting(LAYER)], size_px=96).results
    np.testing.assert_allclose(result.descriptor, activeness.descriptor("max"), atol=1e-5)
    picture = Image.open(io.BytesIO(result.map.overlay_png))
    assert picture.size == (48, 32)
    assert result.color_scale.high == pytest.approx(max(map(abs, result.map.values)))


def test_a_stored_image_is_weighed_by_its_bytes(api, photos):
    stored = asked({"layer": LAYER}, image={"image": f"{photos}/images/3.png"})
    assert api.explain_interactive(stored).results == api.explain_interactive(asked({"layer": LAYER})).results


def test_the_model_lists_its_layers(api):
    layers = {layer.name: layer for layer in api.model(GetModelRequest()).layers}
    assert list(layers)[-1] == "features.12"
    assert layers["features.12"].channels == 512
    assert "features.0" in layers["features.1"].aliases


@pytest.mark.parametrize(
    ("request_", "reason", "message"),
    [
        (asked(), "BAD_REQUEST", "there are 0 `settings`; give 1 to 64"),
        (asked(*[{"layer": LAYER}] * 65), "BAD_REQUEST", "there are 65 `settings`"),
        (asked({"norm": 2}), "BAD_REQUEST", "a setting has no `layer`"),
        (asked({"layer": "features.55"}), "BAD_LAYER", "near it are features.5"),
        (asked({"layer": LAYER, "supervision": "features.3"}), "BAD_LAYER", "does not come after"),
        (asked({"layer": LAYER, "norm": 0.9}), "BAD_LAYER", "the norm must be 1 or more, or infinity, not 0.9"),
        (asked({"layer": LAYER, "norm": math.nan}), "BAD_LAYER", "not nan"),
        (asked({"layer": LAYER}, size_px=0), "BAD_REQUEST", "`size_px` is 0; take 32 to 1024"),
        (asked({"layer": LAYER}, size_px=1025), "BAD_REQUEST", "`size_px` is 1025"),
        (asked({"layer": LAYER}, descriptor="median"), "BAD_REQUEST", "take `average` or `max`"),
        (asked({"layer": LAYER}, image={"content": b"no image"}), "NOT_AN_IMAGE", "image"),
    ],
)
def test_what_cannot_be_weighed_is_refused_with_a_reason(api, request_, reason, message):
    with pytest.raises(Exception, match=message):
        api.explain_interactive(request_)
    assert failure(lambda: api.explain_interactive(request_)) == ("INVALID_ARGUMENT", reason)


def test_a_tiny_image_and_a_ribbon_are_weighed(api):
    for width, height in ((1, 1), (2000, 3)):
        content = io.BytesIO()
        Image.new("RGB", (width, height), "red").save(content, "PNG")
        answer = api.explain_interactive(asked({"layer": LAYER}, image={"content": content.getvalue()}))
        assert (answer.results[0].map.width_px, answer.results[0].map.height_px) == (width, height)
        assert decode_image(content.getvalue(), DecodeLimits()).size == (width, height)
