"""`search`, `rerank` and `explain` on the command line; the numbers are those of `test_regions.py`."""

import numpy as np
import PIL.Image
import pytest

from whymatch.client import Box, ComponentShares, Region
from whymatch.client.apps.documents import component_shares
from whymatch.client.cli.explain import print_components
from whymatch.client.cli.regions import boxes

HALF = 0.5**0.5
LEFT = {"left_px": 0, "top_px": 0, "right_px": 2, "bottom_px": 2}
RIGHT = {"left_px": 2, "top_px": 0, "right_px": 4, "bottom_px": 2}


@pytest.mark.parametrize("region", ["0,0,2,2", "0%,0%,50%,100%"])
def test_search_by_region(run, ask, colors, region):
    found = ask("search", "--image", "half.png", "--region", region)
    assert list(found["matches"][1]) == [
        "name",
        "label",
        "score",
        "image_score",
        "metadata",
        "content_sha256",
        "region_share",
    ]
    assert [(match["name"], round(match["region_share"], 3)) for match in found["matches"]] == [
        ("red.png", 1),
        ("half.png", 0.5),
        ("green.png", 0),
    ]
    assert run("search", "--image", "half.png", "--region", region).stdout.splitlines()[:3] == [
        "rank   score  share   label  name",
        "   1  0.7071  100.0%  red    red.png",
        "   2  0.5000   50.0%  half   half.png",
    ]


def test_regions_may_be_given_repeatedly_and_against(ask, colors):
    found = ask("search", "--image", "half.png", "--region", "0,0,2,2", "--region", "2,0,2,2:-0.5")
    assert found["matches"][2]["score"] == pytest.approx(-HALF / 2)


def test_a_lone_negative_region_counts_against_the_rest_and_says_so(run, ask, colors):
    alone = ["search", "--image", "half.png", "--region", "2,0,2,2:-0.5"]
    stated = ask("search", "--image", "half.png", "--region", "0,0,2,2", "--region", "2,0,2,2:-0.5")
    assert ("rest_counts" in stated, ask(*alone)["rest_counts"]) == (False, ["query"])
    assert ask(*alone)["matches"] == stated["matches"]
    said = "no region of the query has a weight above 0: the rest of it counts with weight 1"
    assert said in run(*alone).stderr
    assert "the rest of it" not in run(*alone, "--region", "0,0,2,2").stderr


def test_what_is_ignored_is_left_out(run, ask, colors):
    left = ask("search", "--image", "half.png", "--region", "0,0,2,2")["matches"]
    assert ask("search", "--image", "half.png", "--ignore", "2,0,2,2")["matches"] == left
    assert ask("search", "--image", "half.png", "--region", "0,0,4,2", "--ignore", "50%,0%,50%,100%")["matches"] == left
    assert "the rest of it" not in run("search", "--image", "half.png", "--ignore", "2,0,2,2").stderr


def test_search_for_the_best_of_each_label(ask, colors, picture):
    colors.add_image(picture("red", "blue"), name="purple.png", label="red")
    found = ask("search", "--image", "red.png", "--best-per-label")
    assert [match["label"] for match in found["matches"]] == ["red", "half", "green"]


def test_search_and_rerank_leave_the_query_out(ask, colors, save):
    every, others = (
        [match["name"] for match in ask("search", save("query.png"), *flag)["matches"]]
        for flag in ([], ["--exclude-itself"])
    )
    assert every == ["red.png", *others]
    ranked = ask("rerank", "--image", "red.png", "--match-region", "0%,0%,50%,100%", "--exclude-itself")
    assert "red.png" not in [match["name"] for match in ranked["matches"]]


def test_rerank_by_a_part_of_the_match(run, ask, colors, save, tmp_path):
    query = save("query.png")
    arguments = ["rerank", query, "--match-region", "0%,0%,50%,100%"]
    found = ask(*arguments, "--maps", tmp_path / "maps", "--limit", "2")
    assert found["query"] == str(query)
    assert [(match["name"], match["score"]) for match in found["matches"]] == [
        ("half.png", pytest.approx(HALF)),
        ("red.png", pytest.approx(0.5)),
    ]
    assert found["matches"][0]["match_map"]["overlay"] == str(tmp_path / "maps" / "01-match.png")
    assert (tmp_path / "maps" / "sheet.png").exists()
    assert [match["name"] for match in ask(*arguments, "--candidates", "1")["matches"]] == ["red.png"]
    named = ask(*arguments, "--candidate", "green.png", "--candidate", "red.png", "--with-maps")["matches"]
    assert [match["name"] for match in named] == ["red.png", "green.png"]
    assert named[0]["query_map"]["total"] == named[0]["match_map"]["total"] == pytest.approx(0.5)
    assert "half.png" in run(*arguments, "--label", "half").stdout


def test_rerank_by_parts_of_both(ask, colors):
    found = ask("rerank", "--image", "half.png", "--query-region", "0,0,2,2", "--match-region", "50%,0%,50%,100%")
    assert (found["matches"][0]["name"], found["matches"][0]["region_share"]) == ("red.png", pytest.approx(0.5))


def test_explain_match_in_full(run, ask, colors, tmp_path):
    arguments = ["explain", "match", "image:half.png", "image:half.png", "--correspondences", "2", "--channels", "1"]
    found = ask(*arguments, "--maps", tmp_path)
    half = pytest.approx(0.5)
    assert found["image_score"] == pytest.approx(1)
    assert found["channels"] == [{"channel": 0, "score": half, "share": half}]
    assert found["correspondences"] == [
        {"query_box": LEFT, "match_box": LEFT, "score": half},
        {"query_box": RIGHT, "match_box": RIGHT, "score": half},
    ]
    assert list(found["query_map"]) == ["rows", "columns", "values", "total", "best_box", "overlay"]
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["match.png", "query.png", "sheet.png"]
    text = run(*arguments).stdout
    assert "leading dimensions 0: 0.5000 (50.0%)" in text
    assert "   2   0.500000  query 2,0,2,2  match 2,0,2,2" in text


def test_explain_match_by_region(run, ask, colors):
    arguments = ["explain", "match", "image:half.png", "image:half.png", "--query-region", "0,0,2,2"]
    found = ask(*arguments, "--match-region", "2,0,2,2")
    assert (found["score"], found["image_score"]) == (pytest.approx(0), pytest.approx(1))
    assert found["query_map"]["best_box"] is None
    assert run(*arguments).stdout.startswith("score 0.5000 of the 1.0000 of the whole images\n")


@pytest.mark.parametrize("side", ["query", "match"])
def test_explain_point_maps_it_in_the_other_image(ask, colors, side, tmp_path):
    other = "match_map" if side == "query" else "query_map"
    found = ask("explain", "point", "image:half.png", "image:half.png", f"--{side}-point", "3,1", "--maps", tmp_path)
    assert found[other]["values"] == [[0, pytest.approx(0.5)]]
    assert found[other]["best_box"] == RIGHT
    assert (tmp_path / "sheet.png").exists()


def test_explain_label_of_several_images_has_one_scale(run, ask, colors, save, tmp_path):
    arguments = ["explain", "label", "image:half.png", save("query.png", "yellow"), "red"]
    half, yellow = ask(*arguments, "--maps", tmp_path / "maps")
    assert (half["query"], half["label"], half["score"]) == ("image:half.png", "red", pytest.approx(HALF))
    assert (yellow["query"], yellow["score"]) == (str(arguments[3]), pytest.approx(HALF))
    files = [tmp_path / "maps" / name for name in ("01-query.png", "02-query.png")]
    assert [half["query_map"]["overlay"], yellow["query_map"]["overlay"]] == [str(file) for file in files]
    assert (tmp_path / "maps" / "sheet.png").exists()
    lines = run(*arguments).stdout.splitlines()
    assert lines[0] == "image:half.png: score 0.7071, the mean over 1 images labeled 'red'"
    assert len(lines) == 4


def test_explain_label_needs_an_image_and_a_label(run, colors):
    assert "Missing argument" in run("explain", "label", "red").stderr
    assert "there is no file 'red'" in run("explain", "label", "red", "green").stderr


def test_explain_label(run, ask, colors, tmp_path):
    found = ask("explain", "label", "image:half.png", "red", "--maps", tmp_path)
    assert list(found) == ["query", "label", "model", "score", "image_count", "query_map"]
    assert (found["label"], found["image_count"], found["score"]) == ("red", 1, pytest.approx(HALF))
    assert found["query_map"]["overlay"] == str(tmp_path / "query.png")
    assert (tmp_path / "sheet.png").exists()
    text = run("explain", "label", "image:half.png", "red").stdout
    assert "score 0.7071, the mean over 1 images labeled 'red'" in text
    assert "100% of its positive values in 0,0,2,2" in text


def test_explain_components(run, ask, colors, tmp_path):
    plot = tmp_path / "components.png"
    found = ask("explain", "components", "--pairs", "7", "--seed", "3", "--plot", plot)
    assert found == {
        "model": "fake, seed 3",
        "pair_count": 7,
        "mean_shares": [0.5, 0.75, 1],
        "low_shares": [0.25, 0.5, 1],
        "high_shares": [0.75, 1, 1],
        "marked": None,
    }
    with PIL.Image.open(plot) as picture:
        assert picture.size == (720, 460)
    assert run("explain", "components").stdout.splitlines()[1:] == [
        "     1   50.0%   25.0% to  75.0%",
        "     2   75.0%   50.0% to 100.0%",
        "     3  100.0%  100.0% to 100.0%",
    ]


def test_ten_channels_are_marked_in_words_and_in_json(capsys):
    curves = (np.linspace(start, 1, 12, dtype=np.float32) for start in (0.5, 0.25, 0.75))
    shares = ComponentShares(*curves, pair_count=7, model="m")
    print_components(shares)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["1", "2", "4", "8", "10", "12"]
    assert [line for line in lines if "figure 3" in line] == [lines[5]]
    assert component_shares(shares)["marked"] == {
        "channels": 10,
        "mean_share": pytest.approx(0.5 + 0.5 * 9 / 11),
        "low_share": pytest.approx(0.25 + 0.75 * 9 / 11),
        "high_share": pytest.approx(0.75 + 0.25 * 9 / 11),
    }


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["search", "--image", "a", "--region", "1,2,3"], "X,Y,W,H"),
        (["search", "--image", "a", "--mask", "gone.png"], "no file"),
        (["search", "--image", "a", "--box-share", "0"], "more than 0 and at most 1"),
        (["search", "--image", "a", "--box-share", "nan"], "more than 0 and at most 1"),
        (["search", "--embedding", "-", "--region", "0,0,2,2"], "an embedding has no regions"),
        (["search", "--embedding", "-", "--exclude-itself"], "--exclude-itself requires an image"),
        (["rerank", "--image", "a"], "--query-region"),
        (["rerank", "--match-region", "0,0,2,2"], "give one query"),
        (["rerank", "gone.png", "--match-region", "0,0,2,2"], "no file"),
        (["rerank", "--image", "a", "--match-region", "0,0,2,2", "--candidate", "b", "--label", "c"], "excludes"),
        (["rerank", "--image", "a", "--match-region", "0,0,2,2", "--candidate", "b", "--candidates", "5"], "excludes"),
        (["rerank", "--image", "a", "--match-region", "0,0,2,2", "--with-maps"], "--json"),
        (["explain", "match", "image:a", "image:b", "--correspondences", "1001"], "to 1000"),
        (["explain", "point", "image:a", "image:b"], "give one point"),
        (["explain", "point", "image:a", "image:b", "--query-point", "1,1", "--match-point", "1,1"], "give one point"),
        (["explain", "point", "image:a", "image:b", "--query-point", "1"], "X,Y"),
        (["explain", "label", "gone.png", "dog"], "image:NAME"),
        (["explain", "components", "--pairs", "0"], "to 1"),
        (["explain", "components", "--plot", "curve.pdf"], "PNG"),
    ],
)
def test_misuse_exits_with_2_and_says_what_to_write(run, arguments, said):
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in " ".join(result.stderr.replace("│", " ").split())


def test_shares_beyond_the_edge_are_cut_at_it():
    [region] = boxes(["50%,-10%,100%,200%:-0.5"], "--region")
    assert region == Region(Box(0.5, 0, 1, 1), -0.5, relative=True)
