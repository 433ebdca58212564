"""Segments and labels by hand."""

from datetime import UTC, datetime

import numpy as np
import pytest

from whymatch.embed import Geometry
from whymatch.explain.units import LabelShare, ReceptiveField, Sight, TopImage, UnitTops, label_shares
from whymatch.explain.units.segmentation import segment, upsample
from whymatch.index import StoredImage


def field(stride: int, center: float, cells: int, size: int) -> ReceptiveField:
    sight = Sight(3, stride, center)
    return ReceptiveField("layer", sight, sight, (size, size), (cells, cells), None)


def test_a_response_is_that_of_the_center_of_what_its_cell_sees():
    upsampled = upsample(np.array([[0.0, 4], [8, 12]], np.float32), field(4, 2.5, 2, 9))
    assert upsampled[2, 2] == 0  # the pixel whose middle is at 2.5
    assert upsampled[2, 6] == 4
    assert upsampled[6, 2] == 8
    assert upsampled[6, 6] == 12
    assert upsampled[2, 3] == pytest.approx(1)
    assert upsampled[4, 4] == pytest.approx(6)
    assert upsampled[0, 0] == 0  # beyond the outermost centers as there
    assert upsampled[8, 8] == 12


def test_where_all_units_see_everything_their_cells_are_spread_evenly():
    upsampled = upsample(np.array([[0.0, 1], [0, 1]], np.float32), field(0, 2, 2, 4))
    assert upsampled[0] == pytest.approx([0, 0.5, 1, 1])


@pytest.mark.parametrize("center", [2, 2.5, 3])
def test_every_response_is_reached_somewhere(center):
    responses = np.array([[0.0, 4], [8, 12]], np.float32)
    upsampled = upsample(responses, field(4, center, 2, 9))
    assert set(responses.ravel()) <= set(upsampled.ravel())
    assert segment(0, responses, field(4, center, 2, 9), 12.0).mask.any()


def test_a_segment_begins_at_the_threshold():
    responses = np.array([[0.0, 4], [8, 12]], np.float32)
    found = segment(7, responses, field(4, 2.5, 2, 9), 12.0)
    assert found.unit == 7
    assert np.argwhere(found.mask).tolist() == [[row, column] for row in (6, 7, 8) for column in (6, 7, 8)]


def test_no_response_is_no_segment():
    responses = np.array([[0.0, 4], [8, 12]], np.float32)
    assert not segment(7, responses, field(4, 2.5, 2, 9), 0.0).mask[0, 0]
    assert not segment(7, responses - 20, field(4, 2.5, 2, 9), -15.0).mask.any()


def test_a_mask_comes_back_to_the_original_by_nearest_pixel():
    mask = np.array([[True, False], [False, True]])
    whole = Geometry("warp", 2).placement(4, 6).on_original(mask)
    assert whole.tolist() == [[True, True, False, False]] * 3 + [[False, False, True, True]] * 3


def test_what_was_cropped_away_is_outside():
    whole = Geometry("center-crop", 2).placement(6, 2).on_original(np.ones((2, 2), bool))
    assert whole.tolist() == [[False, False, True, True, False, False]] * 2


def tops(*labels: str) -> UnitTops:
    then = datetime(2026, 1, 1, tzinfo=UTC)
    images = [StoredImage(f"{n}", label, {}, 1, 1, 1, f"{n}", then, then) for n, label in enumerate(labels)]
    return UnitTops(0, tuple(TopImage(image, 9.0 - n, (0, 0)) for n, image in enumerate(images)), 100)


def test_precision_is_the_share_of_the_leading_images():
    found = label_shares(tops("cat", "dog", "cat", "", "cat", "dog", "bird"), 5)
    assert found == (LabelShare("cat", 3, 0.6), LabelShare("dog", 1, 0.2))
    assert label_shares(tops("b", "a"), 60) == (LabelShare("b", 1, 0.5), LabelShare("a", 1, 0.5))
    assert label_shares(tops("", ""), 60) == ()
    assert label_shares(tops(), 60) == ()
