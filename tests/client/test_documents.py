"""The JSON documents of the command line keep their names and their order: other programs read them."""

import json
from pathlib import Path

import numpy as np
import pytest
from sample_results import BOX, TIME, sample_documents

from whymatch.client.apps.plain import plain, record

KEPT = json.loads((Path(__file__).parent / "documents.json").read_text())


@pytest.fixture(scope="module")
def made() -> dict[str, object]:
    return sample_documents()


def test_every_document_is_kept(made):
    assert list(made) == list(KEPT)


@pytest.mark.parametrize("name", KEPT)
def test_a_document_is_what_it_was(made, name):
    assert json.dumps(made[name], allow_nan=False) == json.dumps(KEPT[name])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (BOX, {"left_px": 0.0, "top_px": 0.5, "right_px": 4.0, "bottom_px": 2.0}),
        (np.array([[1, 2, 3]]), {"rows": 1, "columns": 3, "values": [[1, 2, 3]]}),
        ({"curve": np.array([0.5, 0.25])}, {"curve": [0.5, 0.25]}),
        ((TIME, Path("a/b"), None), ["2026-11-30T12:30:15.250000+00:00", "a/b", None]),
        (float("inf"), "inf"),
    ],
)
def test_values_become_plain(value, expected):
    assert plain(value) == expected


def test_a_record_has_the_fields_that_are_named_in_their_order():
    assert list(record(BOX, "top_px", "left_px").items()) == [("top_px", 0.5), ("left_px", 0.0)]
