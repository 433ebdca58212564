"""Whether prediction difference is useful early, and faithful: on photographs, with trained networks."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from benchmarks.quality_cluttered import SHARED, has_shared
from benchmarks.report import Figure
from whymatch.embed import Array, DecodeLimits, Model, Prepared, load_model
from whymatch.explain import (
    ConditionalSampler,
    MeanSampler,
    PredictionDifference,
    PredictionDifferenceSetting,
    class_score_target,
    fit_patches,
)

SETTING = PredictionDifferenceSetting(sample_count=5)
PARTIAL_SHARE = 0.15
TRAINED = {
    "mobilenet_v2": "mobilenet_v2_imagenet.safetensors",
    "squeezenet1_0": "squeezenet1_0_imagenet.safetensors",
}
PHOTOS = 3
"""Those of whose class a network is surest."""
DELETED = np.linspace(0, 0.3, 7)
"""Shares of the windows that are removed."""
PREDICTED, BLURRED = "replaced by what their neighbors predict", "blurred"
Remove = Callable[[NDArray[np.uint8], int, int], NDArray[np.uint8]]
"""What takes the place of the window from a row and a column of an image on."""


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
    assert fit.result
    k = SETTING.window_px
    sampler, expected = ConditionalSampler(fit.result, k, SETTING.seed), MeanSampler(fit.result, k)
    useful, scores = [], []
    for image in _photos(model):
        difference, partial = _explained(model, image, sampler)
        [final], [steep] = difference.maps(), difference.sensitivities()
        useful.append(float(np.corrcoef(partial.ravel(), final.values.ravel())[0, 1]))
        random = np.random.default_rng(0).random(final.values.shape, np.float32)
        orders = {"map": final.values, "sensitivity map": steep, "random": random}
        scores.append(
            {way: _mean_scores(model, image, orders, remove) for way, remove in _ways(image, expected).items()}
        )
    return [
        Figure(
            f"correlation of the map after 15 % of the evaluations with the final one, {name}",
            min(useful),
            at_least=0.8,
            detail="; ".join(f"{each:.3f}" for each in useful),
        ),
        *(_deletion(name, way, [each[way] for each in scores]) for way in (PREDICTED, BLURRED)),
    ]


def _ways(image: Prepared, expected: MeanSampler) -> dict[str, Remove]:
    """Return ways to remove a window of an image."""
    k = SETTING.window_px
    blurred = np.asarray(Image.fromarray(image.pixels).filter(ImageFilter.GaussianBlur(k)))
    return {
        PREDICTED: lambda pixels, top, left: expected.draw(pixels, top, left, 1)[0].round().astype(np.uint8),
        BLURRED: lambda _, top, left: blurred[top : top + k, left : left + k],
    }


def _deletion(name: str, way: str, scores: list[dict[str, float]]) -> Figure:
    mean = {key: float(np.mean([each[key] for each in scores])) for key in scores[0]}
    goal = min(mean["sensitivity map"], mean["random"]) if way == PREDICTED else None
    return Figure(
        f"mean class score while the most supportive windows go first, up to 30 % of the image, {way}, {name}",
        mean["map"],
        at_most=goal,
        detail=f"sensitivity map {mean['sensitivity map']:.2f}, random order {mean['random']:.2f}; "
        f"{len(scores)} photographs",
    )


def _photos(model: Model) -> list[Prepared]:
    paths = sorted((SHARED / "images" / "photos").glob("*"))
    images = [model.prepare(path.read_bytes(), DecodeLimits()) for path in paths]
    scores = model.class_scores(np.stack([image.pixels for image in images]))
    return [images[number] for number in np.argsort(-scores.max(1))[:PHOTOS]]


def _explained(model: Model, image: Prepared, sampler: ConditionalSampler) -> tuple[PredictionDifference, Array]:
    """Return the finished explanation of the most likely class, and the map after 15 % of it."""
    target = class_score_target(model, "top1", model.class_scores(np.stack([image.pixels]))[0])
    difference = PredictionDifference(model, image, [target], sampler, SETTING)
    partial = None
    for done in difference.steps():
        if done <= PARTIAL_SHARE * difference.planned or partial is None:
            partial = difference.maps()[0].values
    assert partial is not None
    return difference, partial


def _mean_scores(model: Model, image: Prepared, orders: dict[str, Array], remove: Remove) -> dict[str, float]:
    """Return the mean score of the image's class while windows are removed, for each map that gives the order."""
    scores = {key: model.class_scores(_deleted(image.pixels, values, remove)) for key, values in orders.items()}
    return {key: float(each[:, each[0].argmax()].mean()) for key, each in scores.items()}


def _deleted(pixels: NDArray[np.uint8], values: Array, remove: Remove) -> NDArray[np.uint8]:
    """Return the image without ever more of the windows that a map names first, (DELETED, h, w, 3)."""
    k = SETTING.window_px
    rows, columns = (side // k for side in values.shape)
    windows = values[: rows * k, : columns * k].reshape(rows, k, columns, k).mean(axis=(1, 3))
    order = np.argsort(-windows.ravel(), kind="stable")
    current, images = pixels.copy(), []
    for count, window in enumerate([-1, *order[: round(DELETED[-1] * order.size)]]):
        if count:
            top, left = (place * k for place in divmod(int(window), columns))
            current[top : top + k, left : left + k] = remove(current, top, left)
        images += [current.copy()] * int((DELETED * order.size).round().tolist().count(count))
    return np.stack(images)
