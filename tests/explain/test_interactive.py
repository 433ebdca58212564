from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sample_pictures import png

from whymatch.embed import BadLayer, DecodeLimits, InterActiveSetting, Model, load_model
from whymatch.embed.networks import untrained_network
from whymatch.explain import explain_interactive, reweighted_scores


@pytest.fixture(scope="module", params=["squeezenet1_1", "regnet_x_200mf"])
def classifying(request, tmp_path_factory) -> tuple[Model, torch.nn.Module]:
    """A model with class scores, and the network that it was made of."""
    torch.manual_seed(1)
    module = untrained_network(request.param).module
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    save_file(module.state_dict(), path)
    return load_model(request.param, weights=path, size_px=96), module


def pixels_of(model: Model) -> np.ndarray:
    return np.stack([model.prepare(png(seed, 96, 96), DecodeLimits()).pixels for seed in (1, 2)])


def test_the_plain_scores_are_the_networks_own(classifying):
    model, module = classifying
    plain, _ = reweighted_scores(model, pixels_of(model))
    with torch.inference_mode():
        expected = module(model.inputs(pixels_of(model)))
    np.testing.assert_allclose(plain, expected, rtol=1e-3, atol=1e-4)


def test_the_scores_again_are_those_of_weighed_responses_of_the_same_length(classifying):
    model, module = classifying
    _, again = reweighted_scores(model, pixels_of(model), norm=1.0)
    last = model.layers.last.name
    for scores, [activeness] in zip(
        again, model.weigh(pixels_of(model), [InterActiveSetting(last, "next", 1.0)]), strict=True
    ):
        length = np.linalg.norm(activeness.responses) / np.linalg.norm(activeness.weighted)
        maps = torch.from_numpy(activeness.weighted * length).permute(2, 0, 1)[None]
        tail = getattr(module, "fc", None)
        expected = tail(maps.mean((2, 3))) if tail else module.classifier(maps)
        np.testing.assert_allclose(scores, expected[0].detach().flatten(), rtol=1e-3, atol=1e-4)
        assert np.abs(activeness.weights).max() > 0


def test_class_scores_in_bfloat16_are_near_those_in_float32(tmp_path):
    torch.manual_seed(1)
    save_file(untrained_network("regnet_x_200mf").module.state_dict(), tmp_path / "weights.safetensors")
    models = [
        load_model("regnet_x_200mf", weights=tmp_path / "weights.safetensors", size_px=96, precision=precision)
        for precision in ("float32", "bfloat16")
    ]
    exact, rough = (reweighted_scores(model, pixels_of(model))[0] for model in models)
    np.testing.assert_allclose(rough, exact, atol=0.1 * np.abs(exact).max())


def test_a_model_without_class_scores_says_so(classifying):
    model, _ = classifying
    bare = replace(model, trunk=replace(model.trunk, classifier=None, top=()))
    with pytest.raises(BadLayer, match="its weights lack its classifier"):
        reweighted_scores(bare, pixels_of(model))


def test_an_explanation_has_a_map_for_each_setting_in_the_place_of_its_image(model):
    settings = [InterActiveSetting("features.4"), InterActiveSetting("features.7", "next", 1.0)]
    explanation = explain_interactive(model, png(1, 90, 60), settings, size_px=128)
    assert explanation.settings == tuple(settings)
    assert explanation.input_size == (160, 96)
    assert (explanation.placement.width_px, explanation.placement.height_px) == (90, 60)
    for weight_map, result in zip(explanation.maps, explanation.results, strict=True):
        assert weight_map.values.shape == result.responses.shape[:2]
        weights = np.broadcast_to(result.weights, result.responses.shape)
        np.testing.assert_allclose(weight_map.values, weights.sum(axis=2), rtol=1e-4, atol=1e-4)
