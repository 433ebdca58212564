"""The example of docs/similarity-maps.md: its numbers are read from the page."""

import re
from pathlib import Path

import numpy as np
import pytest
from sample_features import features

from whymatch.embed import Geometry, Head, Pooling
from whymatch.explain import (
    Box,
    Point,
    Region,
    cell_weights,
    component_shares,
    correspondences,
    explain_match,
    leading_channels,
)

PAGE = (Path(__file__).parents[2] / "docs" / "similarity-maps.md").read_text().partition("## By hand")[2]
ACTIVATIONS, MAPS = (
    np.array([[float(number) for number in re.findall(r"[\d.]+", line)] for line in block.splitlines()[1:]])
    for block in re.findall(r"```\n(.*?)```", PAGE, re.DOTALL)[:2]
)
STATED = dict(re.findall(r"^\| (.*?) \| .* \| (-?[\d.]+) \|$", PAGE, re.MULTILINE))


def image(rows, kind="average"):
    channels = rows.reshape(2, 2, 2)  # row, channel, column
    return features(channels.transpose(0, 2, 1), Pooling(kind), Geometry().placement(20, 20))


QUERY, MATCH = image(ACTIVATIONS[:2]), image(ACTIVATIONS[2:])


def weights(*regions):
    return cell_weights([Region(*region) for region in regions], QUERY.placement, 2, 2)


def box(left, top, width, height) -> Box:
    return Box(left, top, left + width, top + height)


def computed() -> dict[str, float]:
    """What the table of the page states, by its first column."""
    explained = explain_match(QUERY, MATCH)
    maximum = explain_match(image(ACTIVATIONS[:2], "max"), image(ACTIVATIONS[2:], "max"))
    centering = Head("centering", None, np.array([-7, -1], np.float32))
    centered = explain_match(QUERY.through(centering), MATCH.through(centering))
    channels = {one.channel: one.score for one in leading_channels(QUERY.embedding, MATCH.embedding, 2)}
    best, second = correspondences(QUERY, MATCH, 2)
    right, part = weights((box(10, 0, 10, 20),)), weights((box(5, 0, 15, 10),))
    against = weights((box(5, 0, 15, 10),), (box(10, 10, 10, 10), -1))
    corner, top_right = weights((box(10, 10, 10, 10),)), weights((box(10, 0, 10, 10),))
    return {
        "score": explained.score,
        "sum of the query map": explained.query_map.total,
        "sum of the match map": explained.match_map.total,
        "part of channel 0": channels[0],
        "part of channel 1": channels[1],
        "share of the leading channel": component_shares(QUERY.embedding[None], MATCH.embedding[None])[0][0, 0],
        "query box 10,0,10,20 (the right half)": explain_match(QUERY, MATCH, right).score,
        "its share of the score": explain_match(QUERY, MATCH, right).score / explained.score,
        "query box 5,0,15,10 (half of a cell and a cell)": explain_match(QUERY, MATCH, part).score,
        "the same, and box 10,10,10,10 with weight -1": explain_match(QUERY, MATCH, against).score,
        "match box 10,10,10,10": explain_match(QUERY, MATCH, None, corner).score,
        "query box 10,0,10,10 and match box 10,10,10,10": explain_match(QUERY, MATCH, top_right, corner).score,
        "query point 15,15: sum of the match's map": explain_match(
            QUERY, MATCH, weights((Point(15, 15),))
        ).match_map.total,
        "best pair of cells: bottom right of both": best.score,
        "second pair: query top right, match bottom right": second.score,
        "score with `max` pooling": maximum.score,
        "top left of its query map": maximum.query_map.values[0, 0],
        "score behind centering, if the mean is (7, 1)": centered.score,
        "the query map there, top left": centered.query_map.values[0, 0],
        "the same, top right": centered.query_map.values[0, 1],
        "the same, bottom left": centered.query_map.values[1, 0],
        "the same, bottom right": centered.query_map.values[1, 1],
    }


def test_the_table_states_what_is_computed():
    expected = computed()
    assert {what: float(number) for what, number in STATED.items()} == pytest.approx(expected, abs=5e-5)


def test_the_maps_are_what_is_computed():
    explained = explain_match(QUERY, MATCH)
    assert np.allclose(MAPS, np.hstack([explained.query_map.values, explained.match_map.values]), atol=1e-6)


def test_the_pairs_of_cells_are_the_named_ones():
    best, second = correspondences(QUERY, MATCH, 2)
    assert best.query_cell == best.match_cell == second.match_cell == (10, 10, 20, 20)
    assert second.query_cell == (10, 0, 20, 10)
