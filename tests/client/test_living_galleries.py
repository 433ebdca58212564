"""Galleries that change, through the client and the command line, on a real server."""

import asyncio
import itertools
import json
from collections.abc import Callable, Iterator

import pytest
from sample_pictures import png
from server_harness import ServerThread, serving
from typer.testing import CliRunner, Result

from whymatch.client import (
    AlreadyExists,
    AsyncClient,
    Client,
    FailedPrecondition,
    Generation,
    InvalidArgument,
    LabelCount,
    NewImage,
    NotFound,
)
from whymatch.client.apps.metadata import metadata_value
from whymatch.client.cli.app import app
from whymatch.client.cli.images import with_label
from whymatch.server import ServerConfig

numbers = itertools.count()


@pytest.fixture(scope="module")
def server(model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerThread]:
    with serving(ServerConfig(data=tmp_path_factory.mktemp("data"), port=0), model) as server:
        yield server


@pytest.fixture
def client(server: ServerThread) -> Iterator[Client]:
    """A client of a gallery of two cats and a dog."""
    with Client(server.address, gallery=f"g{next(numbers)}") as client:
        client.create_gallery()
        images = [
            NewImage(png(1), "a", "cat", {"year": 2020, "draft": True}),
            NewImage(png(2), "b", "cat", {"year": 2021}),
            NewImage(png(3), "c", "dog", {"shop": "x"}),
        ]
        assert not [added.error for added in client.add(images) if added.error]
        yield client


@pytest.fixture
def run(client: Client) -> Callable[..., Result]:
    def run(*words: object) -> Result:
        environment = {"WHYMATCH_ADDRESS": client.address, "WHYMATCH_GALLERY": client.gallery}
        return CliRunner().invoke(app, [str(word) for word in words], env=environment)

    return run


@pytest.fixture
def ask(run: Callable[..., Result]) -> Callable[..., dict]:
    def ask(*words: object) -> dict:
        result = run(*words, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    return ask


def newest(client: Client) -> int:
    return client.get_gallery(client.gallery).generation


def names(images) -> str:
    return "".join(image.name for image in images)


def test_an_image_changes_in_what_is_given(client):
    changed = client.update("a", label="lynx", changed={"year": 2022, "draft": None, "by.me": "x"})
    assert (changed.label, changed.metadata) == ("lynx", {"year": 2022, "by.me": "x"})
    assert changed.update_time > changed.create_time
    assert client.update("a", metadata={"only": 0.5}).metadata == {"only": 0.5}
    assert client.update("a", metadata={"x": 1, "y": 2}, changed={"x": None, "z": True}).metadata == {"y": 2, "z": True}
    assert client.update("a", label="").label == ""
    with pytest.raises(ValueError, match="nothing of the image would change"):
        client.update("a")
    with pytest.raises(NotFound):
        client.update("q", label="cat")


def test_an_image_takes_the_place_of_another_on_request(client):
    with pytest.raises(AlreadyExists):
        client.add_image(png(4), name="a")
    added = client.add_image(png(4), name="a", replace=True)
    assert (added.replaced, added.unchanged, client.content("a")) == (True, False, png(4))
    [one, other] = client.add([NewImage(png(5), "a"), NewImage(png(5), "b", replace=True)])
    assert (type(one.error), other.replaced) == (AlreadyExists, True)
    assert [added.replaced for added in client.add([NewImage(png(6), "a"), NewImage(png(6), "d")], replace=True)] == [
        True,
        False,
    ]


def test_images_and_labels_are_chosen_by_a_filter(client):
    client.add_image(png(7), name="d")
    assert names(client.get_several(["c", "a"])) == "ca"
    assert names(client.list("label = cat AND metadata.year > 2020")) == "b"
    assert client.labels() == (LabelCount("", 1), LabelCount("cat", 2), LabelCount("dog", 1))
    assert client.labels("metadata.year : *") == (LabelCount("cat", 2),)
    with pytest.raises(InvalidArgument, match="at character 1"):
        list(client.list("color = red"))


def test_several_images_are_deleted_or_none(client):
    with pytest.raises(NotFound):
        client.delete(["a", "q"])
    assert client.delete_where("label = dog") == 1
    client.delete(["a", "b"])
    assert list(client.list()) == []
    with pytest.raises(InvalidArgument):
        client.delete_where("")


def test_a_gallery_can_be_read_as_it_was(client):
    then = newest(client)
    client.update("a", label="lynx")
    client.delete("b")
    assert client.get("a", at_generation=then).label == "cat"
    assert client.content("b", at_generation=then) == png(2)
    assert (
        names(client.list(at_generation=then))
        == names(client.get_several(["a", "b", "c"], at_generation=then))
        == "abc"
    )
    assert client.labels(at_generation=then) == (LabelCount("cat", 2), LabelCount("dog", 1))
    with pytest.raises(NotFound, match="whymatch gallery history"):
        client.get("a", at_generation=99)


def test_generations_are_tagged_and_purged(client):
    then = client.tag("audited")
    assert isinstance(then, Generation)
    assert (then.number, then.change, then.tags) == (newest(client), "add", ("audited",))
    client.delete("b")
    assert [(one.change, one.tags) for one in client.generations()][:2] == [("delete", ()), ("add", ("audited",))]
    with pytest.raises(FailedPrecondition, match="audited"):
        client.purge(newest(client))
    client.remove_tag("audited")
    purged = client.purge(newest(client))
    assert (purged.gallery.oldest_generation, purged.removed_file_count) == (newest(client), 1)
    assert client.tag("kept", generation=newest(client)).tags == ("kept",)


def test_an_erased_image_is_gone_from_every_generation(client):
    client.add_image(png(1), name="copy")
    then = newest(client)
    client.delete("a")
    assert client.erase("a") == ("a", "copy")
    assert names(client.list(at_generation=then)) == "bc"


def test_a_server_says_what_it_is(client):
    info = client.server_info()
    assert (info.model, info.limits.max_limit) == (client.model(), 1000)
    assert info.gallery_count >= 1
    assert info.uptime_s > 0
    assert 0 < info.disk.free_bytes < info.disk.total_bytes


def test_the_async_client_does_the_same(client):
    async def changed() -> tuple[str, list[str]]:
        async with AsyncClient(client.address, gallery=client.gallery) as other:
            image = await other.update("a", label="lynx")
            return image.label, [one.change async for one in other.generations()]

    label, changes = asyncio.run(changed())
    assert (label, changes[0]) == ("lynx", "update")


# The command line


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("2024", 2024),
        ("-0.5e1", -5.0),
        ("true", True),
        ("false", False),
        ('"2024"', "2024"),
        ('"true"', "true"),
        ("X100", "X100"),
        ("007", "007"),
        ("True", "True"),
        ("null", "null"),
        ("[1]", "[1]"),
        ("NaN", "NaN"),
        ("1e999", "1e999"),
        (str(2**53), 2**53),
        (str(2**53 + 1), str(2**53 + 1)),
        ("[" * 100_000, "[" * 100_000),
        ("9" * 5000, "9" * 5000),
        ("", ""),
    ],
)
def test_a_word_is_a_number_a_boolean_or_text(word, value):
    read = metadata_value(word)
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize("label", ["cat", 'a "b"', "back\\slash", '\\"', "it's", "", "x AND y"])
def test_a_filter_finds_any_label(client, label):
    client.update("a", label=label)
    assert "a" in names(client.list(with_label("", label)))
    assert names(client.list(with_label('name = "a" OR name = "b"', label))) in ("a", "ab")
    assert names(client.list(with_label('name = "b"', label))) == ("b" if label == "cat" else "")


def test_update_says_what_the_image_has_become(run, ask):
    shown = ask("update", "a", "--label", "lynx", "--metadata", 'year="2024"', "--remove-metadata", "draft")
    assert (shown["label"], shown["metadata"]) == ("lynx", {"year": "2024"})
    for wrong in ([], ["--metadata", "x"], ["--metadata", "x=1", "--remove-metadata", "x"]):
        assert run("update", "a", *wrong).exit_code == 2
    assert run("update", "q", "--label", "x").exit_code == 3


def test_add_replaces_on_request(run, ask, tmp_path):
    (tmp_path / "a.png").write_bytes(png(1))
    assert ask("add", tmp_path, "--metadata", "draft=false")["added"] == 1
    (tmp_path / "a.png").write_bytes(png(8))
    refused = run("add", tmp_path)
    assert refused.exit_code == 1
    assert "--replace takes their place" in refused.stderr
    assert ask("add", tmp_path, "--replace")["replaced"] == 1
    assert "1 in place of what had" in run("add", tmp_path, "--replace", "--label", "other").stdout


def test_list_and_labels_take_a_filter(ask, run):
    assert ask("labels", "--filter", "metadata.year : *")["labels"] == [{"label": "cat", "count": 2}]
    found = ask("list", "--filter", "metadata.year > 2020 OR metadata.draft = true", "--label", "cat")["images"]
    assert [image["name"] for image in found] == ["a", "b"]
    refused = run("list", "--filter", "label =")
    assert refused.exit_code == 5
    assert "the filter cannot be read at its end" in refused.stderr


def test_delete_takes_names_or_a_filter(run, ask):
    assert run("delete").exit_code == run("delete", "a", "--filter", "label = cat").exit_code == 2
    assert ask("delete", "--filter", "label = cat", "--yes") == {"deleted_count": 2}
    assert ask("delete", "c", "--yes") == {"deleted": ["c"]}
    assert ask("list")["images"] == []


def test_erase_names_all_that_is_gone(run, ask):
    asked = run("erase", "a")
    assert asked.exit_code == 2
    assert "Nobody is here to ask" in asked.stderr
    assert ask("erase", "a", "--yes") == {"erased": ["a"]}


def test_the_past_is_asked_for_by_number_or_by_tag(client, run, ask, tmp_path):
    gallery = client.gallery
    tagged = ask("gallery", "tag", gallery, "audited")
    assert (tagged["number"], tagged["tags"]) == (newest(client), ["audited"])
    client.update("a", label="lynx")
    client.delete("b")
    for then in ("audited", tagged["number"]):
        assert ask("show", "a", "--at-generation", then)["label"] == "cat"
        assert len(ask("list", "--at-generation", then)["images"]) == 3
        assert ask("labels", "--at-generation", then)["labels"][0] == {"label": "cat", "count": 2}
        assert run("content", "b", "-o", tmp_path / "b.png", "--at-generation", then).exit_code == 0
        assert (tmp_path / "b.png").read_bytes() == png(2)
    unknown = run("show", "a", "--at-generation", "never")
    assert unknown.exit_code == 3
    assert f"whymatch gallery history {gallery}" in unknown.stderr
    assert run("show", "a", "--at-generation", 2**63).exit_code == 2
    assert run("show", "a", "--at-generation", 999).exit_code == 3


def test_the_commands_of_the_past(client, run, ask):
    gallery = client.gallery
    client.delete("b")
    assert run("gallery", "tag", gallery, "v1", "--generation", 1).exit_code == 0
    last, *_ = ask("gallery", "history", gallery)["generations"]
    assert (last["number"], last["change"]) == (newest(client), "delete")
    assert "v1" in run("gallery", "history", gallery).stdout
    assert run("gallery", "purge", gallery, "--before", last["number"], "--yes").exit_code == 5
    assert ask("gallery", "untag", gallery, "v1") == {"untagged": "v1"}
    assert run("gallery", "purge", gallery, "--before", last["number"]).exit_code == 2  # nobody is here to ask
    purged = ask("gallery", "purge", gallery, "--before", last["number"], "--yes")
    assert (purged["oldest_generation"], purged["removed_file_count"]) == (last["number"], 1)
    assert ask("gallery", "show", gallery)["oldest_generation"] == last["number"]


def test_info_says_what_the_server_is(run, ask):
    info = ask("info")
    assert list(info["model"]) == ["fingerprint", "backbone", "layer", "pooling", "precision", "dimensions"]
    assert info["limits"]["max_limit"] == 1000
    assert "free_bytes" in run("info").stdout
