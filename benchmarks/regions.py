"""Searching 100,000 stored vectors by a region, and reranking from stored feature maps, against the plain ways."""

import tempfile
from pathlib import Path

import numpy as np

from benchmarks.networks import small_network
from benchmarks.pictures import write_jpegs
from benchmarks.report import Figure, in_turn, spread
from benchmarks.searching import fill
from whymatch.embed import Embedder, Features, Model, load_named_model, normalized
from whymatch.explain import Box, Region, cell_weights, region_vector, similarity_map
from whymatch.index import Galleries, NewImage
from whymatch.server.match_maps import CHUNK, Sought, region_scores
from whymatch.server.regions import MatchWeights

COUNT = 100_000
SAMPLE = 500
GRID = (13, 13, 512)
CANDIDATES = 100
SIZE_PX = 224
"""Square inputs of this size give the small network feature maps of `GRID`."""
REGIONS = [Region(Box(0.2, 0.3, 0.6, 0.8), relative=True)]


def run() -> list[Figure]:
    """Measure both."""
    with tempfile.TemporaryDirectory() as folder:
        return [*_region_search(Path(folder)), _rerank(Path(folder))]


def _region_search(folder: Path) -> list[Figure]:
    model = load_named_model(small_network(folder))
    query, *sample = _random_features(model, SAMPLE + 1)
    random = np.random.default_rng(1).standard_normal((COUNT - SAMPLE, model.dimensions))
    vectors = np.concatenate([[one.embedding for one in sample], normalized(random)]).astype(np.float32)
    fill(folder / "search", model, vectors)
    with Galleries(folder / "search", model) as galleries:
        gallery = galleries.open("default")

        def plain() -> None:
            gallery.version.search(query.embedding[None], 10)

        def by_region() -> None:
            gallery.version.search(_part(query)[None], 10)

        def by_maps() -> None:
            _summed_maps(query, sample)

        _check_order(
            found=[int(match.image.name) for match in gallery.version.search(_part(query)[None], SAMPLE)[0]],
            scores=_summed_maps(query, sample),
        )
        both = in_turn(plain, by_region, rounds=100)
        region, sample = in_turn(by_region, by_maps)
    dearer, faster = both[1] / both[0], sample / SAMPLE * COUNT / region
    plain_ms, region_ms = np.median(both, axis=1) * 1000
    region_s, maps_s = np.median(region), np.median(sample) / SAMPLE * COUNT
    return [
        Figure(
            f"search of {COUNT:,} x 512 by a region, exact, over a plain search",
            float(np.median(dearer)),
            at_most=1.1,
            detail=f"medians {region_ms:.1f} ms, with the region's vector, against {plain_ms:.1f} ms; {spread(dearer)}",
        ),
        Figure(
            f"search of {COUNT:,} x 512 by a region, times faster than summing the query's map with every image",
            float(np.median(faster)),
            at_least=500,
            detail=f"{region_s * 1000:.1f} ms against {maps_s:.1f} s, scaled up from {SAMPLE} maps of 13 x 13 cells; "
            f"the same order of all {SAMPLE}; {spread(faster)}",
        ),
    ]


def _random_features(model: Model, count: int) -> list[Features]:
    """Return feature maps of random activations; each image has channels that it prefers, as real ones have."""
    random = np.random.default_rng(0)
    placement = model.geometry.placement(500, 375)
    features = []
    for _ in range(count):
        preferred = random.standard_normal(GRID[-1], np.float32)
        feature_map = np.maximum(random.standard_normal(GRID, np.float32) + preferred, 0)
        features.append(Features(feature_map, model.pooling.pool(feature_map), model.pooling, placement))
    return features


def _part(query: Features) -> np.ndarray:
    return region_vector(query, cell_weights(REGIONS, query.placement, *GRID[:2]))


def _summed_maps(query: Features, matches: list[Features]) -> list[float]:
    """Return the sum over the region of the query's map with each match."""
    weights = cell_weights(REGIONS, query.placement, *GRID[:2])
    return [float((similarity_map(query, match.embedding).values * weights).sum()) for match in matches]


def _check_order(found: list[int], scores: list[float]) -> None:
    """Stop unless the search put the sample, whose vectors are by far the best, into the order of its summed maps."""
    expected = np.argsort(-np.array(scores)).tolist()
    if found != expected:
        raise RuntimeError(f"a search by a region finds {found[:10]} ..., summed maps order {expected[:10]} ...")


def _rerank(folder: Path) -> Figure:
    model = load_named_model(small_network(folder), geometry="warp", size_px=SIZE_PX)
    contents = [path.read_bytes() for path in write_jpegs(folder / "jpegs", CANDIDATES + 1)]
    embedder = Embedder(model)
    query, *features = [future.result() for future in [embedder.submit(content) for content in contents]]
    assert query.feature_map.shape == GRID
    names = [f"{number}.jpg" for number in range(CANDIDATES)]
    with Galleries(folder / "rerank", model) as galleries:
        gallery = galleries.create("default")
        gallery.add([NewImage(*image) for image in zip(names, contents[1:], features, strict=True)])

        def stored() -> None:
            sought = Sought(None, None, query.embedding, MatchWeights(REGIONS))
            for start in range(0, CANDIDATES, CHUNK):  # as the server does
                some = names[start : start + CHUNK]
                region_scores(sought, some, [one for one in gallery.features(some) if one])

        def again() -> None:
            for future in [embedder.submit(content) for content in contents[1:]]:
                future.result()

        again_s, stored_s = in_turn(again, stored, warm_up=2)
    embedder.close()
    faster = again_s / stored_s
    return Figure(
        f"rerank of {CANDIDATES} candidates from stored feature maps, times faster than embedding them again",
        float(np.median(faster)),
        at_least=50,
        detail=f"{np.median(stored_s) * 1000:.1f} ms against {np.median(again_s) * 1000:.0f} ms, squeezenet1_1 at "
        f"{SIZE_PX} x {SIZE_PX} px: 13 x 13 x 512, float32; {spread(faster)}",
    )
