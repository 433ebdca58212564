"""Why A before B, where an image stands, and the labels around a query, by hand: the half of half.png is red, or green.

Its map with red.png is 0.7071 and 0, that with green.png 0 and 0.7071, and that with itself 0.5 and 0.5.
"""

import json

import numpy as np
import PIL.Image
import pytest

from whymatch.client import Box, Label, NotFound, Region, Stored

HALF = 0.5**0.5
HALF_PNG = Stored("half.png")
LEFT, RIGHT = Box(0, 0, 2, 2), Box(2, 0, 4, 2)


def test_the_gap_lies_where_one_map_is_above_the_other(colors):
    why = colors.explain_ranking(HALF_PNG, Stored("red.png"), HALF_PNG)
    np.testing.assert_allclose(why.difference_map.values, [[HALF - 0.5, -0.5]], atol=1e-6)
    assert why.gap == pytest.approx(HALF - 1)
    assert why.difference_map.total == pytest.approx(why.gap)
    assert (why.first.score, why.second.score) == (pytest.approx(HALF), pytest.approx(1))
    assert [(one.channel, round(one.score, 4)) for one in why.channels] == [(1, -0.5), (0, 0.2071), (2, 0.0)]
    assert [(one.box, round(one.share, 4)) for one in why.cells] == [(RIGHT, 1.7071), (LEFT, -0.7071)]
    assert [str(cell) for cell in why.cells] == ["-0.5000 (170.7%)", "0.2071 (-70.7%)"]
    assert why.first.match_map.total == pytest.approx(HALF)


def test_without_a_gap_there_are_no_shares(colors):
    why = colors.explain_ranking(HALF_PNG, Stored("red.png"), Stored("green.png"), cell_limit=1, channel_limit=0)
    assert (why.gap, why.channels, [str(cell) for cell in why.cells]) == (0, (), ["0.7071"])


def test_labels_are_compared_by_their_means_in_the_clients_gallery(colors, picture):
    colors.add_image(picture("red", "blue"), name="purple.png", label="red")
    why = colors.explain_ranking(picture("red"), Label("red"), Label("green"))
    assert (why.gap, why.first.image_count) == (pytest.approx((1 + HALF) / 2), 2)
    assert (why.first.match_map, why.first.content_sha256) == (None, "")
    with pytest.raises(NotFound, match="no image is labeled 'gray'"):
        colors.explain_ranking(picture("red"), Label("gray"), Label("green"))


def test_a_region_alone_has_a_gap(colors):
    why = colors.explain_ranking(HALF_PNG, Stored("red.png"), Stored("green.png"), query_regions=[Region(LEFT)])
    assert (why.gap, why.difference_map.total) == (pytest.approx(HALF), pytest.approx(HALF))


def test_an_image_stands_behind_those_that_score_more(colors, picture):
    standing = colors.explain_rank(picture("red"), "half.png", limit=1)
    assert (standing.rank, standing.image_count, standing.rival, standing.rival_rank) == (2, 3, "red.png", 1)
    assert (standing.score, standing.needed_score) == (pytest.approx(HALF), pytest.approx(1))
    assert colors.explain_rank(picture("red"), "half.png").rival_rank == 3


def test_neighbors_have_labels_with_shares(colors, picture):
    found = colors.explain_neighbors(picture("red"), limit=2, label_limit=1)
    assert [(one.label, one.neighbor_count, one.share) for one in found.neighbors] == [
        ("red", 1, 0.5),
        ("half", 1, 0.5),
    ]
    assert found.neighbors[0].score_share == pytest.approx(1 / (1 + HALF))
    assert [one.label for one in (*found.best_labels, *found.worst_labels)] == ["red", "half"]


# Commands


def test_explain_ranking_writes_one_document(ask, colors):
    found = ask("explain", "ranking", "image:half.png", "image:red.png", "half.png")
    assert list(found) == ["query", "first", "second", "model", "gap", "residual", "map", "channels", "cells"]
    assert found["gap"] == pytest.approx(HALF - 1)
    assert (found["map"]["rows"], found["map"]["columns"]) == (1, 2)
    assert np.sum(found["map"]["values"]) == pytest.approx(found["map"]["total"]) == pytest.approx(found["gap"])
    assert (found["first"]["name"], found["second"]["name"]) == ("red.png", "half.png")
    assert sum(one["score"] for one in found["channels"]) == pytest.approx(found["gap"])


def test_explain_ranking_says_what_leads(run, colors):
    assert run("explain", "ranking", "image:half.png", "red.png", "half.png", "--cells", 1).stdout.splitlines() == [
        "score 0.7071  red.png",
        "score 1.0000  half.png",
        "gap -0.2929, query map adds up to -0.2929",
        "residual 1.0e-07",
        "leading dimensions 1: -0.5000 (170.7%), 0: 0.2071 (-70.7%), 2: 0.0000",
        "leading cells of the query, each left,top,width,height in pixels:",
        "rank      score  of the gap",
        "   1  -0.500000      170.7%  2,0,2,2",
    ]


def test_matches_may_be_named_by_rank_and_labels_by_name(ask, run, colors, save):
    query = save("query.png")
    first, second = ask("search", query)["matches"][:2]
    found = ask("explain", "ranking", query, "rank:1", "rank:2")
    assert [found[side]["name"] for side in ("first", "second")] == [first["name"], second["name"]]
    assert found["gap"] == pytest.approx(first["score"] - second["score"])
    labeled = ask("explain", "ranking", query, "red", "green", "--label")
    assert (labeled["first"]["image_count"], "match_map" in labeled["first"]) == (1, False)
    region = ask("explain", "ranking", "image:half.png", "rank:1", "rank:2", "--region", "2,0,2,2")
    assert (region["first"]["name"], region["gap"]) == ("green.png", pytest.approx(HALF - 0.5))
    said = run("explain", "ranking", query, "red", "green", "--label").stdout
    assert "score 1.0000  red, the mean over 1 images" in said


@pytest.mark.parametrize(
    ("side", "message"),
    [
        ("rank:0", "write rank:N with N from 1"),
        ("rank:x", "write rank:N with N from 1"),
        ("rank:9", "finds only 3 images"),
        ("gone.png", "no image"),
        ("image:gone.png", "no image"),
    ],
)
def test_what_is_not_there_is_named(run, colors, side, message):
    result = run("explain", "ranking", "image:half.png", side, "red.png")
    assert result.exit_code != 0
    assert message in " ".join(result.stderr.replace("│", " ").split())


def test_pictures_of_a_ranking(ask, colors, tmp_path):
    folder = tmp_path / "why"
    found = ask("explain", "ranking", "image:half.png", "red.png", "green.png", "--maps", folder)
    names = sorted(path.name for path in folder.glob("*.png"))
    assert names == ["difference.png", "first.png", "second.png", "sheet.png"]
    assert found["map"]["overlay"] == str(folder / "difference.png")
    PIL.Image.open(folder / "sheet.png").load()
    ask("explain", "ranking", "image:half.png", "red", "green", "--label", "--maps", folder)
    assert sorted(path.name for path in folder.glob("*.png")) == ["difference.png", "sheet.png"]


def test_explain_rank_says_what_it_takes(ask, run, colors, save):
    words = ["explain", "rank", save("query.png"), "half.png", "--limit", 1]
    found = ask(*words)
    assert (found["rank"], found["rival"], found["needed_score"]) == (2, "red.png", pytest.approx(1))
    assert found["ranking"]["gap"] == pytest.approx(found["score"] - found["needed_score"])
    assert run(*words).stdout.splitlines()[:2] == [
        "half.png: rank 2 of 3, score 0.7071",
        "rank 1 takes 1.0000, the score of red.png",
    ]
    assert ask("explain", "rank", save("query.png"), "image:half.png")["rank"] == 2
    assert run("explain", "rank", save("query.png"), "gone.png").exit_code == 3


def test_explain_neighbors_lists_labels(ask, run, colors, save):
    words = ["explain", "neighbors", save("query.png"), "--limit", 2, "--labels", 1]
    found = ask(*words)
    assert [one["label"] for one in found["neighbors"]] == ["red", "half"]
    assert list(found) == [
        *("query", "model", "neighbor_count", "neighbors", "label_count", "best_labels", "worst_labels")
    ]
    assert run(*words).stdout.splitlines() == [
        "labels of the 2 nearest images",
        "images  share  of the scores  label",
        "     1  50.0%          58.6%  red",
        "     1  50.0%          41.4%  half",
        "highest mean score of 2 labels",
        " score  images  label",
        "1.0000       1  red",
        "lowest mean score",
        " score  images  label",
        "0.7071       1  half",
    ]


def test_every_document_says_where_it_comes_from(run, colors):
    for words in (["ranking", "image:half.png", "red.png", "green.png"], ["rank", "image:half.png", "red.png"]):
        assert "provenance" in json.loads(run("explain", *words, "--json").stdout)
