"""The command `duplicates`, and searches whose matches differ, against a server that one can compute by hand."""

import pytest
from PIL import Image

from whymatch.client import DuplicateGroup


def test_the_client_returns_groups_and_tells_of_progress(colors):
    steps = []
    found = colors.duplicates(above=0.5, progress=lambda *step: steps.append(step))
    names = ("red.png", "green.png", "half.png")
    assert list(found) == [DuplicateGroup(names, 0.25, 1.0)]
    assert steps == [(0, len(names))]
    assert found.provenance.model == "fake"
    assert len(colors.duplicates(above=0.9)) == 0


def test_the_command_prints_groups(colors, run, ask, world):
    names = ["red.png", "green.png", "half.png"]
    document = ask("duplicates", "--above", 0.5, "--filter", "label = a", "--json")
    assert document["groups"] == [names]
    assert document["scores"] == [{"least_score": 0.25, "largest_score": 1.0}]
    assert world.filters[-1] == "label = a"
    printed = run("duplicates", "--above", 0.5).stdout.splitlines()
    assert printed[0] == f"group 1: {len(names)} images, 0.2500 to 1.0000"
    assert [line.strip() for line in printed[1:-1]] == names
    assert "no two images" in run("duplicates", "--above", 0.9).stderr


def test_the_command_draws_a_sheet_of_each_group(colors, ask, tmp_path):
    document = ask("duplicates", "--above", 0.5, "--pictures", tmp_path / "sheets", "--json")
    assert document["pictures"] == [str(tmp_path / "sheets" / "001.png")]
    with Image.open(document["pictures"][0]) as sheet:
        assert sheet.width > 3 * 260


def test_a_search_folds_and_varies(colors, run, ask, save, world):
    file = save("query.png")
    document = ask("search", file, "--fold-above", 0.9, "--diversity", 0.25, "--json")
    [match] = document["matches"]
    assert (match["name"], [one["name"] for one in match["folded"]]) == ("red.png", ["half.png", "green.png"])
    assert world.diversities[-1] == 0.25
    lines = run("search", file, "--fold-above", 0.9).stdout.splitlines()
    assert [line.lstrip()[0] for line in lines[1:]] == ["1", *["+"] * len(match["folded"])]


@pytest.mark.parametrize(
    "arguments",
    [
        ["duplicates", "--above", "1.5"],
        ["duplicates", "--above", "nan"],
        ["search", "--image", "x", "--diversity", "1.1"],
        ["search", "--image", "x", "--fold-above", "-2"],
    ],
)
def test_numbers_out_of_range_are_misuse(run, arguments):
    assert run(*arguments).exit_code == 2
