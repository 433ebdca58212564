"""Measures of retrieval against hand and brute force, and `whymatch evaluate` on small folders."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from sample_pictures import encoded, picture
from typer.testing import CliRunner, Result

from whymatch.embed import BadFolder, load_model
from whymatch.index.evaluation import (
    Quality,
    color_histogram,
    embed_images,
    find_trial,
    findable,
    retrieval_quality,
)
from whymatch.index.evaluation.command import app
from whymatch.index.evaluation.metrics import ranks


def at_degrees(*angles: float) -> np.ndarray:
    """Unit vectors; the smaller the angle between two, the larger their inner product."""
    radians = np.radians(angles)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


def first_alone(count: int) -> dict[str, np.ndarray]:
    """The first image searches the others."""
    query = np.arange(count) == 0
    return {"queries": query, "gallery": ~query}


def test_all_measures_of_one_query_by_hand():
    quality = retrieval_quality(at_degrees(0, 10, 20, 30, 40), list("ababb"), **first_alone(5), recall_at=(1, 2))
    assert quality == Quality(1, 1, 0.0, {1: 0.0, 2: 1.0}, 1 / 2, 0.0)  # one of its label, at rank 2
    quality = retrieval_quality(at_degrees(0, 10, 20, 30, 40), list("aabab"), **first_alone(5), recall_at=(1,))
    assert quality.mean_average_precision == pytest.approx((1 / 1 + 2 / 3) / 2)  # two of its label, at ranks 1 and 3
    assert (quality.precision_at_1, quality.map_at_r) == (1, 1 / 2)


def test_measures_are_means_over_the_queries_when_each_image_searches_the_others():
    quality = retrieval_quality(at_degrees(0, 10, 25, 85), list("abba"), recall_at=(1, 2, 3))
    # Nearest first: 0 finds b b a; 10 finds a b a; 25 finds b a a; 85 finds b b a.
    assert (quality.queries, quality.labels, quality.precision_at_1) == (4, 2, 1 / 4)
    assert quality.recall_at == {1: 1 / 4, 2: 2 / 4, 3: 1}
    assert quality.mean_average_precision == pytest.approx((1 / 3 + 1 / 2 + 1 + 1 / 3) / 4)


def test_a_label_with_one_image_asks_nothing_but_stays_in_the_way():
    quality = retrieval_quality(at_degrees(0, 10, 30), list("asa"), recall_at=(1,))
    assert (quality.queries, quality.labels, quality.precision_at_1) == (2, 1, 0)
    everything = np.ones(3, bool)
    assert findable(list("asa"), everything, everything).tolist() == [True, False, True]


def test_equal_scores_keep_the_order_of_the_gallery():
    scores = np.array([5, 7, 5, 5, 1], np.float32)
    assert ranks(scores, np.array([3, 0])).tolist() == [2, 4]
    assert ranks(scores, np.array([4, 1])).tolist() == [1, 5]


def test_nothing_to_find_is_an_error():
    with pytest.raises(ValueError, match="no query"):
        retrieval_quality(at_degrees(0, 1), list("ab"))


@st.composite
def trials(draw):
    """Small whole numbers, so that inner products are exact and ties are common."""
    count = draw(st.integers(2, 12))
    rows = st.lists(st.integers(-2, 2), min_size=2, max_size=2)
    vectors = draw(st.lists(rows, min_size=count, max_size=count))
    labels = draw(st.lists(st.sampled_from("abc"), min_size=count, max_size=count))
    masks = [np.array(draw(st.lists(st.booleans(), min_size=count, max_size=count))) for _ in range(2)]
    return np.array(vectors, np.float32), labels, *masks


def by_brute_force(vectors, labels, queries, gallery):
    """Precision at 1, recall at 2, average precision and the same at r of each query that can find something."""
    found = []
    for query in np.flatnonzero(queries):
        others = [place for place in np.flatnonzero(gallery) if place != query]
        others.sort(key=lambda place: -float(vectors[place] @ vectors[query]))  # stable
        right = [labels[place] == labels[query] for place in others]
        if r := sum(right):
            precisions = [sum(right[: rank + 1]) / (rank + 1) if right[rank] else 0 for rank in range(len(right))]
            found.append((right[0], any(right[:2]), sum(precisions) / r, sum(precisions[:r]) / r))
    return np.mean(found, axis=0) if found else None


@given(trials(), st.integers(1, 30))
def test_measures_are_those_of_brute_force_in_blocks_of_any_size(trial, scores_at_a_time):
    vectors, labels, queries, gallery = trial
    expected = by_brute_force(*trial)
    if expected is None:
        return
    quality = retrieval_quality(
        vectors, labels, queries=queries, gallery=gallery, recall_at=(2,), scores_at_a_time=scores_at_a_time
    )
    measured = quality.precision_at_1, quality.recall_at[2], quality.mean_average_precision, quality.map_at_r
    assert measured == pytest.approx(expected)


def test_progress_counts_each_query_once():
    counted: list[int] = []
    retrieval_quality(at_degrees(*range(10)), list("ababababab"), scores_at_a_time=30, advance=counted.append)
    assert counted == [3, 3, 3, 1]


def test_a_histogram_knows_colors_alone():
    red, blue = (encoded(Image.new("RGB", (9, 9), color)) for color in ("red", "blue"))
    halves = encoded(Image.fromarray(np.array([[[255, 0, 0], [0, 0, 255]]], np.uint8)))
    assert color_histogram(red) @ color_histogram(blue) == 0
    assert color_histogram(halves) @ color_histogram(red) == pytest.approx(0.5**0.5)  # overlap of (1/2, 1/2), (1, 0)
    mirrored = [encoded(image) for image in (picture(1), picture(1).transpose(Image.Transpose.FLIP_LEFT_RIGHT))]
    assert color_histogram(mirrored[0]) @ color_histogram(mirrored[1]) == pytest.approx(1, abs=1e-3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three labels, each one picture in three sizes: every measure is 1."""
    for seed, label in enumerate(("cats", "dogs", "owls")):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for width in (96, 120, 144):
            kind = "val" if width == 144 else "train"
            picture(seed, width, width * 2 // 3).save(tmp_path / "photos" / label / f"{kind}__{width}.png")
    return tmp_path / "photos"


def evaluate(*arguments: object) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


def document(*arguments: object):
    result = evaluate(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_the_command_measures_the_bundled_model_and_the_baseline(folder):
    found = document(folder)
    bundled, baseline = found["models"]
    assert (bundled["model"], bundled["fingerprint"]) == ("bundled", load_model().fingerprint)
    assert (baseline["model"], baseline["fingerprint"], baseline["dimensions"]) == ("color-histogram", None, 256)
    for row in (bundled, baseline):
        assert (row["images"], row["queries"], row["labels"]) == (9, 9, 3)
        assert (row["precision_at_1"], row["map"], row["map_at_r"]) == (1, 1, 1)
        assert row["recall_at"] == {"1": 1, "5": 1, "10": 1}
        assert row["seconds"] > 0
    assert (found["single"], found["skipped"]) == ([], [])


def test_the_installed_command_is_the_same(folder):
    command = [sys.executable, "-m", "whymatch.client", "evaluate", folder, "--json", "--no-baseline"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    [bundled] = json.loads(done.stdout)["models"]
    assert (bundled["model"], bundled["precision_at_1"], bundled["map"]) == ("bundled", 1, 1)
    assert "embedding: bundled" in done.stderr


def test_several_models_are_a_table_and_a_plot(folder, tmp_path):
    plot = tmp_path / "$plot.png"
    result = evaluate(folder, "--model", "bundled", "--model", "bundled:max", "--recall-at", "2,1", "--plot", plot)
    assert result.exit_code == 0, result.output
    header, *rows, facts = result.stdout.splitlines()
    assert header.split() == ["model", "precision@1", "recall@2", "mAP", "mAP@R", "seconds"]
    assert [row.split()[:2] for row in rows] == [
        [name, "1.000"] for name in ("bundled", "bundled:max", "color-histogram")
    ]
    assert facts == "9 queries of 3 labels, 9 images in all"
    with Image.open(plot) as image:
        assert image.format == "PNG"


def test_one_folder_serves_as_both_sides_by_names(folder):
    [row] = document(folder, "--no-baseline", "--include", "train__*", "--include-queries", "val__*")["models"]
    assert (row["images"], row["queries"], row["precision_at_1"]) == (9, 3, 1)


def test_a_folder_of_queries_searches_the_other_and_lost_labels_are_named(folder, tmp_path):
    queries = tmp_path / "queries"
    for seed, label in enumerate(("cats", "dogs", "bats")):
        (queries / label).mkdir(parents=True)
        picture(seed, 80, 60).save(queries / label / "query.png")
    found = document(folder, "--queries", queries, "--no-baseline")
    [row] = found["models"]
    assert (row["images"], row["queries"], row["labels"], row["map"]) == (12, 2, 2, 1)
    assert found["single"] == ["bats"]


def test_a_query_that_is_in_the_gallery_does_not_find_itself(folder):
    trial = find_trial(folder, folder / "cats" / ".." / "cats")
    assert len(trial.images) == 9
    assert (trial.queries.sum(), trial.gallery.sum()) == (3, 9)


def test_unreadable_images_are_left_out_and_reported_at_the_end(folder):
    (folder / "cats" / "bad.png").write_text("no image")
    (folder / "cats" / "gone.png").symlink_to("nowhere")
    found = document(folder)
    assert [row["images"] for row in found["models"]] == [9, 9]
    assert [Path(one["path"]).name for one in found["skipped"]] == ["bad.png", "gone.png"]
    result = evaluate(folder)
    assert result.exit_code == 0
    *_, bad, gone = result.stderr.splitlines()
    assert "bad.png was left out: the 8 bytes are not an image" in bad
    assert "gone.png was left out: " in gone


def test_links_lead_to_each_image_once_and_what_is_left_out_is_told(folder):
    (folder / "cats/up").symlink_to("..")
    (folder / "notes.txt").touch()
    queries = folder.parent / "queries"
    queries.mkdir()
    (queries / "all").symlink_to(folder)
    trial = find_trial(folder, queries)
    assert len(trial.images) == trial.queries.sum() == 9  # no image is its own copy
    result = evaluate(folder, "--no-baseline")
    assert "1 file left out: .txt 1" in result.stderr
    assert json.loads(evaluate(folder, "--json").stdout)["models"][0]["images"] == 9


def test_a_label_that_loses_its_second_image_is_single(folder):
    for name in ("train__96.png", "train__120.png"):
        (folder / "owls" / name).write_text("no image")
    found = document(folder, "--no-baseline")
    assert found["single"] == ["owls"]
    assert (found["models"][0]["images"], found["models"][0]["queries"]) == (7, 6)


def test_folders_without_labels_are_refused(folder):
    with pytest.raises(BadFolder, match=r"have one label \(cats\)"):
        find_trial(folder / "cats")
    with pytest.raises(BadFolder, match="two images or more in the folder of each label"):
        find_trial(folder, include="val__*")
    with pytest.raises(BadFolder, match="matches 'test__"):
        find_trial(folder, include_queries="test__*")


def test_only_unreadable_images_are_an_error(folder, model):
    for path in folder.rglob("*.png"):
        path.write_text("no image")
    with pytest.raises(BadFolder, match="none of the 9 images can be read"):
        embed_images(model, sorted(folder.rglob("*.png")))


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        (("--model", "no_such_network"), 1, "no_such_network"),
        (("--model", "missing.safetensors"), 1, "there is no weights file"),
        (("--device", "warp"), 1, "warp"),
        (("--include", "test__*"), 1, "matches 'test__*'"),
        (("--queries", "missing"), 2, "missing"),
        (("--recall-at", "1,x"), 2, "1,x"),
        (("--recall-at", "0"), 2, "begin at 1"),
        (("--plot", "plot.bmp"), 2, ".png"),
        (("--plot", "missing/plot.png"), 2, "no folder"),
    ],
)
def test_what_cannot_be_done_is_said_before_the_work(folder, flags, code, said):
    result = evaluate(folder, *flags)
    assert (result.exit_code, result.stdout) == (code, "")
    assert said in result.stderr
    assert "embedding" not in result.stderr


def test_a_missing_folder_is_misuse(tmp_path):
    assert evaluate(tmp_path / "missing").exit_code == 2


def test_help_names_the_flags():
    shown = CliRunner(env={"COLUMNS": "200", "TERM": "dumb"}).invoke(app, ["--help"]).stdout
    flags = (
        "--model",
        "--queries",
        "--include",
        "--include-queries",
        "--recall-at",
        "--no-baseline",
        "--plot",
        "--json",
    )
    assert all(flag in shown for flag in flags)
