import json

import numpy as np
import pytest
from sample_pictures import png
from server_harness import failure
from small_weights import DIMENSIONS

from whymatch.v1.embed_service_pb2 import EmbedImageRequest, GetModelRequest
from whymatch.v1.explain_service_pb2 import ExplainMatchRequest


def stored(parent: str, seed: int) -> dict[str, object]:
    return {"image": f"{parent}/images/{seed}.png"}


@pytest.mark.parametrize("gallery", ["photos", "lean"])
def test_the_maps_of_two_images_add_up_to_their_cosine(api, embed, gallery, request):
    parent = request.getfixturevalue(gallery)
    why = api.explain(ExplainMatchRequest(query={"content": png(30)}, match=stored(parent, 4)))
    assert why.score == pytest.approx(float(embed(png(30)).embedding @ embed(png(4)).embedding), abs=1e-3)
    assert why.query_map.total == pytest.approx(why.score, abs=1e-5)
    assert why.match_map.total == pytest.approx(why.score, abs=1e-3)
    assert why.residual == pytest.approx(
        max(abs(one.total - why.score) for one in (why.query_map, why.match_map)), abs=1e-6
    )
    assert not why.HasField("color_scale")


def test_exchanging_the_images_exchanges_the_maps(api):
    there, back = (
        api.explain(ExplainMatchRequest(query={"content": png(a)}, match={"content": png(b)}))
        for a, b in [(1, 2), (2, 1)]
    )
    np.testing.assert_allclose(there.query_map.values, back.match_map.values, atol=1e-6)


def test_pictures_come_with_their_scale(api, photos):
    why = api.explain(ExplainMatchRequest(query=stored(photos, 1), match=stored(photos, 2), overlays={"size_px": 32}))
    assert why.query_map.overlay_png.startswith(b"\x89PNG")
    assert why.match_map.overlay_png.startswith(b"\x89PNG")
    assert why.color_scale.high == pytest.approx(max(*why.query_map.values, *why.match_map.values))


def test_a_missing_side_is_named(api):
    assert failure(lambda: api.explain(ExplainMatchRequest(query={"content": png(1)}))) == (
        "INVALID_ARGUMENT",
        "BAD_REQUEST",
    )


def test_the_embedding_is_the_models_own(api, embed, model):
    answer = api.embed(EmbedImageRequest(image={"content": png(5)}, with_feature_map=True))
    expected, grid = embed(png(5)), answer.feature_map
    np.testing.assert_allclose(answer.embedding, expected.embedding, atol=1e-5)
    alpha = np.array(grid.values).reshape(grid.rows, grid.columns, grid.channels)
    np.testing.assert_allclose(alpha, expected.feature_map, atol=1e-4)
    assert (answer.width_px, answer.height_px, answer.model) == (96, 64, model.fingerprint)


@pytest.mark.parametrize("gallery", ["photos", "lean"])
@pytest.mark.parametrize("with_feature_map", [False, True])
def test_a_stored_image_has_the_embedding_of_its_bytes(api, embed, gallery, request, with_feature_map):
    source = stored(request.getfixturevalue(gallery), 5)
    answer = api.embed(EmbedImageRequest(image=source, with_feature_map=with_feature_map))
    np.testing.assert_allclose(answer.embedding, embed(png(5)).embedding, atol=1e-5)
    assert (answer.width_px, answer.height_px) == (96, 64)
    assert answer.HasField("feature_map") == with_feature_map


def test_the_model_describes_itself(api, model):
    answer = api.model(GetModelRequest())
    assert (answer.fingerprint, answer.backbone, answer.dimensions) == (model.fingerprint, "squeezenet1_1", DIMENSIONS)
    assert (answer.layer, answer.pooling, answer.precision) == (model.trunk.layer, "average", "float32")
    assert json.loads(answer.description_json)["backbone"] == "squeezenet1_1"


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "NOT_AN_IMAGE"), (b"hello", "NOT_AN_IMAGE"), (png(1)[:300], "BROKEN_IMAGE")],
)
def test_bytes_that_are_no_image_are_refused_everywhere(api, photos, content, reason):
    from whymatch.v1.search_service_pb2 import SearchRequest

    source = {"content": content}
    calls = [
        lambda: api.embed(EmbedImageRequest(image=source)),
        lambda: api.search(SearchRequest(parent=photos, image=source)),
        lambda: api.explain(ExplainMatchRequest(query=source, match=stored(photos, 1))),
    ]
    assert [failure(call) for call in calls] == [("INVALID_ARGUMENT", reason)] * 3
