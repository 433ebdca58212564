import asyncio
import io
import math

import numpy as np
import pytest
from PIL import Image

from whymatch.client import AsyncClient, InterActiveSetting, InvalidArgument, Stored
from whymatch.client.draw.matches import interactive_sheet

HALF_PNG = Stored("half.png")
SETTINGS = [InterActiveSetting("first"), InterActiveSetting("first", "next", 3)]


def test_a_setting_has_its_map(colors):
    explanation = colors.explain_interactive(HALF_PNG, SETTINGS, size_px=64)
    first, second = explanation.results
    assert (first.setting, second.setting) == (InterActiveSetting("first", "last", 2.0), SETTINGS[1])
    assert first.map.values.shape == (1, 2)
    np.testing.assert_allclose(second.map.values, 3 * first.map.values, rtol=1e-6)
    assert (explanation.input_width_px, explanation.input_height_px) == (64, 32)
    assert (first.descriptor, first.color_scale, explanation.model) == (None, None, "fake, warp False")
    with pytest.raises(ValueError, match="overlays=True"):
        first.map.overlay()


def test_descriptors_pictures_and_warping_are_asked_for(colors):
    explanation = colors.explain_interactive(HALF_PNG, SETTINGS[:1], warp=True, descriptor="max", overlays=True)
    [result] = explanation.results
    assert result.descriptor.tolist() == pytest.approx([0.6, 0.8])
    assert result.map.overlay().size == (8, 4)
    assert result.color_scale.color_map
    assert (explanation.model, explanation.input_width_px) == ("fake, warp True", 512)


def test_one_setting_is_no_sequence_and_refusals_have_their_error(colors):
    with pytest.raises(TypeError, match=r"write settings=\[InterActiveSetting"):
        colors.explain_interactive(HALF_PNG, SETTINGS[0])
    with pytest.raises(InvalidArgument, match="no layer") as refused:
        colors.explain_interactive(HALF_PNG, [InterActiveSetting("missing")])
    assert refused.value.reason == "BAD_LAYER"


def test_the_model_has_layers(colors):
    first, last = colors.model().layers
    assert (first.name, first.aliases, first.channels) == ("first", ("conv", "relu"), 4)
    assert (last.name, last.aliases) == ("last", ())


def test_the_asyncio_client_answers_the_same(colors, address):
    async def scenario():
        async with AsyncClient(address) as client:
            return await client.explain_interactive(HALF_PNG, SETTINGS)

    theirs, ours = asyncio.run(scenario()), colors.explain_interactive(HALF_PNG, SETTINGS)
    for a, b in zip(theirs.results, ours.results, strict=True):
        np.testing.assert_array_equal(a.map.values, b.map.values)


def test_a_sheet_has_a_row_for_each_layer_and_is_bright_where_neurons_are_active(colors):
    settings = [InterActiveSetting(layer, "last", norm) for layer in ("first", "second") for norm in (1, 2, math.inf)]
    sheet = interactive_sheet(colors.explain_interactive(HALF_PNG, settings, overlays=True))
    one = interactive_sheet(colors.explain_interactive(HALF_PNG, settings[:1], overlays=True))
    assert sheet.width > 700 > one.height
    assert sheet.height > 1.8 * (one.height - 60)


def test_the_command_prints_one_map_as_it_is_and_several_as_a_list(ask, run, colors, tmp_path):
    found = ask("explain", "interactive", "image:half.png", "--layer", "first", "--norm", "inf", "--size-px", "96")
    assert list(found) == ["image", "model", "layer", "supervision", "norm", "input", "map"]
    assert (found["layer"], found["supervision"], found["norm"]) == ("first", "last", "inf")
    assert found["input"] == {"width": 96, "height": 32}
    assert (found["map"]["rows"], found["map"]["columns"], len(found["map"]["values"][0])) == (1, 2, 2)

    several = ["--layer", "first", "--layer", "a/b", "--supervision", "next", "--norm", "1", "--norm", "2"]
    folder = tmp_path / "maps"
    found = ask("explain", "interactive", "image:half.png", *several, "--descriptor", "max", "--maps", folder)
    assert [(one["layer"], one["norm"]) for one in found["results"]] == [
        ("first", 1),
        ("first", 2),
        ("a/b", 1),
        ("a/b", 2),
    ]
    assert found["results"][3]["descriptor"] == pytest.approx([0.6, 0.8])
    assert found["results"][3]["overlay"] == str(folder / "a_b-next-p2.png")
    assert len(list(folder.glob("*.png"))) == 9
    raw = np.asarray(Image.open(io.BytesIO((folder / "first-next-p1-raw.png").read_bytes())))
    assert raw.max() == 255
    assert raw.shape == (10, 20)

    lines = run("explain", "interactive", "image:half.png", *several).stdout.splitlines()
    assert lines[0] == "input 512 x 32 px"
    assert lines[1].startswith("first, next, p = 1: 1 x 2 cells, most active in row 0, column ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--layer"),
        (["--layer", "first", "--norm", "0.5"], "take 1 or more, or inf"),
        (["--layer", "first", "--norm", "nan"], "nan; take 1 or more"),
        (["--layer", "first", "--size-px", "16"], "32"),
        (["--layer", "first", "--descriptor", "max"], "requires --json"),
        (["--layer", "missing"], "'missing' is no layer"),
    ],
)
def test_wrong_options_are_named(run, colors, arguments, message):
    result = run("explain", "interactive", "image:half.png", *arguments)
    assert result.exit_code in (2, 5)
    assert message in result.stderr


def test_the_layers_are_listed(ask, run, colors):
    assert ask("layers")["layers"][0] == {
        "name": "first",
        "aliases": ["conv", "relu"],
        "channels": 4,
        "has_units": True,
    }
    assert run("layers").stdout.splitlines() == ["first\t4 channels\tconv relu", "last\t3 channels\t"]
