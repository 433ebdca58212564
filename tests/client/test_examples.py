"""Search by examples from Python and on the command line; the fake server's default weight is 1."""

import json

import numpy as np
import PIL.Image
import pytest

from whymatch.client import Box, Embedding, Example, Region, Stored
from whymatch.client.errors import InvalidArgument

HALF = 0.5**0.5
LEFT = Region(Box(0, 0, 2, 2))
RED, GREEN = Stored("red.png"), Stored("green.png")


def test_shares_add_up_to_the_scores(colors):
    found = colors.search(like=[RED], unlike=[GREEN])
    assert [match.name for match in found] == ["red.png", "half.png", "green.png"]
    assert [match.score for match in found] == pytest.approx([HALF, 0, -HALF], abs=1e-6)
    assert found[1].shares == pytest.approx((0.5, -0.5))
    assert [match.example_maps for match in found] == [()] * 3


def test_examples_have_weights_regions_and_maps(colors, tmp_path):
    file = tmp_path / "half.png"
    file.write_bytes(colors.content("half.png"))
    vector = np.array([0.0, 0.0, 2.0])
    like = [Example(file, regions=[LEFT], weight=3), vector, Embedding(vector, model="")]
    first, *_ = colors.search(like=like, unlike=[Example(GREEN, weight=2)], with_maps=True)
    assert first.name == "red.png"
    assert first.shares == pytest.approx(np.array([3, 0, 0, 0]) / 17**0.5)
    of_region, none, nothing, of_green = first.example_maps
    assert none is nothing is None
    assert np.allclose(of_region.values, [[3 / 17**0.5, 0]])
    assert of_green.total == pytest.approx(first.shares[3])
    assert first.match_map.total == pytest.approx(first.score)
    assert json.dumps(first.to_dict()["shares"]) == json.dumps(list(first.shares))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "a query, or examples"),
        ({"query": RED, "like": [GREEN]}, "a query, or examples"),
        ({"like": "a.png"}, r"like is a sequence of examples, not one str; write like=\[...\]"),
        ({"unlike": RED}, "unlike is a sequence of examples, not one Stored"),
    ],
)
def test_what_is_no_list_of_examples_is_refused(colors, arguments, said):
    with pytest.raises(TypeError, match=said):
        colors.search(**arguments)


def test_examples_that_cancel_are_refused(colors):
    with pytest.raises(InvalidArgument, match="cancel") as caught:
        colors.search(like=[RED], unlike=[RED])
    assert caught.value.reason == "EXAMPLES_CANCEL"


def test_the_command_line_shows_the_share_of_each_example(run, ask, colors, tmp_path):
    file = tmp_path / "half.png"
    file.write_bytes(colors.content("half.png"))
    asked = ["search", "--like", "image:red.png", "--like", file, "--unlike", "image:green.png:0.5"]
    found = ask(*asked)
    assert (found["like"], found["unlike"]) == (["image:red.png", str(file)], ["image:green.png:0.5"])
    assert "query" not in found
    for match in found["matches"]:
        assert len(match["shares"]) == 3
        assert sum(match["shares"]) == pytest.approx(match["score"], abs=1e-6)
    assert run(*asked).stdout.splitlines()[:2] == [
        "rank   score    like 1    like 2  unlike 1  label  name",
        "   1  0.9927   +0.5815   +0.4112   +0.0000  red    red.png",
    ]


def test_maps_are_put_into_the_document_and_drawn(ask, colors, tmp_path):
    found = ask("search", "--like", "image:red.png", "--unlike", "image:green.png", "--maps", tmp_path)
    best = found["matches"][0]
    assert [one["total"] for one in best["example_maps"]] == pytest.approx(best["shares"])
    assert best["example_maps"][1]["overlay"] == str(tmp_path / "01-example-2.png")
    assert {file.name for file in tmp_path.glob("01-*.png")} == {"01-match.png", "01-example-1.png", "01-example-2.png"}
    with PIL.Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 3 * 260


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--image", "red.png", "--like", "image:green.png"], "--like and --unlike replace the query"),
        (["--like", "nothing.png"], "there is no file 'nothing.png'"),
        (["--like", "image:red.png:0"], "take a weight above 0"),
        (["--like", "image:red.png", "--region", "0,0,1,1"], "examples have no regions on the command line"),
        ([], "examples as --like FILE"),
    ],
)
def test_misuse_is_refused(run, colors, arguments, said):
    refused = run("search", *arguments)
    assert refused.exit_code == 2
    assert said in " ".join(refused.stderr.replace("│", " ").split())
