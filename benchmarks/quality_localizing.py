"""Localization: how much of the similarity map of two cluttered photographs lies on what they have in common."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.quality_baselines import center_prior, has_sliding_window, sliding_window_map, with_pooling
from benchmarks.quality_cluttered import Pair, draw_pairs, fit_head, load_shared_model, prepare
from benchmarks.report import Figure, seconds
from whymatch.embed import Array, Features, Model, Pooling, Prepared
from whymatch.explain import similarity_map

PAIRS = 200
SLOW_PAIRS = 10
"""The first of them, for xaitk-saliency, which takes many seconds for each."""
SIZES_PX = (224, 448)
"""What the weights were trained with, about 7 x 7 cells, and twice that."""
POOLINGS = (Pooling("average"), Pooling("max"), Pooling("gem"))
HEADS = ("no head", "centering", "whitening")
BEST = "gem pooling, whitening"
FINE = 64
"""Cells a side of the grid on which a uniform map and a center prior are measured."""
WHAT = "share of the positive map inside the boxes of the shared class"
Photos = dict[Path, Features]


def run() -> list[Figure]:
    """Measure every pooling and head, and the best of them against xaitk-saliency."""
    figures = []
    pairs = draw_pairs(PAIRS)
    for size_px in SIZES_PX:
        model = load_shared_model("localizing", size_px)
        if model is None:
            return []
        inputs = prepare(model, pairs)
        settings = _settings(model, inputs)
        figures.append(_against_priors(size_px, pairs, settings))
    if has_sliding_window("localizing"):
        figures += _against_sliding_window(model, pairs[:SLOW_PAIRS], inputs, settings[BEST])
    return figures


def _settings(model: Model, inputs: dict[Path, Prepared]) -> dict[str, Photos]:
    """Return the features of the photographs with every pooling and head, by its name."""
    features = {path: model.features([one])[0] for path, one in inputs.items()}
    settings = {}
    for pooling in POOLINGS:
        pooled = {path: with_pooling(pooling, one) for path, one in features.items()}
        for kind in HEADS:
            head = fit_head(kind, pooled.values())
            settings[f"{pooling.kind} pooling, {kind}"] = {path: one.through(head) for path, one in pooled.items()}
    return settings


def _against_priors(size_px: int, pairs: list[Pair], settings: dict[str, Photos]) -> Figure:
    shares = {
        name: float(np.mean([_share(pair, photos, _map(pair, photos)) for pair in pairs]))
        for name, photos in settings.items()
    }
    best = shares.pop(BEST)
    photos = settings[BEST]
    uniform = np.mean([_share(pair, photos, np.ones((FINE, FINE), np.float32)) for pair in pairs])
    center = np.mean([_share(pair, photos, center_prior(FINE, FINE)) for pair in pairs])
    others = "; ".join(f"{name} {share:.3f}" for name, share in shares.items())
    return Figure(
        f"{WHAT}, {BEST}, {size_px} px",
        best,
        at_least=float(max(uniform, center)),
        detail=f"uniform map {uniform:.3f}, center prior {center:.3f}; {others}; {len(pairs)} pairs",
    )


def _against_sliding_window(
    model: Model, pairs: list[Pair], inputs: dict[Path, Prepared], photos: Photos
) -> list[Figure]:
    one = next(iter(photos.values()))
    model = replace(model, pooling=one.pooling)
    shares, times = [], []
    for pair in pairs:
        query, match = inputs[pair.query.path], inputs[pair.match.path]
        started = time.perf_counter()
        theirs = sliding_window_map(model, one.head, query, match)
        slow = time.perf_counter() - started
        embedding = seconds(lambda one=query, other=match: [model.features([one]), model.features([other])])
        fast = seconds(lambda pair=pair: _map(pair, photos))
        shares.append([_share(pair, photos, values) for values in (_map(pair, photos), theirs)])
        times.append((slow, fast + embedding, fast))
    our_share, their_share = np.mean(shares, axis=0)
    slow_s, embedded_s, fast_s = np.median(times, axis=0)
    return [
        Figure(
            f"{WHAT}, {BEST}, where xaitk-saliency was measured",
            float(our_share),
            at_least=float(their_share),
            detail=f"its sliding window {their_share:.3f}; {len(pairs)} pairs, {SIZES_PX[-1]} px",
        ),
        Figure(
            f"similarity map, times faster than xaitk-saliency's sliding window, {BEST}",
            float(slow_s / fast_s),
            at_least=100,
            detail=f"{fast_s * 1000:.2f} ms from feature maps, {embedded_s * 1000:.0f} ms with embedding both "
            f"photographs, against {slow_s * 1000:.0f} ms",
        ),
    ]


def _map(pair: Pair, photos: Photos) -> Array:
    return similarity_map(photos[pair.query.path], photos[pair.match.path].embedding).values


def _share(pair: Pair, photos: Photos, values: Array) -> float:
    """Return the share of the positive part of a map that lies inside; a map without any counts as a uniform one."""
    inside = pair.inside(photos[pair.query.path], *values.shape)
    positive = values.clip(min=0)
    return float((positive * inside).sum() / positive.sum() if positive.any() else inside.mean())
