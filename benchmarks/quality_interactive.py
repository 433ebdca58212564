"""Whether class scores made again from weighed responses are right more often than plain ones."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality_cluttered import SHARED, has_shared
from benchmarks.report import Figure
from whymatch.embed import DecodeLimits, Model, load_model
from whymatch.explain import reweighted_scores

CLASSIFIERS = {
    "mobilenet_v2": "mobilenet_v2_imagenet.safetensors",
    "squeezenet1_0": "squeezenet1_0_imagenet.safetensors",
}


def run() -> list[Figure]:
    """Measure class scores made again from weighed responses, on one photograph of each ImageNet class."""
    if not has_shared("interactive: class scores"):
        return []
    photos = sorted((SHARED / "images" / "imagenet1k_sample").glob("*.jp*g"))
    figures = []
    for name, file in CLASSIFIERS.items():
        model = load_model(name, weights=SHARED / "weights" / file)
        scores = [reweighted_scores(model, _pixels(model, photo)) for photo in photos]
        plain, again = (
            np.mean([np.argmax(pair[way]) == number for number, pair in enumerate(scores)]) for way in (0, 1)
        )
        figures.append(
            Figure(
                f"top-1 accuracy of class scores from weighed responses (p = 2), over plain scores, {name}",
                float(again - plain),
                detail=f"{again:.3f} against {plain:.3f}, {len(photos)} photographs, one of each class",
            )
        )
    return figures


def _pixels(model: Model, photo: Path) -> NDArray[np.uint8]:
    return np.stack([model.prepare(photo.read_bytes(), DecodeLimits()).pixels])
