"""Galleries of other layers: what is pooled, that its maps still add up, and how a model names it."""

import numpy as np
import pytest
import torch
from sample_pictures import png
from small_weights import SMALL

from whymatch.embed import BadLayer, DecodeLimits, InterActiveSetting, load_named_model
from whymatch.embed.taps import parse_tap, scaled
from whymatch.explain import explain_match

SPECS = [
    f"{SMALL}@features.7",
    f"{SMALL}:max@features.7,last",
    f"{SMALL}:gem@features.4,next,1",
    f"{SMALL}@features.4,last,2+features.12",
]


def prepared(model, seed=1):
    return model.prepare(png(seed, 96, 64), DecodeLimits())


@pytest.mark.parametrize("spec", SPECS)
def test_maps_of_other_layers_add_up_to_the_score(spec):
    model = load_named_model(spec, size_px=96)
    query, match = model.features([prepared(model, seed) for seed in (1, 2)])
    explanation = explain_match(query, match)
    assert model.dimensions == query.feature_map.shape[2] == len(query.embedding)
    assert abs(explanation.score) > 1e-3
    assert explanation.residual < 1e-5
    np.testing.assert_allclose(query.contributions().sum((0, 1)), query.embedding, atol=1e-5)


def test_a_layer_as_it_is(model):
    tapped = load_named_model(f"{SMALL}@features.7", size_px=96)
    image = prepared(tapped)
    [features] = tapped.features([image])
    [[activeness]] = tapped.weigh(np.stack([image.pixels]), [InterActiveSetting("features.7")])
    expected = activeness.responses / np.linalg.norm(activeness.responses.mean((0, 1)))
    np.testing.assert_allclose(features.feature_map, expected, rtol=1e-5, atol=1e-6)


def test_a_weighed_layer_has_the_direction_of_its_descriptor():
    model = load_named_model(f"{SMALL}@features.7,last,2", size_px=96)
    image = prepared(model)
    [[activeness]] = model.weigh(np.stack([image.pixels]), [InterActiveSetting("features.7", "last", 2.0)])
    [features] = model.features([image])
    np.testing.assert_allclose(features.embedding, activeness.descriptor(), atol=1e-5)


def test_concatenated_layers_count_alike_and_keep_their_means():
    both = load_named_model(f"{SMALL}@features.4,last,2+features.12", size_px=96)
    image = prepared(both)
    [features] = both.features([image])
    alone = [load_named_model(f"{SMALL}@{tap}", size_px=96).features([image])[0] for tap in both.tap.text.split("+")]
    assert features.feature_map.shape[:2] == alone[1].feature_map.shape[:2]
    expected = np.concatenate([one.embedding for one in alone]) / np.sqrt(2)
    np.testing.assert_allclose(features.embedding, expected, atol=1e-4)


def test_a_batch_is_each_image_alone():
    model = load_named_model(f"{SMALL}@features.7,last", size_px=96)
    images = [prepared(model, seed) for seed in (1, 2, 3)]
    for together, image in zip(model.features(images), images, strict=True):
        np.testing.assert_allclose(together.embedding, model.features([image])[0].embedding, atol=1e-5)


def test_the_fingerprint_knows_what_is_pooled(model):
    fingerprints = {load_named_model(spec).fingerprint for spec in (*SPECS, f"{SMALL}@features.7,last,1")}
    assert len({*fingerprints, model.fingerprint}) == len(SPECS) + 2
    named = load_named_model(f"{SMALL}@features.7")
    assert (named.layer, named.description["layer"], model.layer) == ("features.7", "features.7", "features.12")


def test_cells_that_cancel_out_do_not_blow_up():
    maps = torch.tensor([1.0, -1.0, 0.0, 0.0]).view(1, 1, 2, 2)
    assert float(scaled(maps).abs().max()) == pytest.approx(1 / (1e-3 * 0.5))
    assert not scaled(torch.zeros(1, 3, 2, 2)).any()


@pytest.mark.parametrize(
    ("tap", "message"),
    [
        ("features.77", "near it are features.7"),
        ("", "'' is no layer to pool"),
        ("features.7+", "'' is no layer to pool"),
        ("features.7,last,2,3", "is no layer to pool; write LAYER, or LAYER,SUPERVISION,NORM"),
        ("features.7,last,two", "the norm 'two'"),
        ("features.7,last,0.5", "the norm must be 1 or more"),
        ("features.12,last", "'features.12' is the last layer"),
        ("features.7,features.4", "does not come after"),
    ],
)
def test_what_cannot_be_pooled_is_refused(model, tap, message):
    with pytest.raises(BadLayer, match=message):
        parse_tap(tap, model.layers)
