"""Labels that units detect, side by side, and how they go with the gallery."""

import pytest

from whymatch.client import LabelShare, TheoreticalField, UnitDescription
from whymatch.client.apps.unit_labels import NetworkLabels
from whymatch.client.draw.detector_bars import detector_bars

FIELD = TheoreticalField(3, 3, 1, 1, "")


def network(labels: str, counts: dict[str, int]) -> NetworkLabels:
    """A network with a unit for each letter, which detects that label."""
    units = [
        UnitDescription("m", "l", channel, 9, 1.0, (), (LabelShare(label, 9, 1.0),), 9, FIELD, None)
        for channel, label in enumerate(labels)
    ]
    return NetworkLabels("net", "l", "m", units, 0.5, counts)


@pytest.mark.parametrize(
    ("labels", "counts", "expected"),
    [
        ("abbccc", {"a": 10, "b": 20, "c": 30}, 1),
        ("aaabbc", {"a": 10, "b": 20, "c": 30}, -1),
        ("abc", {"a": 10, "b": 20, "c": 30}, None),
        ("aab", {"a": 10, "b": 10, "c": 10}, None),
        ("aab", {"a": 10, "b": 20}, None),
    ],
)
def test_detectors_may_go_with_the_images_of_their_label(labels, counts, expected):
    found = network(labels, counts).frequency_correlation
    assert found is None if expected is None else found == pytest.approx(expected)


def test_bars_have_a_row_for_each_label_and_stop_somewhere():
    few = detector_bars([("one", {"a": 3, "b": 1}), ("two", {"b": 2})])
    many = detector_bars([("one", {f"label {n}": n + 1 for n in range(200)})])
    assert few.height < many.height < 60 * 30
    assert detector_bars([("none", {})]).height > 0
