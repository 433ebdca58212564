"""One value of each kind that the command line prints as a JSON document, with and without its optional parts."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from whymatch.client import results, unit_results
from whymatch.client.apps import add, documents
from whymatch.client.apps.compare.comparison import Comparison, Found, Query, Side
from whymatch.client.apps.unit_labels import NetworkLabels
from whymatch.client.draw.runs import DifferenceRun
from whymatch.client.draw.unit_words import UnitCard
from whymatch.client.unit_results import (
    AxisSetting,
    ColorCategory,
    ColorSelectivity,
    ColorShare,
    ColorThresholds,
    FilterColor,
    LabelShare,
    OccluderSetting,
    SelectivitySetting,
    TheoreticalField,
)

PATH = Path("folder/1.png")
TIME = datetime(2026, 11, 30, 12, 30, 15, 250000, UTC)
BOX = results.Box(0.0, 0.5, 4.0, 2.0)
GRID = np.array([[0.25, 0.5, -0.125], [0.0, 1.0, 2.0]], np.float32)
HEAD = results.Head("whitening", 2, 3, 5, "f", TIME)
IMAGE = results.Image("cat.jpg", "cat", {"by": "me"}, 4, 2, 99, "abc", TIME, TIME)
MAP = results.SimilarityMap(GRID, 3.625, 4, 2, BOX, BOX, b"png")
UNBOXED = results.SimilarityMap(-np.abs(GRID), -3.875, 4, 2, BOX, None)
MODEL = results.Model(
    "f",
    "bundled",
    "conv",
    "average",
    "float32",
    3,
    {},
    (results.Layer("conv", ("last",), 3), results.Layer("fc", (), 2)),
)
COLOR = ColorSelectivity(
    0.75,
    0.25,
    False,
    ("red", "blue"),
    (ColorShare("red", 0.5), ColorShare("blue", 0.25)),
    (ColorCategory(0.5, (ColorShare("red", 1.0),)), ColorCategory(0.25, ())),
    1000,
    SelectivitySetting(3, 20, 0.2, 0.01, 200, 0),
)
FILTER_COLOR = FilterColor(
    *("varied", "aligned", 0.9, "centered", 0.01, "chromatic", 0.125, "double", ("red", "green"), 12.5),
    ColorThresholds(0.01, 0.75, 0.1, 0.5, 0.25, 0.875),
)
FIELD = TheoreticalField(7, 5, 2, 1, "")


def match(query_map: results.SimilarityMap | None, match_map: results.SimilarityMap | None) -> results.Match:
    return results.Match(IMAGE, 0.25, 0.5, query_map, match_map)


def unit(channel: int, *, dead: bool = False, label: str = "cat") -> unit_results.UnitDescription:
    top = unit_results.TopImage("cat.jpg", label, 1.5, (2, 3), BOX, b"png")
    labels = (LabelShare(label, 3, 0.75), LabelShare("dog", 1, 0.25))
    seen = () if dead else (top,)
    return unit_results.UnitDescription(
        *("f", "conv", channel, 10, 0.0 if dead else 1.5, seen, () if dead else labels, 4, FIELD),
        None if dead else COLOR,
    )


def decoded(values: np.ndarray | None) -> unit_results.DecodedFilter:
    return unit_results.DecodedFilter("f", "conv", 1, 3, 2, values, 0.5, b"png", FILTER_COLOR)


LIKELY = unit_results.LikelyClass("cat", 0.75)
COUNTS = {"cat": 5, "dog": 4, "fox": 3}


def layer_colors(*, whole: bool) -> unit_results.LayerColors:
    colors = unit_results.UnitColors(0, FILTER_COLOR if whole else None, COLOR if whole else None)
    axes = (unit_results.ColorAxis(12.5, 3.0, 1.0),) if whole else ()
    setting = AxisSetting(1, 6, 10, 1.0, 0, 9) if whole else None
    return unit_results.LayerColors(
        *("f", "conv", (colors,), axes, "" if whole else "too few", (1, 2) if whole else ()),
        np.ones(181 if whole else 0, np.float32),
        *(1.5, 90.0, setting, ((0.25, 0.5), (0.5, 0.25)) if whole else (), 2, not whole),
    )


def field(box: results.Box | None) -> unit_results.EmpiricalField:
    values = GRID if box else np.zeros((0, 0), np.float32)
    setting = OccluderSetting(11, 3, 0.5, 0, 64)
    return unit_results.EmpiricalField("f", "conv", 1, 3, 2, FIELD, values, box, 5, 60, 12, 0.25, setting)


def segment(threshold: float | None) -> unit_results.UnitSegment:
    label = LabelShare("cat", 3, 0.75) if threshold else None
    return unit_results.UnitSegment("conv", 1, GRID, threshold, 2.5, 100, 0.25, BOX, 4, 2, b"png", label=label)


def steps() -> list[unit_results.MinimalImageStep]:
    parts = np.array([[0, 0], [1, 1]], np.int32)
    return [
        unit_results.MinimalImageStep("f", None, 2, 1.0, 0.75, "cat", False, 1, parts, BOX),
        unit_results.MinimalImageStep("f", 1, 1, 0.5, 0.625, "cat", False, 2, None, None),
        unit_results.MinimalImageStep("f", 1, 1, 0.5, 0.625, "cat", True, 3, None, None),
    ]


def difference_runs() -> Iterator[DifferenceRun]:
    """A run with all that there can be, and one that was resumed."""
    one = results.DifferenceMap("class:cat", 0.5, "bits", GRID, GRID, GRID, 4, 2, BOX)
    bare = results.DifferenceMap("class:cat", 0.5, "bits", GRID, None, None, 4, 2, BOX)
    sampler = results.PatchSampler("conditional", 5, 100, 7)
    for known in (True, False):
        explanation = results.PredictionDifferenceExplanation(
            *("x1", "f", (one if known else bare,), results.Progress("evaluations", 60, 120), 30.0, 2.0, known),
            *((sampler, results.PredictionDifferenceSetting(10, 14, 20, 4)) if known else (None, None)),
            *(0.25, ("conv",) if known else ()),
        )
        yield DifferenceRun("cat.jpg" if known else None, None, explanation, 1.0, "bundled" if known else "")


def interactive(*norms: float) -> results.InterActiveExplanation:
    weights, descriptor = results.WeightMap(GRID, 4, 2), np.array([0.6, 0.8], np.float32)
    found = [
        results.Activeness(results.InterActiveSetting("conv", "next", norm), weights, given, None)
        for norm, given in zip(norms, (descriptor, None), strict=False)
    ]
    return results.InterActiveExplanation(tuple(found), 64, 32, "f")


def explanation() -> results.MatchExplanation:
    channels = (results.ChannelShare(5, 0.25, 0.5, ("conv", 5)), results.ChannelShare(6, 0.125, 0.25))
    pairs = (results.Correspondence(BOX, BOX, 0.125),)
    return results.MatchExplanation(0.5, 0.75, MAP, UNBOXED, 1e-7, channels, pairs, "f", None)


def ranking(second: results.RankedScore) -> results.RankingExplanation:
    first = results.RankedScore(0.5, 1, UNBOXED, "abc")
    channels, cells = (results.ChannelShare(5, 0.25, 0.5, ("conv", 5)),), (results.CellShare(BOX, -0.125, -0.25),)
    return results.RankingExplanation(0.25, first, second, MAP, channels, cells, 1e-7, "f", None, None)


def comparison() -> Comparison:
    query = Query(PATH, "cat.jpg", "cat", "")
    found = [Found(PATH, "a", "cat", 0.5, right, MAP, UNBOXED, moved) for right, moved in ((True, 0.25), (None, None))]
    side = Side("bundled", MODEL, [found])
    return Comparison(10, [query], [side], [add.Failure("x.png", "x", "NOT_AN_IMAGE", "no image")])


def sample_documents() -> dict[str, object]:
    """Return a document of each kind, by name."""
    whole, resumed = difference_runs()
    bare = results.SearchResult((match(None, None),), "f", None)
    mapped = results.SearchResult((match(MAP, UNBOXED), match(UNBOXED, None)), "f", None)
    summary = add.Summary("default", 2, 1, 1, [add.Failure("x.png", "x", "NOT_AN_IMAGE", "no image")])
    networks = [NetworkLabels("bundled", "conv", "f", [unit(0), unit(1, dead=True), unit(2, label="dog")], 0.5, COUNTS)]
    feature_map = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
    vector = np.array([0.6, 0.8], np.float32)
    return {
        "image": documents.image(IMAGE),
        "gallery": documents.gallery(results.Gallery("default", "f", "auto", False, 5, TIME, HEAD, 9)),
        "gallery without a head": documents.gallery(results.Gallery("default", "f", "auto", True, 5, TIME)),
        "search": documents.search("q.jpg", bare, {}, by_region=False),
        "search with maps": documents.search("q.jpg", mapped, {"01-query": PATH, "01-match": PATH}, by_region=True),
        "explanation": documents.explanation("q.jpg", "m.jpg", explanation(), {"query": PATH}, {5: PATH}),
        "label": documents.label_explanation("q", "cat", results.LabelExplanation(0.5, 3, MAP, "f", None), None),
        "ranking": documents.ranking(
            "q", "a", "b", ranking(results.RankedScore(0.25, 1, MAP, "def")), {"difference": PATH, "second": PATH}
        ),
        "ranking of labels": documents.ranking("q", "a", "b", ranking(results.RankedScore(0.25, 3, None, "")), {}),
        "standing": documents.standing("q", "a", results.Standing(0.25, 7, 9, 0.5, "b", 5, "f")),
        "neighborhood": documents.neighborhood(
            "q",
            results.Neighborhood(
                *(4, (results.NeighborLabel("cat", 3, 0.75, 0.875),), 2),
                *((results.LabelScore("cat", 5, 0.5),), (results.LabelScore("dog", 4, 0.25),), "f"),
            ),
        ),
        "components": documents.component_shares(results.ComponentShares(vector, vector / 2, vector * 2, 7, "f")),
        "interactive": documents.interactive("q.jpg", interactive(2.0), []),
        "interactive, several": documents.interactive("q.jpg", interactive(float("inf"), 1.0), [PATH, PATH]),
        "prediction difference": documents.prediction_difference(whole, whole.explanation.maps[0], PATH),
        "prediction difference, resumed": documents.prediction_difference(resumed, resumed.explanation.maps[0], None),
        "layers": documents.layers(MODEL),
        "embedding": documents.embedding("q.jpg", results.Embedding(vector, None, "f", 4, 2)),
        "embedding with map": documents.embedding("q.jpg", results.Embedding(vector, feature_map, "f", 4, 2)),
        "card": documents.card(UnitCard(unit(1), decoded(None)), PATH),
        "card of a dead unit": documents.card(UnitCard(unit(1, dead=True), None, "its layer is no convolution")),
        "card without a filter": documents.card(UnitCard(unit(1))),
        "filter": documents.decoded_filter(decoded(feature_map), PATH),
        "filter without values": documents.decoded_filter(decoded(None), None),
        "colors": documents.layer_colors(layer_colors(whole=True)),
        "colors of a gray layer": documents.layer_colors(layer_colors(whole=False)),
        "field": documents.field(field(BOX)),
        "field of a dead unit": documents.field(field(None)),
        "segments": documents.segmentation(
            "q.jpg",
            unit_results.Segmentation("f", (segment(0.5), segment(None)), (match(None, None),), (LIKELY,)),
            [PATH, None],
        ),
        "minimal image": documents.minimal_image("q.jpg", steps(), PATH),
        "minimal image, the last step alone": documents.minimal_image("q.jpg", steps()[-1:], None),
        "labels": documents.labels(networks, 0.5),
        "added": summary.document(),
        "comparison": comparison().document(),
    }
