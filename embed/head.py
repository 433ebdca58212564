"""A linear head: the map from the pooled vector of an image to its embedding."""

import hashlib
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from threadpoolctl import threadpool_limits

from whymatch.embed.errors import BadHead, TooFewImages
from whymatch.embed.moments import Moments, Wide
from whymatch.embed.pooling import Array
from whymatch.embed.progress import Progress

HeadKind = Literal["none", "centering", "whitening", "linear"]

MAX_DIMENSIONS = 4096
"""Of an embedding that a given layer makes."""
RIDGE = 1e-4
"""Added to the variance of each direction, as a part of the largest: no direction is enlarged more than 100 times."""
FLAT = 1e-10
"""Images whose vectors vary by less than this part of their squared length are alike, but for rounding."""
ONE_BLAS_THREAD = threading.Lock()
"""Held while BLAS is kept to one thread, for the whole process: its threads wait for each other by spinning, and beside
other work they take a hundred times as long as one alone."""
DEFAULT_DIMENSIONS = 128
IMAGES_PER_DIMENSION = 4


@dataclass(frozen=True, eq=False)
class Head:
    """A linear map of the pooled vector: P beta + b, where b = -P m if it subtracts a mean m.

    It keeps a sum over cells a sum over cells: with contributions a that sum to beta, P a_xy + b / (H W) sums to
    P beta + b.
    """

    kind: HeadKind = "none"
    matrix: Array | None = None
    """P, (D, C) float32; None leaves every channel as it is."""
    bias: Array | None = None
    """b, (D,) float32; None is zeros."""

    def dimensions(self, channels: int) -> int:
        """Return the length of an embedding."""
        return channels if self.matrix is None else len(self.matrix)

    def project(self, vectors: Array, share: float = 1.0) -> Array:
        """Return P vectors + share b, (..., D), of vectors (..., C).

        share: how much of an image the vectors stand for: all of it, or a part, such as 1 / (H W) for a cell.
        """
        projected = vectors if self.matrix is None else vectors @ self.matrix.T
        return projected if self.bias is None else projected + np.float32(share) * self.bias

    def embed(self, pooled: Array) -> Array:
        """Return the embeddings of pooled vectors (..., C): (..., D) of length 1; zeros for zero vectors."""
        return normalized(self.project(pooled))

    def pull_back(self, vector: Array) -> tuple[Array, float]:
        """Return v' (C,) and c such that project(x, share) . vector = x . v' + share c for every x.

        vector: (D,).
        """
        back = vector if self.matrix is None else vector @ self.matrix
        return back, 0.0 if self.bias is None else float(self.bias.astype(float) @ vector)

    def fingerprint(self, model: str) -> str:
        """Return what pins embeddings: the model's fingerprint, or 32 digits that change with it and with the head."""
        if self.kind == "none":
            return model
        digest = hashlib.sha256(f"{model} {self.kind}".encode())
        for part in (self.matrix, self.bias):
            digest.update(b"|" if part is None else np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()[:32]


def normalized(vectors: Array) -> Array:
    """Scale vectors (..., C) to length 1; zero vectors stay zero."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)


NO_HEAD = Head()


def linear_head(weight: Array, bias: Array | None, channels: int) -> Head:
    """Return a layer that was learned elsewhere as a head, up to a factor, which embeddings of length 1 do not show.

    weight: (D, channels) float32. bias: (D,) float32, None for zeros.

    Raises:
        BadHead: another shape, not finite, or nothing but zeros.
    """
    rows, columns = weight.shape
    if columns != channels or not 1 <= rows <= MAX_DIMENSIONS:
        raise BadHead(
            f"the weight has {rows} rows of {columns} values; this model needs {channels} values in each of 1 to "
            f"{MAX_DIMENSIONS} rows"
        )
    if bias is not None and bias.shape != (rows,):
        raise BadHead(
            f"the bias has {bias.size} values and the weight {rows} rows of {channels}; give one for each row, or none "
            "(is the weight transposed?)"
        )
    if not (np.isfinite(weight).all() and (bias is None or np.isfinite(bias).all())):
        raise BadHead("the layer has values that are not finite numbers; was its training cut short?")
    if not weight.any():
        raise BadHead("the weight is all zeros, which would make all images alike")
    largest = max(np.abs(weight).max(), 0 if bias is None else np.abs(bias).max())
    exponent = -int(np.frexp(largest)[1])  # embeddings have length 1 all the same, and no square overflows
    bias = np.ldexp(bias, exponent) if bias is not None and bias.any() else None
    return Head("linear", np.ldexp(weight, exponent), bias)


def fit_centering(batches: Iterable[Array]) -> Iterator[Progress[Head]]:
    """Fit a head that subtracts the mean, beta - m; yields how many vectors have been seen, and last the head.

    batches: pooled vectors (n, C) float32.

    Raises:
        TooFewImages: no two vectors differ.
    """
    moments = Moments(products=False)
    for batch in batches:
        moments.add(batch)
        yield Progress("vectors", moments.count, moments.count)
    _check_differ(moments, "centering")
    head = Head("centering", None, (-moments.mean).astype(np.float32))
    yield Progress("vectors", moments.count, moments.count, head)


def fit_whitening(batches: Iterable[Array], channels: int, dimensions: int | None = None) -> Iterator[Progress[Head]]:
    """Fit PCA-whitening: P = diag(variance + ridge)^(-1/2) U^T, of the leading principal directions U of the vectors.

    Yields how many vectors have been seen, and last the head.
    The ridge is 1e-4 of the largest variance: directions that hardly vary are rounding and would drown the others.

    batches: pooled vectors (n, channels) float32.
    dimensions: how many directions to keep; by default 128, or fewer if there are few vectors: one for each four.

    Raises:
        BadHead: more dimensions than channels, or fewer than one.
        TooFewImages: the vectors span fewer directions.
    """
    if dimensions is not None and not 1 <= dimensions <= channels:
        raise BadHead(f"{dimensions} dimensions cannot be kept; take from 1 to the model's {channels}")
    moments = Moments(products=True)
    for batch in batches:
        moments.add(batch)
        yield Progress("vectors", moments.count, moments.count)
    _check_differ(moments, "whitening")
    variances, directions = _principal(moments.covariance)
    spanned = int((variances > variances[0] * FLAT).sum())
    wanted = dimensions or min(DEFAULT_DIMENSIONS, spanned, max(1, moments.count // IMAGES_PER_DIMENSION))
    if wanted > spanned:
        raise TooFewImages(
            f"the gallery's {moments.count} images span {spanned} directions, not {wanted}; keep at most {spanned} "
            "dimensions, or add images that differ"
        )
    matrix = np.ascontiguousarray(directions[:wanted]) / np.sqrt(variances[:wanted, None] + RIDGE * variances[0])
    head = Head("whitening", matrix.astype(np.float32), (-matrix @ moments.mean).astype(np.float32))
    yield Progress("vectors", moments.count, moments.count, head)


def _check_differ(moments: Moments, kind: HeadKind) -> None:
    """Raise TooFewImages if no two vectors differ."""
    if not moments.count or moments.variance <= FLAT * float((moments.mean**2).sum()):
        raise TooFewImages(
            f"{kind} needs at least two images that differ; the gallery has "
            + (f"{moments.count} that are the same to the model" if moments.count > 1 else str(moments.count))
        )


def _principal(covariance: Wide) -> tuple[Wide, Wide]:
    """Return variances, largest first, and directions (C, C), a row for each; its largest value is positive."""
    with ONE_BLAS_THREAD, threadpool_limits(1, user_api="blas"):
        variances, columns = np.linalg.eigh(covariance)
    directions = columns.T[::-1]
    largest = np.take_along_axis(directions, np.abs(directions).argmax(axis=1)[:, None], axis=1)
    return variances[::-1].clip(min=0), directions * np.sign(largest)
