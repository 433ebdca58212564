"""Predictions of a model for an image, to compare with altered ones: its class, or its best match in a gallery."""

import numpy as np
from numpy.typing import NDArray

from whymatch.embed import Array, Model
from whymatch.explain.errors import BadTarget
from whymatch.explain.patches import Pixels
from whymatch.index import GalleryVersion, Selection, StoredImage, content_digest


class TopClass:
    """That an image is of the class that is most likely for a given one."""

    def __init__(self, model: Model, pixels: Pixels, name: str = "top1") -> None:
        """Look the class up.

        pixels: (h, w, 3), the given image.
        name: what it must be, if not `top1`, whatever it is.

        Raises:
            NoClassScores: the network scores no classes.
            BadTarget: another class is most likely.
        """
        self._model = model
        self._place = int(model.class_scores(np.stack([pixels]))[0].argmax())
        self.name = model.classes[self._place]
        if name not in ("top1", self.name, str(self._place)):
            raise BadTarget(f"the most likely class of the image is {self.name!r}, not {name!r}; take that, or top1")

    def __call__(self, pixels: Pixels) -> tuple[Array, NDArray[np.bool_]]:
        """Return the probability of the class for images (B, h, w, 3), and whether it is the most likely one."""
        scores = self._model.class_scores(pixels)
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        probabilities: Array = powers[:, self._place] / powers.sum(axis=1)
        return probabilities, scores.argmax(axis=1) == self._place


class BestMatch:
    """That the best match of an image is the one that a given image has, among images of other content.

    Images with the same content are the same match.
    """

    def __init__(self, model: Model, version: GalleryVersion, content: bytes, pixels: Pixels) -> None:
        """Search for the given image.

        content: its file, which is no match of itself. pixels: (h, w, 3), the same as the network gets it.

        Raises:
            BadTarget: the gallery has no other image.
        """
        self._model = model
        self._version = version
        self._others = Selection(without_contents=frozenset([content_digest(content)]))
        [best] = self._best(self._embeddings(np.stack([pixels])))
        if best is None:
            raise BadTarget(f"gallery {version.gallery!r} has no other image that could match; add some")
        self.name = best.name
        self._hash = best.content_sha256
        self._match = version.embeddings([best.name])[0]

    def __call__(self, pixels: Pixels) -> tuple[Array, NDArray[np.bool_]]:
        """Return the similarity of images (B, h, w, 3) to the match, and whether it is the best one of each."""
        embeddings = self._embeddings(pixels)
        best = [one is not None and one.content_sha256 == self._hash for one in self._best(embeddings)]
        similarities: Array = embeddings @ self._match
        return similarities, np.array(best)

    def _embeddings(self, pixels: Pixels) -> Array:
        return self._version.head.embed(self._model.pooling.pool(self._model.feature_maps(pixels)))

    def _best(self, embeddings: Array) -> list[StoredImage | None]:
        """Return the best match of each embedding (B, D) among images of other content, None where there is none."""
        found = self._version.search(embeddings, 1, self._others)
        return [row[0].image if row else None for row in found]
