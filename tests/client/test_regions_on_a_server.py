"""Regions, reranking and explanations through the real server and the bundled model."""

import json
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from PIL import Image
from sample_pictures import encoded, picture, png
from server_harness import serving
from typer.testing import CliRunner

from whymatch.client import Box, Client, InvalidArgument, Mask, NewImage, Point, Polygon, Region, Stored
from whymatch.client.cli.app import app
from whymatch.server import ServerConfig

WIDTH, HEIGHT = 96, 64
QUERY = Stored("0.png")
ALL = Box(0, 0, WIDTH, HEIGHT)
LEFT, RIGHT = Box(0, 0, WIDTH / 2, HEIGHT), Box(WIDTH / 2, 0, WIDTH, HEIGHT)


@pytest.fixture(scope="module")
def server_client(model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of a gallery of eight pictures, even and odd, and of one that is half `0.png` and half `1.png`."""
    mixed = picture(0)
    mixed.paste(picture(1).crop((WIDTH // 2, 0, WIDTH, HEIGHT)), (WIDTH // 2, 0))
    with (
        serving(ServerConfig(data=tmp_path_factory.mktemp("data"), port=0), model) as server,
        Client(server.address) as client,
    ):
        client.create_gallery("default")
        images = [NewImage(png(seed), f"{seed}.png", ("even", "odd")[seed % 2]) for seed in range(8)]
        assert all(added.image for added in client.add([*images, NewImage(encoded(mixed), "mixed.png", "mixed")]))
        yield client


@pytest.fixture
def ask(server_client: Client) -> Callable[..., dict]:
    def ask(*arguments: object) -> dict:
        words = [str(argument) for argument in (*arguments, "--json", "--address", server_client.address)]
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    return ask


def scores(result) -> dict[str, float]:
    return {match.name: match.score for match in result}


def test_a_region_of_the_whole_image_is_the_plain_search(server_client):
    plain = server_client.search(QUERY)
    whole = server_client.search(QUERY, regions=[ALL])
    assert scores(whole) == pytest.approx(scores(plain), abs=1e-5)
    assert all(match.region_share == pytest.approx(1, abs=1e-4) for match in whole)


def test_two_halves_add_up_to_the_whole(server_client):
    whole, left, right = (scores(server_client.search(QUERY, regions=[part])) for part in (ALL, LEFT, RIGHT))
    assert {name: left[name] + right[name] for name in left} == pytest.approx(whole, abs=1e-5)


@pytest.mark.parametrize(
    "same",
    [
        Region(Box(0, 0, 0.5, 1), relative=True),
        Polygon([(0, 0), (WIDTH / 2, 0), (WIDTH / 2, HEIGHT), (0, HEIGHT)]),
        Mask(Image.new("L", (WIDTH, HEIGHT))),
    ],
    ids=["relative", "polygon", "mask"],
)
def test_one_region_has_many_forms(server_client, same):
    if isinstance(same, Mask):
        same.image.paste(255, (0, 0, WIDTH // 2, HEIGHT))
    expected = scores(server_client.search(QUERY, regions=[LEFT]))
    assert scores(server_client.search(QUERY, regions=[same])) == pytest.approx(expected, abs=5e-3)


def test_the_score_of_a_region_is_the_sum_of_the_map_in_it(server_client):
    whole = {match.name: match.query_map for match in server_client.search(QUERY, with_maps=True)}
    for match in server_client.search(QUERY, regions=[LEFT], with_maps=True, limit=3):
        query_map = whole[match.name]
        edges = query_map.area.left_px + np.arange(query_map.values.shape[1] + 1) * (
            (query_map.area.right_px - query_map.area.left_px) / query_map.values.shape[1]
        )
        covered = (np.minimum(edges[1:], WIDTH / 2) - edges[:-1]).clip(0) / np.diff(edges)
        assert (query_map.values * covered).sum() == pytest.approx(match.score, abs=1e-3)
        for one in (match.query_map, match.match_map):
            assert one.total == pytest.approx(match.score, abs=1e-3)


def test_the_best_match_of_each_label(server_client):
    result = server_client.search(QUERY, best_per_label=True)
    assert result[0].name == "0.png"
    assert sorted(match.label for match in result) == ["even", "mixed", "odd"]


def test_reranking_by_the_whole_query_keeps_the_scores(server_client):
    plain = server_client.search(QUERY)
    again = server_client.rerank(QUERY, query_regions=[ALL])
    assert scores(again) == pytest.approx(scores(plain), abs=1e-3)


def test_halves_of_the_match_add_up_to_the_whole(server_client):
    left, right = (scores(server_client.rerank(QUERY, match_regions=[part])) for part in (LEFT, RIGHT))
    plain = scores(server_client.search(QUERY))
    assert {name: left[name] + right[name] for name in left} == pytest.approx(plain, abs=1e-3)


def test_only_named_candidates_are_ranked(server_client):
    result = server_client.rerank(QUERY, query_regions=[LEFT], candidates=["3.png", "5.png"], overlays=True)
    assert sorted(match.name for match in result) == ["3.png", "5.png"]
    assert result[0].match_map.overlay().size == (WIDTH, HEIGHT)


def test_a_match_is_explained_in_full(server_client):
    explanation = server_client.explain_match(QUERY, Stored("mixed.png"), channel_limit=5, correspondence_limit=1000)
    assert explanation.score == pytest.approx(explanation.image_score, abs=1e-6)
    assert [one.score for one in explanation.channels] == sorted((c.score for c in explanation.channels), reverse=True)
    assert len(explanation.channels) == 5
    first = explanation.correspondences[0]
    assert first.score == max(pair.score for pair in explanation.correspondences)
    assert explanation.query_map.best_box is not None


def test_a_point_lights_one_cell_of_its_image(server_client):
    explanation = server_client.explain_match(QUERY, Stored("mixed.png"), query_regions=[Point(10, 10)])
    assert np.count_nonzero(explanation.query_map.values) == 1
    assert explanation.match_map.total == pytest.approx(explanation.score, abs=1e-5)


def test_a_label_is_explained_without_the_image_itself(server_client):
    explanation = server_client.explain_label(QUERY, "even", overlays=True)
    others = [server_client.explain_match(QUERY, Stored(f"{seed}.png")) for seed in (2, 4, 6)]
    assert explanation.image_count == 3
    np.testing.assert_allclose(
        explanation.query_map.values, np.mean([other.query_map.values for other in others], 0), atol=1e-4
    )
    assert explanation.query_map.overlay().size == (WIDTH, HEIGHT)


def test_all_channels_together_carry_the_whole_score(server_client):
    shares = server_client.explain_components(pair_count=20)
    assert shares.pair_count == 20
    assert shares.mean.shape == (server_client.model().dimensions,)
    assert shares.mean[-1] == pytest.approx(1, abs=1e-3)
    assert shares.low[0] <= shares.mean[0] <= shares.high[0]


@pytest.mark.parametrize(
    ("regions", "reason"),
    [
        ([Box(WIDTH, 0, WIDTH + 9, HEIGHT)], "BAD_REGION"),
        ([Box(5, 5, 5, 9)], "BAD_REGION"),
        ([Polygon([])], "BAD_REGION"),
        ([Polygon([(0, 0), (20, 20), (20, 0), (0, 20)])], "BAD_REGION"),
        ([Mask(Image.new("L", (WIDTH + 1, HEIGHT), 255))], "BAD_REGION"),
        ([Region(LEFT, weight=float("nan"))], "BAD_REGION"),
        ([LEFT, Region(LEFT, weight=-1)], "EMPTY_REGION"),
    ],
)
def test_a_bad_region_has_its_reason(server_client, regions, reason):
    with pytest.raises(InvalidArgument) as caught:
        server_client.search(QUERY, regions=regions)
    assert caught.value.reason == reason


def test_the_command_line_reaches_all_of_it(ask, tmp_path):
    found = ask(
        "search", "--image", "0.png", "--region", "0%,0%,50%,100%", "--best-per-label", "--maps", tmp_path / "a"
    )
    assert found["matches"][0]["name"] in ("0.png", "mixed.png")
    found = ask(
        "rerank", "--image", "0.png", "--match-region", "0,0,48,64", "--candidates", "5", "--maps", tmp_path / "b"
    )
    assert len(found["matches"]) == 5
    found = ask("explain", "match", "image:0.png", "image:mixed.png", "--maps", tmp_path / "c")
    assert len(found["correspondences"]) == 10
    found = ask(
        "explain", "point", "image:0.png", "image:mixed.png", "--query-point", "10,10", "--maps", tmp_path / "d"
    )
    assert found["match_map"]["best_box"]
    found = ask("explain", "label", "image:0.png", "odd", "--maps", tmp_path / "e")
    assert found["image_count"] == 4
    ask("explain", "components", "--pairs", "10", "--plot", tmp_path / "curve.png")
    assert all((tmp_path / folder / "sheet.png").exists() for folder in "abcde")
