"""Faithfulness: does hiding the cells that a similarity map names first take the similarity away first?

Cells of the query are blurred (deletion), or all but them (insertion), in the order of a map; each time the image is
embedded again. The area under the curve of its cosine with the match over the share of cells is the mean similarity
on the way: low for deletion and high for insertion where the map names the cells that matter.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from benchmarks.quality_baselines import center_prior, embeddings, has_sliding_window, sliding_window_map, with_pooling
from benchmarks.quality_cluttered import Pair, draw_pairs, fit_head, load_shared_model, prepare
from benchmarks.report import Figure
from whymatch.embed import Array, Features, Head, Model, Pooling, Prepared
from whymatch.explain import similarity_map

SIZE_PX = 224
GALLERY_PAIRS = 200
"""The heads are fitted to the photographs of all of these."""
PAIRS = 30
SLOW_PAIRS = 10
"""The first of them, for xaitk-saliency, which takes seconds for each."""
SETTINGS = ((Pooling("average"), "no head"), (Pooling("gem"), "whitening"))
STEPS = 8
BLUR_PX = 16
Areas = dict[str, list[tuple[float, float]]]
"""Areas under the deletion and the insertion curve, for each pair, by what gave the order."""


def run() -> list[Figure]:
    """Measure average pooling without a head, and the pooling and head that serve best."""
    model = load_shared_model("faithfulness", SIZE_PX)
    if model is None:
        return []
    pairs = draw_pairs(GALLERY_PAIRS)
    inputs = prepare(model, pairs)
    features = {path: model.features([one])[0] for path, one in inputs.items()}
    compare = has_sliding_window("faithfulness")
    figures = []
    for pooling, kind in SETTINGS:
        pooled = {path: with_pooling(pooling, one) for path, one in features.items()}
        head = fit_head(kind, pooled.values())
        photos = {path: one.through(head) for path, one in pooled.items()}
        areas = _areas(replace(model, pooling=pooling), pairs[:PAIRS], inputs, photos, SLOW_PAIRS if compare else 0)
        figures += _figures(f"{pooling.kind} pooling, {kind}", areas)
    return figures


def _areas(
    model: Model, pairs: list[Pair], inputs: dict[Path, Prepared], photos: dict[Path, Features], slow_pairs: int
) -> Areas:
    random = np.random.default_rng(0)
    areas: Areas = {"map": [], "random order": [], "center prior": [], "sliding window": []}
    for number, pair in enumerate(pairs):
        query, match = photos[pair.query.path], photos[pair.match.path]
        rows, columns, _ = query.feature_map.shape
        pixels = inputs[pair.query.path].pixels
        orders = {
            "map": similarity_map(query, match.embedding).values,
            "random order": random.random((rows, columns), np.float32),
            "center prior": center_prior(rows, columns),
        }
        if number < slow_pairs:
            fine = sliding_window_map(model, query.head, inputs[pair.query.path], inputs[pair.match.path])
            orders["sliding window"] = fine.reshape(rows, len(fine) // rows, columns, -1).mean(axis=(1, 3))
        for name, values in orders.items():
            areas[name].append(_areas_under_curves(model, query.head, pixels, values, match.embedding))
    return areas


def _areas_under_curves(model: Model, head: Head, pixels: Array, values: Array, other: Array) -> tuple[float, float]:
    """Return the areas under the deletion and the insertion curve of one image, for cells in the order of a map."""
    blurred = np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(BLUR_PX)))
    rank = np.empty(values.size, int)
    rank[np.argsort(-values.ravel(), kind="stable")] = np.arange(values.size)
    counts = np.linspace(0, values.size, STEPS + 1).round()
    first = rank.reshape(values.shape) < counts[:, None, None]  # (steps, H, W): the cells reached
    height, width = np.array(pixels.shape[:2]) // values.shape
    reached = first.repeat(height, axis=1).repeat(width, axis=2)[..., None]
    deleted, inserted = np.where(reached, blurred, pixels), np.where(reached, pixels, blurred)
    deletion, insertion = (embeddings(model, head, images) @ other for images in (deleted, inserted))
    return float(np.trapezoid(deletion) / STEPS), float(np.trapezoid(insertion) / STEPS)


def _figures(which: str, areas: Areas) -> list[Figure]:
    slow_pairs = len(areas["sliding window"])
    figures = _pair_of_figures(which, {name: areas[name] for name in ("map", "random order", "center prior")})
    if slow_pairs:
        compared = {name: areas[name][:slow_pairs] for name in ("map", "sliding window")}
        figures += _pair_of_figures(f"{which}, where xaitk-saliency was measured", compared)
    return figures


def _pair_of_figures(which: str, areas: Areas) -> list[Figure]:
    """Return the mean areas of the map's order; each must be no worse than the best of the other orders."""
    means = {name: np.mean(pairs, axis=0) for name, pairs in areas.items()}
    deletion, insertion = means.pop("map")
    others = [", ".join(f"{name} {mean[side]:.3f}" for name, mean in means.items()) for side in (0, 1)]
    count = f"{len(areas['map'])} pairs"
    return [
        Figure(
            f"similarity while the map's cells are blurred, first to last, {which}",
            float(deletion),
            at_most=float(min(mean[0] for mean in means.values())),
            detail=f"{others[0]}; {count}",
        ),
        Figure(
            f"similarity while the map's cells are restored, first to last, {which}",
            float(insertion),
            at_least=float(max(mean[1] for mean in means.values())),
            detail=f"{others[1]}; {count}",
        ),
    ]
