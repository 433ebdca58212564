"""`whymatch compare`: its numbers by hand, and a whole run against real servers."""

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from sample_pictures import picture
from typer.testing import CliRunner, Result

from whymatch.client import Box, ColorScale, SimilarityMap, find_images
from whymatch.client.apps.compare.comparison import Found, Side
from whymatch.client.apps.compare.measures import half_share, map_distance
from whymatch.client.apps.compare.run import CompareFailed, Query, compare, find_queries
from whymatch.client.cli.app import app
from whymatch.client.draw.maps import common_scale, fitted_down, lit

WHOLE = Box(0, 0, 12, 6)


def similarity_map(*rows: list[float], area: Box = WHOLE) -> SimilarityMap:
    values = np.array(rows, np.float32)
    return SimilarityMap(values, float(values.sum()), 12, 6, area, None)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["compare", *map(str, arguments)])


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Two labels of three pictures each, which are one picture cut in three ways, and a file that is no image."""
    folder = tmp_path_factory.mktemp("photos")
    for label, seed in (("cats", 1), ("dogs", 2)):
        (folder / label).mkdir()
        for number, name in enumerate(["train__a", "train__b", "val__c"]):
            picture(seed).crop((4 * number, 0, 84 + 4 * number, 64)).save(folder / label / f"{name}.png")
    (folder / "dogs" / "train__broken.png").write_bytes(b"no image")
    return folder


@pytest.fixture(scope="module")
def done(photos, tmp_path_factory):
    """A run of two models over the training images, with the others as queries, and where it wrote."""
    output = tmp_path_factory.mktemp("output")
    models = ["--model", "bundled", "--model", "bundled:max"]
    result = run(
        *(photos, *models, "--include", "train__*", "--include-queries", "val__*", "--output", output, "--json")
    )
    assert result.exit_code == 0, result.output
    return result, output


def test_a_map_has_not_moved_from_itself_nor_from_a_multiple():
    one, twice = similarity_map([0.1, 0.3]), similarity_map([0.2, 0.6])
    assert map_distance(one, one) == 0
    assert map_distance(one, twice) == pytest.approx(0)


def test_maps_without_a_common_place_are_1_apart():
    assert map_distance(similarity_map([1, 0]), similarity_map([0, 1])) == 1


def test_a_quarter_that_went_elsewhere_is_a_quarter():
    assert map_distance(similarity_map([0.5, 0.5]), similarity_map([0.75, 0.25])) == pytest.approx(0.25)


def test_grids_may_differ():
    assert map_distance(similarity_map([1, 1]), similarity_map([1, 1, 1], [1, 1, 1])) == pytest.approx(0)
    assert map_distance(similarity_map([1, 0]), similarity_map([1, 0, 0])) == pytest.approx(1 / 3)


def test_areas_may_differ():
    left = Box(0, 0, 6, 6)
    assert map_distance(similarity_map([1]), similarity_map([1], area=left)) == pytest.approx(0.5)


def test_only_what_speaks_for_the_match_is_compared():
    assert map_distance(similarity_map([1, -5]), similarity_map([1, 0])) == 0
    assert map_distance(similarity_map([1, 0]), similarity_map([-1, 0])) is None


@pytest.mark.parametrize(
    ("values", "share"), [([1, 1, 1, 1], 0.5), ([5, 1, 1, 1], 0.25), ([0, 0, 0, 1], 0.25), ([0, -1, 0, 0], None)]
)
def test_half_of_a_map_lies_in_a_share_of_its_cells(values, share):
    assert half_share(similarity_map(values)) == share


def test_a_scale_of_signed_maps_has_0_in_its_middle():
    assert common_scale([similarity_map([-0.5, 0.25])]) == ColorScale(-0.5, 0.5, "RdBu_r")
    assert common_scale([similarity_map([-1e-9, 0.25])]) == ColorScale(0, 0.25, "inferno")


def test_pictures_stand_upright_on_white(tmp_path):
    turned, clear = tmp_path / "turned.jpg", tmp_path / "clear.png"
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    picture(1, 12, 6).save(turned, exif=exif)
    PIL.Image.new("RGBA", (12, 6), (0, 0, 0, 0)).save(clear)
    assert fitted_down(turned.read_bytes(), 100).size == (6, 12)
    assert fitted_down(clear.read_bytes(), 100).getpixel((5, 5)) == (255, 255, 255)


def test_the_narrowest_picture_can_be_drawn():
    line = SimilarityMap(np.ones((4, 1), np.float32), 4, 1, 4000, Box(0, 0, 1, 4000), None)
    assert lit(PIL.Image.new("RGB", (1, 4000)), line, ColorScale(0, 1, "inferno")).size == (1, 288)


def test_queries_are_evenly_spread_and_know_their_own_image_and_label(photos):
    gallery = find_images([photos], label="", labels_from_folders=True, include="train__[ab]*")
    [first, second] = find_queries(gallery, [photos], include="train__[ab]*", count=2)
    assert first == Query(photos / "cats" / "train__b.png", "cats~train__b.png", "cats", "cats~train__b.png")
    assert second.name == "dogs~train__b.png"
    [outside] = find_queries(gallery, [photos / "dogs" / "val__c.png"])
    assert (outside.label, outside.own) == ("dogs", "")


def test_a_label_that_no_other_image_has_is_not_known(photos):
    gallery = find_images([photos], label="", labels_from_folders=True, include="*_a.png")
    assert [query.label for query in find_queries(gallery, [photos], include="*_a.png")] == ["", ""]


def test_both_models_find_the_cuts_of_a_picture_and_their_maps_differ(done):
    document = json.loads(done[0].stdout)
    average, greatest = document["models"]
    assert (average["model"], average["pooling"]) == ("bundled", "average")
    assert (greatest["model"], greatest["pooling"]) == ("bundled:max", "max")
    assert average["fingerprint"] != greatest["fingerprint"]
    assert (average["precision_at_1"], greatest["precision_at_1"]) == (1, 1)
    assert average["map_moved"] is None
    assert 0 < greatest["map_moved"] < 1
    assert greatest["half_share"] < average["half_share"]


def test_the_answers_of_a_query_stand_side_by_side(done):
    document = json.loads(done[0].stdout)
    cats, dogs = document["queries"]
    assert (cats["query"], cats["label"]) == ("cats~val__c.png", "cats")
    assert [answer["model"] for answer in dogs["answers"]] == ["bundled", "bundled:max"]
    for answer in dogs["answers"]:
        assert [match["right"] for match in answer["matches"]] == [True, True, False]
        assert answer["matches"][0]["score"] > answer["matches"][2]["score"]


def test_what_cannot_be_read_is_left_out_and_reported(done, photos):
    result, output = done
    document = json.loads(result.stdout)
    assert document["images"] == 4
    assert [failure["name"] for failure in document["failures"]] == ["dogs~train__broken.png"]
    assert f"left out: {photos / 'dogs' / 'train__broken.png'}: " in result.stderr
    assert "train__broken.png" in (output / "report.html").read_text()


def test_report_and_sheets_hold_all_pictures(done):
    result, output = done
    assert json.loads(result.stdout)["report"] == str(output / "report.html")
    assert sorted(path.name for path in output.iterdir()) == ["query-01.png", "query-02.png", "report.html"]
    page = (output / "report.html").read_text()
    assert page.count('src="data:image/webp;base64,') == page.count("<img") == 2 * 2 * (1 + 2 * 3)
    assert page.count('class="scale"') == 4
    assert page.count("map moved by") == 6
    with PIL.Image.open(output / "query-01.png") as sheet:
        assert sheet.width > 7 * 200


@pytest.fixture(scope="module")
def paired(photos, tmp_path_factory):
    """A run of two models over given pairs: each cut of one label with a cut of either, and a file that is no image."""
    output = tmp_path_factory.mktemp("pairs")
    matches = [photos / label / "train__a.png" for label in ("dogs", "cats")] + [photos / "dogs" / "train__broken.png"]
    named = [word for path in matches for word in ("--match", path)]
    result = run(
        *(photos, "--model", "bundled", "--model", "bundled:max", "--queries", photos / "cats", *named),
        *("--output", output, "--json"),
    )
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout), output


def test_given_pairs_are_the_same_under_every_model_and_in_their_order(paired):
    document, _ = paired
    assert (document["images"], len(document["queries"])) == (2, 3)
    for query in document["queries"]:
        for answer in query["answers"]:
            assert [(match["name"], match["right"]) for match in answer["matches"]] == [("train__a.png", None)] * 2
            assert [match["label"] for match in answer["matches"]] == ["dogs", "cats"]
    assert [failure["name"] for failure in document["failures"]] == ["train__broken.png"]


def test_given_pairs_have_the_scores_of_each_model(paired):
    document, _ = paired
    average, greatest = document["queries"][0]["answers"]  # the picture of the second match itself
    assert [average["matches"][1]["score"], greatest["matches"][1]["score"]] == pytest.approx([1, 1], abs=1e-5)
    assert average["matches"][0]["score"] != pytest.approx(greatest["matches"][0]["score"], abs=1e-3)
    assert [match["map_moved"] for match in average["matches"]] == [None, None]
    assert all(0 < match["map_moved"] < 1 for match in greatest["matches"])
    assert [model["precision_at_1"] for model in document["models"]] == [None, None]


def test_a_report_of_given_pairs_says_so(paired):
    _, output = paired
    page = (output / "report.html").read_text()
    assert "each with the same 2 matches under" in page
    assert "its best matches" not in page
    assert sorted(path.name for path in output.iterdir()) == [f"query-0{n}.png" for n in (1, 2, 3)] + ["report.html"]


def test_the_scale_of_a_weak_query_is_its_own():
    strong, weak = (
        Found(Path("m"), "m", "", 1, None, similarity_map([high]), similarity_map([high / 2]), None)
        for high in (0.5, 0.1)
    )
    side = Side("bundled", None, [[strong, weak], [weak]])
    assert [side.scale(number).high for number in (0, 1)] == pytest.approx([0.5, 0.1])


def test_a_gallery_of_copies_of_the_query_has_no_match(tmp_path):
    for name in ("one.png", "copy.png"):
        picture(1).save(tmp_path / name)
    images = find_images([tmp_path])
    with pytest.raises(CompareFailed, match="searched for without itself"):
        compare(images, find_queries(images, [tmp_path]), ["bundled"], limit=1)


def test_a_model_that_cannot_start_is_named_with_the_words_of_the_server(photos):
    images = find_images([photos], label="", labels_from_folders=True)
    with pytest.raises(CompareFailed, match=r"missing\.pth:max") as raised:
        compare(images, find_queries(images, [photos]), ["missing.pth:max"], limit=1)
    assert "whymatch: there is no weights file 'missing.pth'" in str(raised.value)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([], "Missing option '--model'"),
        (["--model", "bundled", "--include", "test__*"], "no images whose name matches 'test__*'"),
        (["--model", "bundled", "--include-queries", "test__*"], "no images whose name matches 'test__*'"),
        (["--model", "bundled", "--queries", "missing.png"], "missing.png"),
        (["--model", "bundled", "--match", "missing.png"], "missing.png"),
        (["--model", "bundled", "--match", ".", "--limit", "2"], "--match names what is shown, which excludes --limit"),
    ],
)
def test_misuse_is_exit_code_2(photos, flags, words):
    result = run(photos, *flags)
    assert result.exit_code == 2
    assert words in " ".join(result.stderr.replace("│", " ").split())


def test_an_empty_gallery_is_misuse(tmp_path):
    result = run(tmp_path, "--model", "bundled")
    assert (result.exit_code, "no images in" in result.stderr) == (2, True)
