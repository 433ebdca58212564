"""Localization: how much of the similarity map of two cluttered photographs lies on what they have in common."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.baselines import center_prior, has_sliding_window, sliding_window_map, with_pooling
from benchmarks.cluttered import Pair, draw_pairs, load_shared_model, prepare
from benchmarks.report import Figure, seconds
from whymatch.embed import Array, Features, Model, Pooling, Prepared
from whymatch.explain import similarity_map

PAIRS = 200
SLOW_PAIRS = 15
"""The first of them, for xaitk-saliency, which takes seconds for each."""
FINE = 64
"""Cells a side of the grid on which a uniform map and a center prior are measured."""
WHAT = "share of the positive map inside the boxes of the shared class"


def run() -> list[Figure]:
    """Measure average and max pooling."""
    model = load_shared_model("localizing")
    if model is None:
        return []
    pairs = draw_pairs(PAIRS)
    inputs = prepare(model, pairs)
    features = {path: model.features([one])[0] for path, one in inputs.items()}
    compare = has_sliding_window("localizing")
    figures = []
    for pooling in (Pooling("average"), Pooling("max")):
        pooled = replace(model, pooling=pooling)
        ours = {path: with_pooling(pooled, one) for path, one in features.items()}
        figures.append(_against_priors(pooling.kind, pairs, ours))
        if compare:
            figures += _against_sliding_window(pooled, pairs[:SLOW_PAIRS], inputs, ours)
    return figures


def _against_priors(kind: str, pairs: list[Pair], features: dict[Path, Features]) -> Figure:
    ours = np.mean([_share(pair, features, _map(pair, features)) for pair in pairs])
    uniform = np.mean([_share(pair, features, np.ones((FINE, FINE), np.float32)) for pair in pairs])
    center = np.mean([_share(pair, features, center_prior(FINE, FINE)) for pair in pairs])
    return Figure(
        f"{WHAT}, {kind} pooling",
        float(ours),
        at_least=float(max(uniform, center)),
        detail=f"uniform map {uniform:.3f}, center prior {center:.3f}; {len(pairs)} pairs of cluttered photographs",
    )


def _against_sliding_window(
    model: Model, pairs: list[Pair], inputs: dict[Path, Prepared], features: dict[Path, Features]
) -> list[Figure]:
    shares, times = [], []
    for pair in pairs:
        query, match = inputs[pair.query.path], inputs[pair.match.path]
        started = time.perf_counter()
        theirs = sliding_window_map(model, query, match)
        slow = time.perf_counter() - started
        embedding = seconds(lambda one=query, other=match: [model.features([one]), model.features([other])])
        fast = seconds(lambda pair=pair: _map(pair, features))
        shares.append([_share(pair, features, values) for values in (_map(pair, features), theirs)])
        times.append((slow, fast + embedding, fast))
    our_share, their_share = np.mean(shares, axis=0)
    slow_s, embedded_s, fast_s = np.median(times, axis=0)
    return [
        Figure(
            f"{WHAT}, {model.pooling.kind} pooling, where xaitk-saliency was measured",
            float(our_share),
            at_least=float(their_share),
            detail=f"its sliding window {their_share:.3f}; {len(pairs)} pairs",
        ),
        Figure(
            f"similarity map, times faster than xaitk-saliency's sliding window, {model.pooling.kind} pooling",
            float(slow_s / fast_s),
            at_least=100,
            detail=f"{fast_s * 1000:.2f} ms from feature maps, {embedded_s * 1000:.0f} ms with embedding both "
            f"photographs, against {slow_s * 1000:.0f} ms",
        ),
    ]


def _map(pair: Pair, features: dict[Path, Features]) -> Array:
    return similarity_map(features[pair.query.path], features[pair.match.path].embedding).values


def _share(pair: Pair, features: dict[Path, Features], values: Array) -> float:
    """Return the share of the positive part of a map that lies inside; a map without any counts as a uniform one."""
    inside = pair.inside(features[pair.query.path], *values.shape)
    positive = values.clip(min=0)
    return float((positive * inside).sum() / positive.sum() if positive.any() else inside.mean())
