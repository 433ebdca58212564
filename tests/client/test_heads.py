"""Heads through both clients and the command line, against the fake server, where they change only fingerprints."""

import asyncio
import json
from datetime import UTC, datetime

import numpy as np
import pytest

from whymatch.client import (
    AsyncClient,
    Client,
    DeadlineExceeded,
    Embedding,
    FailedPrecondition,
    Head,
    Internal,
    InvalidArgument,
    NotFound,
    Stored,
)

MADE = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
LAYER = [[1, 0, 0], [0, 2, 0]]
FINGERPRINTS = {"parent": "fake+whitening", "stored": "fake+centering", "none": "fake"}


@pytest.fixture
def two_heads(colors, picture) -> Client:
    """The gallery `default` is centered and `other`, with one of its pictures, whitened."""
    colors.create_gallery("other")
    for name in ("red.png", "green.png"):
        colors.add_image(colors.content(name), name=name, gallery="other")
    colors.set_head("centering")
    colors.set_head("whitening", gallery="other")
    return colors


def test_a_gallery_without_a_head_has_none(colors):
    assert colors.get_gallery("default").head is None


def test_a_gallery_is_centered(colors):
    gallery = colors.set_head("centering")
    assert gallery.head == Head("centering", 3, version=1, image_count=3, model="fake", create_time=MADE)
    assert gallery.model == "fake+centering"
    assert colors.get_gallery("default") == gallery
    assert list(colors.galleries()) == [gallery]


def test_whitening_takes_its_dimensions_or_leaves_them_to_the_server(colors, world):
    assert colors.set_head("whitening", dimensions=2).head.dimensions == 2
    colors.set_head("whitening")
    assert [request.whitening.dimensions for request in world.head_requests] == [2, 0]


def test_a_head_can_be_replaced_and_taken_away(colors):
    colors.set_head("centering")
    assert colors.set_head("whitening").head.version == 2
    assert colors.set_head("none").head is None


def test_a_layer_is_sent_row_by_row(colors, world):
    head = colors.set_head("linear", weight=np.array(LAYER), bias=[0.5, -1]).head
    assert (head.dimensions, head.image_count) == (2, 0)
    [request] = world.head_requests
    assert list(request.linear.weight) == [1, 0, 0, 0, 2, 0]
    assert list(request.linear.bias) == [0.5, -1]


def test_a_layer_that_lies_on_its_side_is_refused_though_it_has_as_many_values(colors, world):
    """Without a bias zeros are sent, and from their number the server knows how many rows there are."""
    with pytest.raises(InvalidArgument) as caught:
        colors.set_head("linear", weight=np.transpose(LAYER))
    assert caught.value.reason == "BAD_HEAD"
    assert colors.set_head("linear", weight=LAYER).head.dimensions == 2
    assert list(world.head_requests[1].linear.bias) == [0, 0]


def test_another_gallery_gets_its_head(two_heads):
    assert [gallery.head.kind for gallery in two_heads.galleries()] == ["centering", "whitening"]


def test_progress_comes_in_order(colors):
    seen = []
    colors.set_head("centering", progress=lambda *counts: seen.append(counts))
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_a_head_that_needs_no_images_says_so(colors):
    seen = []
    colors.set_head("linear", weight=LAYER, progress=lambda *counts: seen.append(counts))
    assert seen == [(0, 0)]


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("whitened", {}, "not 'whitened'"),
        ("centering", {"dimensions": 2}, "leave it out for 'centering'"),
        ("linear", {"weight": LAYER, "dimensions": 2}, "leave it out for 'linear'"),
        ("none", {"bias": [1]}, "leave them out for 'none'"),
        ("whitening", {"weight": LAYER}, "leave them out for 'whitening'"),
        ("whitening", {"dimensions": 0}, "at least one"),
        ("linear", {}, "weight="),
        ("linear", {"bias": [1, 2]}, "weight="),
        ("linear", {"weight": [1, 0, 0]}, r"shape \(3,\)"),
        ("linear", {"weight": np.zeros((0, 3))}, r"shape \(0, 3\)"),
        ("linear", {"weight": [["a", "b", "c"]]}, "give numbers"),
        ("linear", {"weight": [[1j, 0, 0]]}, "complex128"),
        ("linear", {"weight": [[1, 0, 0], [1]]}, "weight is no array"),
        ("linear", {"weight": [[1, np.nan, 0]]}, "NaN"),
        ("linear", {"weight": [[1, 1e300, 0]]}, "too large"),
        ("linear", {"weight": LAYER, "bias": [[1, 2]]}, r"bias .* shape \(1, 2\)"),
        ("linear", {"weight": LAYER, "bias": [1]}, "1 values, but weight 2 rows"),
    ],
)
def test_what_is_no_head_is_refused_before_any_call(colors, world, kind, options, message):
    with pytest.raises(ValueError, match=message):
        colors.set_head(kind, **options)
    assert world.head_requests == []


def test_too_few_images_are_an_error_that_changes_nothing(client):
    with pytest.raises(FailedPrecondition, match="0 images") as caught:
        client.set_head("centering")
    assert caught.value.reason == "TOO_FEW_IMAGES"
    assert client.get_gallery("default").head is None
    with pytest.raises(NotFound):
        client.set_head("none", gallery="nowhere")


def test_fitting_may_last_longer_than_a_call(world, address, colors):
    world.answer_delay_s = 0.5
    with Client(address, timeout_s=1.5) as patient:
        assert patient.set_head("centering").head is not None


def test_a_server_that_stops_answering_is_given_up(world, address, colors):
    world.answer_delay_s = 2
    with Client(address, timeout_s=1) as client, pytest.raises(DeadlineExceeded, match=r"\b1 s"):
        client.set_head("centering")
    assert world.head_call_ended.wait(5)
    assert world.heads == {}


def test_a_stream_without_the_gallery_is_an_error(colors, world):
    world.answers_before_end = 2
    with pytest.raises(Internal, match="set it again"):
        colors.set_head("centering")


def test_an_error_of_the_caller_ends_the_call(colors, world):
    world.answer_delay_s = 0.2

    def give_up(fitted_count: int, image_count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        colors.set_head("centering", progress=give_up)
    assert world.head_call_ended.wait(5)
    assert world.heads == {}


def test_the_async_client_does_the_same(world, address, colors):
    async def scenario():
        seen = []
        async with AsyncClient(address) as client:
            gallery = await client.set_head("centering", progress=lambda *counts: seen.append(counts))
            with pytest.raises(ValueError, match="weight="):
                await client.set_head("linear")
            with pytest.raises(InvalidArgument) as caught:
                await client.set_head("linear", weight=[[1, 2]])
            stale = await client.embed(Stored("red.png"))
            await client.set_head("none")
            with pytest.raises(FailedPrecondition, match="another head"):
                await client.search(stale)
            world.answers_before_end = 1
            with pytest.raises(Internal, match="set it again"):
                await client.set_head("centering")
        return gallery, seen, caught.value.reason, stale.model

    gallery, seen, reason, model = asyncio.run(scenario())
    assert gallery.head.kind == "centering"
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert (reason, model) == ("BAD_HEAD", "fake+centering")


def test_the_async_client_gives_up_and_is_canceled_like_the_other(world, address, colors):
    world.answer_delay_s = 2

    async def scenario():
        async with AsyncClient(address, timeout_s=1) as client:
            with pytest.raises(DeadlineExceeded, match=r"\b1 s"):
                await client.set_head("centering")
        async with AsyncClient(address) as client:
            world.head_call_ended.clear()
            task = asyncio.create_task(client.set_head("centering"))
            while len(world.head_requests) < 2:
                await asyncio.sleep(0.02)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await asyncio.to_thread(world.head_call_ended.wait, 5)

    asyncio.run(scenario())
    assert world.heads == {}


def test_an_embedding_finds_its_image_until_the_head_changes(colors):
    embedded = colors.embed(Stored("red.png"))
    assert colors.search(embedded)[0].name == "red.png"
    colors.set_head("centering")
    with pytest.raises(FailedPrecondition) as caught:
        colors.search(embedded)
    assert caught.value.reason == "OTHER_EMBEDDING"
    assert colors.search(embedded.embedding)[0].name == "red.png"
    assert colors.search(Embedding(embedded.embedding, model="fake+centering"))[0].name == "red.png"


def test_the_head_is_that_of_the_named_gallery_else_of_the_stored_image(two_heads, picture):
    assert two_heads.embed(picture("red")).model == FINGERPRINTS["none"]
    assert two_heads.embed(Stored("red.png")).model == FINGERPRINTS["stored"]
    assert two_heads.embed(Stored("red.png", gallery="other")).model == "fake+whitening"
    assert two_heads.embed(picture("red"), gallery="other").model == FINGERPRINTS["parent"]


def test_an_explanation_goes_through_the_head_of_the_named_gallery_else_of_the_match(two_heads, picture):
    red, match = picture("red"), Stored("red.png")
    assert two_heads.explain_match(red, red).model == FINGERPRINTS["none"]
    assert two_heads.explain_match(red, match).model == FINGERPRINTS["stored"]
    assert two_heads.explain_match(Stored("red.png", gallery="other"), match).model == FINGERPRINTS["stored"]
    assert two_heads.explain_match(red, match, gallery="other").model == FINGERPRINTS["parent"]


# The command line


def test_gallery_head_shows_how_far_it_is_and_what_the_gallery_became(run, colors):
    result = run("gallery", "head", "default", "whitening", "--dimensions", "2")
    assert result.exit_code == 0, result.output
    assert "3/3" in result.stderr
    assert result.stdout == run("gallery", "show", "default").stdout
    assert result.stdout.splitlines()[-1] == (
        "head               whitening, 2 dimensions, version 1, fitted to 3 images, 2024-05-06T07:08:09+00:00"
    )
    assert run("gallery", "list").stdout == "default\t3 images\tmodel fake+whitening\thead whitening\n"


def test_gallery_head_json_has_the_promised_names(ask, colors):
    assert ask("gallery", "show", "default")["head"] is None
    assert ask("gallery", "head", "default", "centering")["head"] == {
        "kind": "centering",
        "dimensions": 3,
        "version": 1,
        "image_count": 3,
        "model": "fake",
        "create_time": "2024-05-06T07:08:09+00:00",
    }
    assert ask("gallery", "head", "default", "none")["head"] is None


@pytest.mark.parametrize("name", ["layer.npz", "bare.npz", "layer.npy"])
def test_gallery_head_reads_a_layer(ask, colors, world, tmp_path, name):
    np.savez(tmp_path / "layer.npz", weight=np.array(LAYER, np.float16), bias=np.zeros(2))
    np.savez_compressed(tmp_path / "bare.npz", weight=LAYER)
    np.save(tmp_path / "layer.npy", LAYER)
    gallery = ask("gallery", "head", "default", "linear", "--layer", tmp_path / name)
    assert gallery["head"]["dimensions"] == 2
    assert list(world.head_requests[0].linear.weight) == [1, 0, 0, 0, 2, 0]


@pytest.fixture
def layers(tmp_path):
    """Files that hold no layer."""
    np.savez(tmp_path / "names.npz", weights=LAYER, bias=[0, 0])
    np.savez(tmp_path / "typo.npz", weight=LAYER, biases=[0, 0])
    np.savez(tmp_path / "empty.npz")
    np.savez(tmp_path / "bias.npz", weight=LAYER, bias=[1, 2, 3])
    np.savez(tmp_path / "object.npz", weight=np.array([[None]]))
    np.save(tmp_path / "flat.npy", [1.0, 2.0])
    np.save(tmp_path / "words.npy", [["a", "b"]])
    np.save(tmp_path / "object.npy", np.array([[None]]))
    (tmp_path / "text.npy").write_text("1 0 0")
    (tmp_path / "nothing.npy").touch()
    (tmp_path / "cut.npy").write_bytes((tmp_path / "flat.npy").read_bytes()[:-3])
    (tmp_path / "cut.npz").write_bytes((tmp_path / "bias.npz").read_bytes()[:-3])
    return tmp_path


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gone.npz", "does not exist"),
        ("names.npz", "holds bias, weights"),
        ("typo.npz", "holds biases, weight"),
        ("empty.npz", "holds nothing"),
        ("bias.npz", "3 values, but weight 2 rows"),
        ("object.npz", "numpy.savez"),
        ("flat.npy", "shape (2,)"),
        ("words.npy", "give numbers"),
        ("object.npy", "numpy.savez"),
        ("text.npy", "numpy.savez"),
        ("nothing.npy", "numpy.savez"),
        ("cut.npy", "numpy.savez"),
        ("cut.npz", "numpy.savez"),
    ],
)
def test_a_file_without_a_layer_is_misuse(run, colors, world, layers, name, message):
    result = run("gallery", "head", "default", "linear", "--layer", layers / name)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in " ".join(result.stderr.replace("│", " ").split())
    assert world.head_requests == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["centred"],
        ["linear"],
        ["centering", "--layer", "layer.npy"],
        ["centering", "--dimensions", "2"],
        ["whitening", "--dimensions", "0"],
        [],
    ],
)
def test_options_of_another_head_are_misuse(run, colors, world, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    np.save("layer.npy", LAYER)
    result = run("gallery", "head", "default", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert world.head_requests == []


def test_a_head_that_cannot_be_fitted_exits_with_5(run, client):
    result = run("gallery", "head", "default", "centering", "--json")
    assert (result.exit_code, result.stdout) == (5, "")
    assert "0 images are too few" in result.stderr


def test_embed_and_explain_go_through_the_head_of_a_gallery_that_is_named(ask, two_heads, save):
    query = save("query.png")
    assert ask("embed", query)["model"] == FINGERPRINTS["none"]
    assert ask("embed", "--image", "red.png")["model"] == FINGERPRINTS["stored"]
    assert ask("embed", query, "--gallery", "other")["model"] == FINGERPRINTS["parent"]
    for command in (["match"], ["point", "--query-point", "1,1"]):
        assert ask("explain", *command, query, query)["model"] == FINGERPRINTS["none"]
        assert ask("explain", *command, query, "image:red.png")["model"] == FINGERPRINTS["stored"]
        assert ask("explain", *command, query, query, "--gallery", "default")["model"] == FINGERPRINTS["stored"]
        assert ask("explain", *command, query, query, "--gallery", "other")["model"] == FINGERPRINTS["parent"]


def test_search_refuses_what_embed_printed_before_the_head_changed(run, ask, colors, save, tmp_path):
    document = tmp_path / "embedding.json"
    document.write_text(json.dumps(ask("embed", save("query.png"))))
    assert ask("search", "--embedding", document)["matches"][0]["name"] == "red.png"
    colors.set_head("centering")
    result = run("search", "--embedding", document)
    assert result.exit_code == 5
    assert "another head made this embedding" in result.stderr
    fresh = json.dumps(ask("embed", tmp_path / "query.png", "--gallery", "default")).encode()
    assert ask("search", "--embedding", "-", stdin=fresh)["matches"][0]["name"] == "red.png"
