"""Cluttered photographs with boxes around their objects; they lie beside the checkout and are no part of it."""

import itertools
import sys
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from whymatch.embed import (
    NO_HEAD,
    Array,
    DecodeLimits,
    Features,
    Head,
    Model,
    Prepared,
    Progress,
    fit_centering,
    fit_whitening,
    load_model,
)
from whymatch.explain import Box, Region, cell_weights

SHARED = Path(__file__).parents[2] / "shared" / "data"
WEIGHTS = SHARED / "weights" / "mobilenet_v2_imagenet.safetensors"
DIMENSIONS = 64
"""That whitening keeps: about one for each two photographs."""


@dataclass(frozen=True)
class Photo:
    """A photograph, and where its objects are."""

    path: Path
    boxes: dict[str, list[Region]]
    """The boxes of each class, relative to the image."""


@dataclass(frozen=True)
class Pair:
    """Two photographs that have exactly one class in common."""

    query: Photo
    match: Photo
    label: str
    """The class in common."""

    def inside(self, features: Features, rows: int, columns: int) -> Array:
        """Return the share of each cell of the query that lies in boxes of the class, (rows, columns) float32."""
        return cell_weights(self.query.boxes[self.label], features.placement, rows, columns)


def load_shared_model(benchmark: str, size_px: int) -> Model | None:
    """Return trained MobileNetV2; None, and a line that says so, where its weights or the photographs are absent."""
    return load_model("mobilenet_v2", weights=WEIGHTS, size_px=size_px) if has_shared(benchmark) else None


def has_shared(benchmark: str) -> bool:
    """Say whether the photographs and weights are there; if not, a line says that the benchmark is left out."""
    there = WEIGHTS.is_file() and (SHARED / "images" / "coco128").is_dir()
    if not there:
        print(f"{benchmark}: skipped, {SHARED} with its photographs and weights is absent", file=sys.stderr)
    return there


def find_photos() -> list[Photo]:
    """Return all photographs."""
    return [_photo(path) for path in sorted((SHARED / "images" / "coco128").glob("*.jpg"))]


def draw_pairs(count: int) -> list[Pair]:
    """Return pairs, the classes in turn, so that no class outweighs the others; the same ones every time."""
    photos = find_photos()
    by_label = defaultdict(list)
    for query, match in itertools.permutations(photos, 2):
        if len(common := query.boxes.keys() & match.boxes.keys()) == 1:
            by_label[label := common.pop()].append(Pair(query, match, label))
    random = np.random.default_rng(0)
    shuffled = [random.permutation(np.array(pairs, object)) for _, pairs in sorted(by_label.items())]
    turns = itertools.chain.from_iterable(itertools.zip_longest(*shuffled))
    return list(itertools.islice(filter(None, turns), count))


def fit_head(kind: str, features: Iterable[Features]) -> Head:
    """Return `no head`, `centering` or `whitening`, fitted to the photographs."""
    pooled = np.array([one.pooled for one in features])
    fits = {
        "no head": lambda: iter([Progress("vectors", 0, 0, NO_HEAD)]),
        "centering": lambda: fit_centering([pooled]),
        "whitening": lambda: fit_whitening([pooled], pooled.shape[1], DIMENSIONS),
    }
    *_, last = fits[kind]()
    assert last.result
    return last.result


def prepare(model: Model, pairs: list[Pair]) -> dict[Path, Prepared]:
    """Return the network's inputs for the photographs of all pairs."""
    paths = {photo.path for pair in pairs for photo in (pair.query, pair.match)}
    return {path: model.prepare(path.read_bytes(), DecodeLimits()) for path in sorted(paths)}


def _photo(path: Path) -> Photo:
    boxes = defaultdict(list)
    for line in (path.parents[1] / "coco128_boxes" / f"{path.stem}.txt").read_text().splitlines():
        label, *numbers = line.split()
        x, y, width, height = map(float, numbers)
        edges = np.clip([x - width / 2, y - height / 2, x + width / 2, y + height / 2], 0, 1)
        boxes[label].append(Region(Box(*edges), relative=True))
    return Photo(path, dict(boxes))
