"""Searches among some images, in pages, several at once and at generations, through the real server."""

import asyncio
import json
from collections.abc import Callable, Iterator

import pytest
from sample_pictures import png
from server_harness import serving
from typer.testing import CliRunner

from whymatch.client import AsyncClient, Box, Client, InvalidArgument, NewImage, NotFound, Stored
from whymatch.client.cli.app import app
from whymatch.server import ServerConfig

QUERY = Stored("0.png")


@pytest.fixture(scope="module")
def server_client(model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of a gallery of eight pictures, even and odd, of which `1.png` was deleted later."""
    with (
        serving(ServerConfig(data=tmp_path_factory.mktemp("data"), port=0), model) as server,
        Client(server.address) as client,
    ):
        client.create_gallery("default")
        kinds = ("even", "odd")
        images = [NewImage(png(seed), f"{seed}.png", kinds[seed % 2], {"year": 2020 + seed}) for seed in range(8)]
        for image in images:
            assert all(added.image for added in client.add([image]))
        client.delete("1.png")
        yield client


@pytest.fixture
def run(server_client: Client) -> Callable[..., dict]:
    def run(*arguments: object) -> dict:
        result = CliRunner().invoke(app, [*map(str, arguments), "--address", server_client.address, "--json"])
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    return run


def names(result) -> list[str]:
    return [match.name for match in result]


def before(client: Client) -> int:
    """The generation before the last change."""
    return client.get_gallery("default").generation - 1


def test_the_client_asks_for_some_images(server_client):
    every = server_client.search(QUERY)
    assert sorted(names(server_client.search(QUERY, filter="label = odd AND metadata.year > 2023"))) == [
        "5.png",
        "7.png",
    ]
    assert names(server_client.search(QUERY, exclude=names(every)[:2])) == names(every)[2:]
    assert names(server_client.search(QUERY, min_score=every[3].score)) == names(every)[:4]
    reranked = server_client.rerank(QUERY, query_regions=[Box(0, 0, 40, 40)], filter="label = odd", exclude=["3.png"])
    assert sorted(names(reranked)) == ["5.png", "7.png"]


def test_the_client_asks_for_what_was(server_client):
    then = server_client.search(QUERY, at_generation=before(server_client), overlays=True)
    assert "1.png" in names(then)
    assert then.provenance.generation == before(server_client)
    assert "1.png" not in names(server_client.search(QUERY))
    match = {"query": QUERY, "match": Stored("1.png")}
    one = server_client.explain_match(**match, at_generation=before(server_client))
    assert one.score == pytest.approx(next(match.score for match in then if match.name == "1.png"), abs=1e-6)
    with pytest.raises(NotFound):
        server_client.explain_match(**match)
    counts = [server_client.explain_label(QUERY, "odd", **at).image_count for at in ({}, {"at_generation": 8})]
    assert counts == [3, 4]
    assert server_client.explain_label(QUERY, "odd", filter='name != "3.png"').image_count == 2
    assert (
        server_client.explain_components(pair_count=9, at_generation=8, filter="label = odd").provenance.generation == 8
    )


def test_several_queries_go_in_one_call(server_client):
    queries = [Stored("0.png"), png(3), server_client.embed(png(5))]
    together = server_client.search_several(queries, limit=2, filter="label = odd")
    assert [names(one) for one in together] == [
        names(server_client.search(query, limit=2, filter="label = odd")) for query in queries
    ]
    with pytest.raises(InvalidArgument, match=r"`requests\[1\]`"):
        server_client.search_several([QUERY, b"no image"])
    for wrong in ("query.jpg", b"...", QUERY):
        with pytest.raises(TypeError, match="queries is a sequence"):
            server_client.search_several(wrong)


def test_pages_are_one_search(server_client):
    whole = server_client.search(QUERY)
    pages = list(server_client.search_pages(QUERY, limit=3))
    assert [len(page) for page in pages] == [3, 3, 1]
    assert [name for page in pages for name in names(page)] == names(whole)
    assert list(server_client.search_pages(QUERY, min_score=2)) == []


def test_the_async_client_has_pages_and_batches(server_client):
    async def ask() -> tuple[int, int]:
        async with AsyncClient(server_client.address) as client:
            pages = [page async for page in client.search_pages(QUERY, limit=4)]
            return len(pages), len(await client.search_several([QUERY] * 3))

    assert asyncio.run(ask()) == (2, 3)


def test_the_command_line_has_the_same_words(server_client, run, tmp_path):
    least = server_client.search(QUERY)[5].score
    options = ["--filter", "label = odd", "--exclude", "3.png", "--min-score", least - 1e-6, "--at-generation", 8]
    found = run("search", "--image", "0.png", *options, "--maps", tmp_path)
    wanted = server_client.search(
        QUERY, filter="label = odd", exclude=["3.png"], min_score=least - 1e-6, at_generation=8
    )
    assert [match["name"] for match in found["matches"]] == names(wanted)
    assert found["provenance"]["generation"] == 8
    request = found["provenance"]["request"]
    assert {request[key] for key in ("filter", "at_generation")} == {"label = odd", "8"}
    assert request["exclude"] == ["3.png"]
    region = ["--query-region", "0,0,40,40"]
    again = run(
        "rerank", "--image", "0.png", *region, "--filter", "label = odd", "--exclude", "3.png", "--at-generation", 8
    )
    assert sorted(match["name"] for match in again["matches"]) == ["1.png", "5.png", "7.png"]
    explained = run("explain", "match", "image:0.png", "image:1.png", "--at-generation", 8)
    assert explained["provenance"]["generation"] == 8
    point = run("explain", "point", "image:0.png", "image:1.png", "--query-point", "20,20", "--at-generation", 8)
    assert point["score"] < explained["score"]
    label = ["explain", "label", "image:0.png", "image:1.png", "odd", "--at-generation", 8, "--maps", tmp_path]
    assert [one["image_count"] for one in run(*label)] == [4, 3]
    assert [one["image_count"] for one in run(*label, "--filter", "metadata.year < 2024")] == [2, 1]
    assert run("explain", "components", "--at-generation", 8, "--filter", "label = odd", "--pairs", 5)["pair_count"]
    then = [run("search", "--image", "0.png", "--at-generation", 8)["matches"][place]["name"] for place in (1, 2)]
    ranking = run("explain", "ranking", "image:0.png", "rank:2", "rank:3", "--at-generation", 8, "--maps", tmp_path)
    assert [ranking[side]["name"] for side in ("first", "second")] == then
    assert run("explain", "rank", "image:0.png", "1.png", "--at-generation", 8)["image_count"] == 8
    assert run("explain", "neighbors", "image:0.png", "--at-generation", 8)["neighbor_count"] == 7
    pictures = ["--pictures", tmp_path / "groups"]
    assert "1.png" in run("duplicates", "--above", -1, "--at-generation", 8, *pictures)["groups"][0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--filter", "color = red"], "there is no field 'color'"),
        (["--min-score", "nan"], "nan; take a number"),
        (["--at-generation", "-1"], "--at-generation"),
        (["--at-generation", "99"], "not 99"),
        (["--exclude", "a/../b"], "'a/../b'"),
    ],
)
def test_the_command_line_says_what_is_wrong(server_client, options, said):
    result = CliRunner().invoke(app, ["search", "--image", "0.png", *options, "--address", server_client.address])
    assert result.exit_code in (2, 3, 5)
    assert said in result.output
