import numpy as np
import pytest

from whymatch.embed import Features, Geometry, Pooling
from whymatch.explain import BadRegion, Box, Region, cell_weights
from whymatch.server.match_maps import Sought, region_scores
from whymatch.server.regions import MatchWeights

BOX = Region(Box(0, 0, 10, 5))


def features(seed: int, width: int, height: int, rows: int, columns: int) -> Features:
    feature_map = np.random.default_rng(seed).random((rows, columns, 6), np.float32)
    placement = Geometry().placement(width, height)
    return Features(feature_map, Pooling().pool(feature_map), Pooling(), placement)


def sought(vector: np.ndarray, region: Region = BOX) -> Sought:
    return Sought(None, None, vector, MatchWeights([region]))


def test_each_candidate_is_scored_with_the_cells_of_its_own_size_and_grid():
    shapes = [(20, 10, 4, 4), (40, 10, 4, 4), (20, 10, 2, 4), (20, 10, 4, 4), (20, 30, 4, 4)]
    candidates = [features(seed, *shape) for seed, shape in enumerate(shapes)]
    vector = features(99, 20, 10, 3, 3).embedding
    expected = [
        np.sum(cell_weights([BOX], one.placement, *shape[2:]) * (one.contributions() @ vector))
        for one, shape in zip(candidates, shapes, strict=True)
    ]
    names = [str(number) for number in range(len(shapes))]
    assert region_scores(sought(vector), names, candidates) == pytest.approx(expected, abs=1e-6)


def test_a_candidate_that_a_region_does_not_fit_is_named():
    small = features(0, 9, 9, 2, 2)
    outside = Region(Box(10, 0, 20, 5))
    with pytest.raises(BadRegion, match=r"candidate 'small.jpg': the box from 10, 0 to 20, 5 .*`relative`"):
        region_scores(sought(small.embedding, outside), ["small.jpg"], [small])
