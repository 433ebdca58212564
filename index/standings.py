"""How the images of a gallery stand to one vector, all of them compared: the place of one, the mean of each label."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from whymatch.embed import Array
from whymatch.index.records import StoredImage
from whymatch.index.vector_index import Ids

ROUNDING = 1e-6
"""Scores that are not farther apart are equal: those of one vector may differ by this."""


@dataclass(frozen=True)
class Standing:
    """Where an image stands among all."""

    score: float
    """Its inner product with the vector."""
    rank: int
    """From 1; images with equal scores share a place."""
    image_count: int
    """How many images were compared, itself included."""
    rival: StoredImage
    """The image at the place that it should reach, or the last one."""
    rival_score: float
    rival_rank: int
    """Its place, were all scores different."""


@dataclass(frozen=True)
class LabelScore:
    """How similar the images of a label are to a vector."""

    label: str
    image_count: int
    score: float
    """The mean of their inner products with the vector."""


def rank_of(score: float, scores: Array) -> int:
    """Return the place of a score among others (n), from 1."""
    return 1 + int((scores > score + ROUNDING).sum())


def label_scores(ids: Ids, scores: Array, labeled: tuple[Sequence[int], Sequence[str]]) -> list[LabelScore]:
    """Return the mean score of each label, highest first.

    ids, scores: of all images that count, (n) each.
    labeled: ids and labels of images that have one, as `StoredImages.labels` returns them.
    """
    score_of = dict(zip(ids.tolist(), scores.tolist(), strict=True))
    known = [(score_of[one], label) for one, label in zip(*labeled, strict=True) if one in score_of]
    if not known:
        return []
    labels, places = np.unique(np.array([label for _, label in known], object), return_inverse=True)
    counts = np.bincount(places)
    means = np.bincount(places, [score for score, _ in known]) / counts
    order = np.argsort(-means, kind="stable")
    return [LabelScore(str(labels[one]), int(counts[one]), float(means[one])) for one in order]
