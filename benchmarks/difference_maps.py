"""Whether prediction difference is useful early, and faithful: on photographs, with trained networks."""

import numpy as np
from PIL import Image, ImageFilter

from benchmarks.cluttered import SHARED, has_shared
from benchmarks.report import Figure
from whymatch.embed import Array, DecodeLimits, Model, Prepared, load_model
from whymatch.explain import (
    ConditionalSampler,
    PredictionDifference,
    PredictionDifferenceSetting,
    class_score,
    fit_patches,
)

SETTING = PredictionDifferenceSetting(sample_count=10)
PARTIAL_SHARE = 0.15
TRAINED = {
    "mobilenet_v2": "mobilenet_v2_imagenet.safetensors",
    "squeezenet1_0": "squeezenet1_0_imagenet.safetensors",
}
PHOTOS = 3
"""Those of whose class a network is surest."""
DELETED = np.linspace(0, 0.3, 7)
"""Shares of the windows that are blurred."""


def run() -> list[Figure]:
    """Explain photographs of objects that ImageNet knows."""
    if not has_shared("difference-maps"):
        return []
    return [figure for name, file in TRAINED.items() for figure in _of_network(name, file)]


def _of_network(name: str, file: str) -> list[Figure]:
    model = load_model(name, weights=SHARED / "weights" / file, geometry="warp")
    files = sorted((SHARED / "images" / "imagenet1k_sample").glob("*.jp*g"))
    gallery = [model.prepare(path.read_bytes(), DecodeLimits()) for path in files[::20]]
    *_, fit = fit_patches([one.pixels for one in gallery], len(gallery), SETTING.context_px)
    assert fit.normal
    sampler = ConditionalSampler(fit.normal, SETTING.window_px, SETTING.seed)
    useful, means = [], []
    for image in _photos(model):
        difference, partial = _explained(model, image, sampler)
        [final], [steep] = difference.maps(), difference.sensitivities()
        useful.append(float(np.corrcoef(partial.ravel(), final.values.ravel())[0, 1]))
        orders = {
            "map": final.values,
            "sensitivity map": steep,
            "random": np.random.default_rng(0).random(final.values.shape),
        }
        means.append({key: _mean_score(model, image, values) for key, values in orders.items()})
    mean = {key: float(np.mean([each[key] for each in means])) for key in means[0]}
    return [
        Figure(
            f"correlation of the map after 15 % of the evaluations with the final one, {name}",
            min(useful),
            at_least=0.8,
            detail="; ".join(f"{each:.3f}" for each in useful),
        ),
        Figure(
            f"mean class score while the most supportive windows go first, up to 30 % of the image, {name}",
            mean["map"],
            at_most=min(mean["sensitivity map"], mean["random"]),
            detail=f"sensitivity map {mean['sensitivity map']:.2f}, random order {mean['random']:.2f}; "
            f"{len(means)} photographs",
        ),
    ]


def _photos(model: Model) -> list[Prepared]:
    paths = sorted((SHARED / "images" / "photos").glob("*"))
    images = [model.prepare(path.read_bytes(), DecodeLimits()) for path in paths]
    scores = model.class_scores(np.stack([image.pixels for image in images]))
    return [images[number] for number in np.argsort(-scores.max(1))[:PHOTOS]]


def _explained(model: Model, image: Prepared, sampler: ConditionalSampler) -> tuple[PredictionDifference, Array]:
    """Return the finished explanation of the most likely class, and the map after 15 % of it."""
    target = class_score(model, "top1", model.class_scores(np.stack([image.pixels]))[0])
    difference = PredictionDifference(model, image, [target], sampler, SETTING)
    partial = None
    for done in difference.steps():
        if done <= PARTIAL_SHARE * difference.planned or partial is None:
            partial = difference.maps()[0].values
    assert partial is not None
    return difference, partial


def _mean_score(model: Model, image: Prepared, values: Array) -> float:
    """Return the mean score of the image's class while windows are blurred in the order of a map."""
    k = SETTING.window_px
    height, width = values.shape[0] // k, values.shape[1] // k
    tiles = values[: height * k, : width * k].reshape(height, k, width, k).mean(axis=(1, 3))
    order = np.argsort(-tiles.ravel(), kind="stable")
    rank = np.empty(order.size, int)
    rank[order] = np.arange(order.size)
    inside = rank.reshape(height, width).repeat(k, 0).repeat(k, 1)
    rows, columns = (
        np.minimum(np.arange(side), most * k - 1) for side, most in zip(values.shape, (height, width), strict=True)
    )
    inside = inside[rows[:, None], columns]
    blurred = np.asarray(Image.fromarray(image.pixels).filter(ImageFilter.GaussianBlur(k)))
    images = [np.where((inside < share * order.size)[..., None], blurred, image.pixels) for share in DELETED]
    scores = model.class_scores(np.stack(images))
    return float(scores[:, scores[0].argmax()].mean())
