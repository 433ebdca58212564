"""What prediction difference explains: numbers that a model gives an image, each a function of one of its ends."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from whymatch.embed import Array, ClassScores, End, Head, Model, PooledVector, Responses
from whymatch.explain.errors import BadTarget

Function = Callable[[torch.Tensor], torch.Tensor]
"""Of vectors (B, n) to numbers (B,), float32."""

IMAGENET_IMAGES = 1_281_167
"""N of a classifier whose training set is unknown: that of ImageNet."""
BITS = "bits"
TEMPERATURE = 0.05
"""T of the softmax over the similarities of neighbors: one that is 0.05 more similar counts e times as much."""
EVIDENCE_NEIGHBORS = 100
"""How many nearest neighbors that softmax includes."""


@dataclass(frozen=True)
class Laplace:
    """Keeps probabilities off 0 and 1: p <- (p N + 1) / (N + K)."""

    instances: int
    """N, how many images the probabilities come from."""
    classes: int
    """K."""

    def corrected(self, probability: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return corrected probabilities, above 0 and below 1."""
        return (probability * self.instances + 1) / (self.instances + self.classes)

    def log_odds(self, probability: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return log2(p / (1 - p)) of corrected probabilities, in bits."""
        p = self.corrected(probability)
        return np.log2(p / (1 - p))

    def slope(self, probability: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the derivative of `log_odds`, in bits."""
        p = self.corrected(probability)
        return self.instances / (self.instances + self.classes) / (p * (1 - p) * math.log(2))


@dataclass(frozen=True, eq=False)
class Target:
    """A number that the model gives an image, z(x)."""

    name: str
    """What of its kind it is: a class, a layer with a channel, an image or a label."""
    measure: str
    """The unit of z's differences, `bits` for the weight of evidence. Maps of one measure can be compared."""
    end: End
    """The output of the network that it is a function of."""
    of: Function
    """z as a function of the end's vectors."""
    slope: Function
    """The number whose gradient is the sensitivity map: z, or for a probability the score behind it."""
    laplace: Laplace | None = None
    """For a probability, whose map is the weight of evidence; a map of anything else is the activation difference."""

    def difference(self, plain: float, means: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the prediction differences (n,) of windows, from z(x) and the means of z over each one's samples (n,).

        Weight of evidence log2 odds(c|x) - log2 odds(c|x without w) of a probability (equation 3), in bits, else the
        activation difference z(x) - E z(x without w) (equation 7). Positive supports.
        """
        if self.laplace is None:
            return plain - means
        return self.laplace.log_odds(np.array(plain)) - self.laplace.log_odds(means)

    def error(self, means: NDArray[np.float64], errors: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the standard errors of `difference` from those of the means, to first order."""
        return errors if self.laplace is None else errors * self.laplace.slope(means)


def class_probability_target(
    model: Model, class_name: str, scores: Array, *, instances: int = IMAGENET_IMAGES
) -> Target:
    """Return the probability of a class, whose map is the weight of evidence.

    class_name: a name, a number from 0, or `top1`, `top2`, ... for the most likely classes of the image.
    scores: (classes,), the class scores of the image.

    Raises:
        BadTarget: no such class.
    """
    number = find_class(model.classes, class_name, scores)
    laplace = Laplace(instances, max(2, len(model.classes)))
    score = _entry(number)
    return Target(
        model.classes[number],
        BITS,
        ClassScores(),
        lambda all_scores: all_scores.double().softmax(1)[:, number],
        score,
        laplace,
    )


def class_score_target(model: Model, class_name: str, scores: Array) -> Target:
    """Return the score of a class before softmax; see `class_probability_target`. Raises BadTarget."""
    number = find_class(model.classes, class_name, scores)
    return Target(model.classes[number], "score", ClassScores(), _entry(number), _entry(number))


def unit_target(layer: str, channel: int, cell: tuple[int, int] | None = None) -> Target:
    """Return the response of one unit, or without a cell the mean over all units of a feature map.

    Where the layer has no such channel, `of` raises BadTarget.
    """
    where = f" at {cell[0]},{cell[1]}" if cell else ""

    def response(vectors: torch.Tensor) -> torch.Tensor:
        if not 0 <= channel < vectors.shape[1]:
            raise BadTarget(f"layer {layer!r} has no channel {channel}; take one from 0 to {vectors.shape[1] - 1}")
        return vectors[:, channel]

    return Target(f"{layer}/{channel}{where}", f"response of {layer}", Responses(layer, cell), response, response)


def similarity_target(name: str, embedding: Array, head: Head) -> Target:
    """Return the cosine similarity to another image, whose embedding (D,) went through the same head."""
    cosine = _similarities(embedding[None], head)
    return Target(name, "cosine", PooledVector(), lambda v: cosine(v)[:, 0], lambda v: cosine(v)[:, 0])


def evidence_target(
    name: str,
    neighbors: Array,
    belongs: NDArray[np.bool_],
    groups: int,
    instances: int,
    head: Head,
    *,
    temperature: float = TEMPERATURE,
) -> Target:
    """Return the probability that the image belongs to some of its neighbors, whose map is the weight of evidence.

    p = sum_{i belongs} exp(s_i / T) / sum_i exp(s_i / T) over the neighbors' cosine similarities s_i.

    neighbors: (n, D), the embeddings of the leading neighbors, through the same head.
    belongs: (n,), the images of a label, or a single one.
    groups: K, how many labels, or images, share the probability; at least these and all others, 2.
    instances: N, how many images the gallery has.

    Raises:
        BadTarget: none of the neighbors belongs.
    """
    if not belongs.any():
        raise BadTarget(
            f"nothing of {name!r} is among the {len(neighbors)} most similar images; take what is, or explain the "
            "similarity to an image"
        )
    mine = torch.from_numpy(belongs)
    cosines = _similarities(neighbors, head)

    def scores(vectors: torch.Tensor) -> torch.Tensor:
        return cosines(vectors) / temperature

    def log_odds(vectors: torch.Tensor) -> torch.Tensor:
        each = scores(vectors)
        return each[:, mine].logsumexp(1) - each[:, ~mine].logsumexp(1)

    laplace = Laplace(instances, max(2, groups))
    slope = log_odds if not belongs.all() else lambda v: scores(v).logsumexp(1)
    return Target(
        name,
        BITS,
        PooledVector(),
        lambda v: scores(v).double().softmax(1)[:, mine].sum(1).clamp(max=1),
        slope,
        laplace,
    )


def find_class(names: Sequence[str], class_name: str, scores: Array) -> int:
    """Return the number of a class by its name, its number, or its rank (`top1`). Raises BadTarget."""
    found = [number for number, name in enumerate(names) if name == class_name]
    if len(found) > 1:
        raise BadTarget(
            f"{len(found)} classes are named {class_name!r}: numbers {', '.join(map(str, found))}; take one"
        )
    if found:
        return found[0]
    class_name = class_name[:80]  # what is longer is neither a name nor a number
    rank = class_name.removeprefix("top")
    if rank != class_name and rank.isdecimal() and 1 <= int(rank) <= len(names):
        return int(np.argsort(-scores, kind="stable")[int(rank) - 1])
    if class_name.isdecimal() and int(class_name) < len(names):
        return int(class_name)
    near = [name for name in names if class_name.lower() in name.lower()][:5] or list(names[:3])
    raise BadTarget(
        f"the network has no class {class_name!r}; take a name such as {', '.join(map(repr, near))}, a number from 0 "
        f"to {len(names) - 1}, or top1 for the most likely class"
    )


def _entry(number: int) -> Function:
    return lambda vectors: vectors[:, number]


def _similarities(embeddings: Array, head: Head) -> Function:
    """Return the function of pooled vectors (B, C) to cosine similarities with embeddings (n, D), (B, n)."""
    others = torch.from_numpy(np.ascontiguousarray(embeddings))
    matrix, bias = (None if part is None else torch.from_numpy(part.copy()) for part in (head.matrix, head.bias))

    def cosines(pooled: torch.Tensor) -> torch.Tensor:
        projected = pooled if matrix is None else pooled @ matrix.T
        projected = projected if bias is None else projected + bias
        length = projected.norm(dim=1, keepdim=True)
        return projected / torch.where(length > 0, length, 1) @ others.T

    return cosines
