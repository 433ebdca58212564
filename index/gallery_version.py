"""A version of a gallery's embeddings: those of its images through one head, and the index that finds them."""

import itertools
import json
import logging
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from whymatch.embed import Array, Head, Model, Progress
from whymatch.index.diversity import Variety
from whymatch.index.duplicates import DuplicateGroup, near_duplicates
from whymatch.index.errors import UnknownLabel
from whymatch.index.records import Duplicates, Match
from whymatch.index.selection import EVERYTHING, Selection
from whymatch.index.standings import LabelScore, Standing, label_scores, rank_of
from whymatch.index.stored_images import ALL_IMAGES, StoredImages, Where
from whymatch.index.vector_index import Ids, VectorIndex

LOGGER = logging.getLogger(__name__)
RANKED = 8
"""So many times the limit are the best images whose labels are looked at first."""


class GalleryVersion:
    """The embeddings of a gallery's images behind one head; thread-safe.

    The gallery brings every change into its newest version. An older one goes on finding what it knew, as long as it is
    held; what was deleted since is left out.
    """

    def __init__(
        self, images: StoredImages, model: Model, head: Head, index: VectorIndex, changing: threading.Lock
    ) -> None:
        """Take an empty index, to be filled by `load` or `build`, or one with more vectors than `images` has.

        changing: what the gallery holds while it changes the store and this.
        """
        self.gallery = images.gallery
        self.create_time = images.create_time
        """Of the gallery, in UTC."""
        self.head = head
        self.head_version = 0
        """Counts the heads that the gallery has had, from 1; 0 without one. The gallery sets it."""
        self.fingerprint = head.fingerprint(model.fingerprint)
        self.dimensions = head.dimensions(model.dimensions)
        self._images = images
        self._channels = model.dimensions
        self._index = index
        self._changing = changing
        self._index_is_current = True
        self._saved_generation = -1

    # Queries.

    def count(self) -> int:
        """Return how many images there are."""
        return self._images.count()

    def generation(self) -> int:
        """Return which generation of the gallery this is, at this moment."""
        return self._images.generation()

    @property
    def index(self) -> VectorIndex:
        """What finds its images."""
        return self._index

    def embeddings(self, names: Sequence[str]) -> Array:
        """Return the embeddings of images, (n, D) float32 of length 1. Raises UnknownImage."""
        pooled = np.array(self._images.pooled(names), np.float32)
        return self.head.embed(pooled.reshape(-1, self._channels))

    def label_embeddings(self, label: str, *, without_content: str = "", where: Where = ALL_IMAGES) -> Array:
        """Return the embeddings of the images of a label, (n, D) float32; n may be 0. Raises UnknownLabel.

        without_content: not those with this content, a `content_digest`. where: as in `Selection`.
        """
        ids, left_out = self._ids_of(Selection(frozenset([label]), frozenset([without_content]), where))
        assert ids is not None
        batches = [embeddings for _, embeddings in self._all(np.setdiff1d(ids, left_out))]
        return np.concatenate([np.empty((0, self.dimensions), np.float32), *batches])

    def labeled_pairs(self, count: int, seed: int, where: Where = ALL_IMAGES) -> tuple[Array, Array]:
        """Draw pairs of images of one label, and return the embeddings of both sides, (count, D) float32.

        where: only of images that meet this condition.

        First an image is drawn of all that share their label, then one of the others of the label; what has the same
        content is one image. No image shares its label: both are empty.
        """
        first, second = _pairs(*self._images.distinct_labels(where), count, seed)
        wanted, places = np.unique(np.concatenate([first, second]), return_inverse=True)
        vectors = np.zeros((len(wanted), self.dimensions), np.float32)  # of one deleted meanwhile it stays 0
        for ids, embeddings in self._all(wanted):
            vectors[np.searchsorted(wanted, ids)] = embeddings
        return vectors[places[: len(first)]], vectors[places[len(first) :]]

    def search(self, embeddings: Array, limit: int, selection: Selection = EVERYTHING) -> list[list[Match]]:
        """Return the `limit` most similar of the selected images for each embedding (n, D), best first.

        embeddings: float32 of any length; a score is the inner product with the image's embedding, of length 1.

        Raises:
            UnknownLabel: no image has one of the labels.
        """
        self._require_index()
        allowed, left_out = self._ids_of(selection)
        found = self._search(embeddings, limit, allowed, left_out)
        if any(match is None for matches in found for match in matches):
            with self._changing:  # an image was deleted between the index and the store: nothing is in here
                found = self._search(embeddings, limit, allowed, left_out)
        return [[match for match in matches if match is not None] for matches in found]

    def best_of_labels(self, embedding: Array, limit: int, selection: Selection = EVERYTHING) -> list[Match]:
        """Return the best of the selected images of each label, for the `limit` labels where it is best.

        embedding: (D,) float32. Images without a label are left out.

        Raises:
            UnknownLabel: no image has one of the labels.
        """
        self._require_index()
        allowed, left_out = self._ids_of(selection)
        best = self._first_of_labels(embedding, RANKED * limit, allowed, left_out)
        if len(best) < min(limit, self._images.label_count()):
            best = self._every_label(embedding, limit, allowed, left_out)
        first = best[:limit]
        images = self._images.by_id(image_id for image_id, _ in first)
        return [Match(images[image_id], score) for image_id, score in first if image_id in images]

    def standing(self, embedding: Array, name: str, limit: int, selection: Selection = EVERYTHING) -> Standing:
        """Return where an image stands among the selected ones, and which of them is at place `limit`.

        Every vector is compared, whatever the index. The image itself takes part, selected or not.

        embedding: (D,) float32. Raises UnknownImage, UnknownLabel.
        """
        score = float((self.embeddings([name]) @ embedding)[0])
        itself = self._images.ids_of((), [name])
        ids, scores = self._scores(embedding, selection)
        others = ~np.isin(ids, itself)
        ids, scores = np.append(ids[others], itself), np.append(scores[others], np.float32(score))
        place = min(limit, len(ids))
        last = np.argsort(-scores, kind="stable")[place - 1]
        rival = self._images.by_id([int(ids[last])]).get(int(ids[last])) or self._images.get(name)  # deleted meanwhile
        return Standing(score, rank_of(score, scores), len(ids), rival, float(scores[last]), place)

    def label_scores(self, embedding: Array, selection: Selection = EVERYTHING) -> list[LabelScore]:
        """Return the mean score of the selected images of each label, highest first. Every vector is compared.

        embedding: (D,) float32. Raises UnknownLabel.
        """
        return label_scores(*self._scores(embedding, selection), self._images.labels())

    def _scores(self, embedding: Array, selection: Selection) -> tuple[Ids, Array]:
        """Return the vector ids of all selected images, (n), and their exact scores, (n) float32."""
        allowed, left_out = self._ids_of(selection)
        batches = [(ids, embeddings @ embedding) for ids, embeddings in self._all(allowed)]
        ids = np.concatenate([np.empty(0, np.int64), *(ids for ids, _ in batches)])
        scores = np.concatenate([np.empty(0, np.float32), *(scores for _, scores in batches)])
        kept = ~np.isin(ids, left_out)
        return ids[kept], scores[kept]

    def _first_of_labels(
        self, embedding: Array, ranked: int, allowed: Ids | None, left_out: Ids
    ) -> list[tuple[int, float]]:
        """Return vector id and score of the best image of each label that the first `ranked` images have."""
        [scores], [ids] = self._ranked(embedding[None], ranked, allowed, left_out)
        label_of = self._images.labels_of(ids.tolist())
        best: dict[str, tuple[int, float]] = {}
        for image_id, score in zip(ids.tolist(), scores.tolist(), strict=True):
            if image_id in label_of:
                best.setdefault(label_of[image_id], (image_id, score))
        return list(best.values())

    def _every_label(self, embedding: Array, limit: int, allowed: Ids | None, left_out: Ids) -> list[tuple[int, float]]:
        """Return vector id and score of the best image of each label, for the `limit` best labels."""
        labeled = self._images.labeled()

        def groups_of(ids: Ids) -> Ids:
            groups = labeled.of(ids)
            groups[np.isin(ids, left_out)] = -1
            if allowed is not None:
                groups[~np.isin(ids, allowed)] = -1
            return groups

        found = self._index.best_of_groups(embedding, limit, groups_of)
        if found is None:
            return self._first_of_labels(embedding, self._images.count(), allowed, left_out)
        scores, ids = found
        return list(zip(ids.tolist(), scores.tolist(), strict=True))

    def varied(self, matches: Sequence[Match], limit: int, variety: Variety) -> list[Match]:
        """Choose up to `limit` of the matches of a search, which are best first. Raises UnknownImage.

        Matches that are folded into another one are its `folded`.
        """
        scores = np.array([match.score for match in matches], np.float32)
        vectors = self.embeddings([match.image.name for match in matches])
        return [
            replace(matches[first], folded=tuple(matches[place] for place in others))
            for first, *others in variety.chosen(scores, vectors, limit)
        ]

    def duplicates(self, above: float, where: Where = ALL_IMAGES) -> Iterator[Progress[list[Duplicates]]]:
        """Find groups of images whose embeddings have an inner product of at least `above`, -1 to 1; exactly.

        Yields how many images have been compared with all others, and last the groups; see `near_duplicates`.
        """
        yield Progress("images", 0, self.count())
        ids, vectors = self._matrix(self._images.ids(where))
        groups: list[DuplicateGroup] = []
        for progress in near_duplicates(vectors, above):
            yield Progress("images", progress.done, progress.total)
            groups = progress.result or groups
        images = self._images.by_id(int(number) for group in groups for number in ids[group.members])
        found = [(group, [images[i] for i in ids[group.members].tolist() if i in images]) for group in groups]
        left = [Duplicates(there, group.least, group.largest) for group, there in found if len(there) > 1]
        yield Progress("images", len(ids), len(ids), left)

    def _matrix(self, ids: Ids) -> tuple[Ids, Array]:
        """Return the embeddings, (n, D), of ids (n) that ascend; both without what was deleted meanwhile."""
        vectors, there = np.zeros((len(ids), self.dimensions), np.float32), np.zeros(len(ids), bool)
        for some, embeddings in self._all(ids):
            places = np.searchsorted(ids, some)
            vectors[places], there[places] = embeddings, True
        return (ids, vectors) if there.all() else (ids[there], vectors[there])

    def _search(self, embeddings: Array, limit: int, allowed: Ids | None, left_out: Ids) -> list[list[Match | None]]:
        """Return the matches of each embedding, None where the store does not know the image any more."""
        scores, ids = self._ranked(embeddings, limit, allowed, left_out)
        images = self._images.by_id({int(image_id) for image_id in ids.flat})
        return [
            [
                Match(images[i], float(score)) if i in images else None
                for i, score in zip(row, best, strict=True)
                if i >= 0
            ]
            for row, best in zip(ids.tolist(), scores, strict=True)
        ]

    def _ranked(self, embeddings: Array, limit: int, allowed: Ids | None, left_out: Ids) -> tuple[Array, Ids]:
        """Return scores and ids of the best images for each embedding; an id is -1 where there are no more."""
        enough = limit + len(left_out)  # the best `limit` of the others are among so many, whatever the scores
        scores, ids, final = self._index.search(embeddings, enough, allowed)
        if not final:
            scores, ids = self._scored(embeddings, self._candidates(ids, enough, allowed), enough)
        return _best_others(scores, ids, left_out, limit) if len(left_out) else (scores, ids)

    def _candidates(self, ids: Ids, limit: int, allowed: Ids | None) -> Ids | None:
        """Return whose exact scores to compute: what was found, or, where that is too little, all that is allowed."""
        if allowed is not None:
            return allowed
        found = np.unique(ids[ids >= 0])
        known = set(self._images.by_id(found.tolist()))
        enough = min(limit, self._images.count())
        if all(len(known.intersection(row)) >= enough for row in ids.tolist()):
            return found
        return None

    def _scored(self, embeddings: Array, candidates: Ids | None, limit: int) -> tuple[Array, Ids]:
        """Return the best of the candidates, or of all images, for each embedding (n, D), by exact score."""
        scores = np.empty((len(embeddings), 0), np.float32)
        ids = np.empty((len(embeddings), 0), np.int64)
        for batch, vectors in self._all(candidates):
            scores = np.hstack([scores, embeddings @ vectors.T])
            ids = np.hstack([ids, np.tile(batch, (len(embeddings), 1))])
            best = np.argsort(-scores, axis=1, kind="stable")[:, :limit]
            scores, ids = np.take_along_axis(scores, best, axis=1), np.take_along_axis(ids, best, axis=1)
        return scores, ids

    # Changes; the gallery holds its lock.

    def load(self) -> None:
        """Take up the saved index, or build it anew."""
        generation = self._images.generation()
        if self._index.load(generation):
            self._saved_generation = generation
        else:
            self.build()

    def save(self) -> None:
        """Keep the index for the next start."""
        generation = self._images.generation()
        if self._index_is_current and generation != self._saved_generation:
            self._index.save(generation)

    def change(self, pooled: Mapping[int, Array], removed: Sequence[int] = ()) -> None:
        """Follow a change of the store: bring in pooled vectors (C,) by vector id, take out others.

        Builds the index anew if that is due.
        """
        try:
            if removed:
                self._index.remove(np.array(removed, np.int64))
            if pooled:
                self._index.add(np.array(list(pooled), np.int64), self.head.embed(np.stack(list(pooled.values()))))
            due = self._index.stale(self._images.count())
        except Exception:
            LOGGER.exception("the index of gallery %r failed and is built anew", self.gallery)
            self._index_is_current, due = False, True
        if due:
            self.build()

    def fill(self, given_up: Callable[[], bool] = lambda: False) -> None:
        """Fill the index from the store; `given_up` ends it early. Raises what goes wrong."""
        batches = itertools.takewhile(lambda _: not given_up(), self._all())
        self._index.rebuild(self._images.count(), batches)

    def build(self) -> None:
        """Build the index anew from the store; a simpler one, if the one that was asked for cannot be built."""
        try:
            self.fill()
        except Exception:
            LOGGER.exception("the index of gallery %r cannot be built as asked and becomes flat", self.gallery)
            self._index_is_current = False
            self._index.give_up()
            self.fill()
        self._index_is_current = True

    def _require_index(self) -> None:
        """Build the index before anything is searched, if that failed when it was due."""
        if not self._index_is_current:
            with self._changing:
                if not self._index_is_current:
                    self.build()

    def _all(self, ids: Ids | None = None) -> Iterator[tuple[Ids, Array]]:
        """Yield vector ids (n) and embeddings (n, D), some thousands at a time: of all images, or of those named."""
        return ((some, self.head.embed(pooled)) for some, pooled in self._images.vectors(ids))

    def _ids_of(self, selection: Selection) -> tuple[Ids | None, Ids]:
        """Return the only vector ids that a search may find, None for all, and those of all that it must leave out."""
        left_out = np.empty(0, np.int64)
        if selection.without_contents or selection.without_names:
            left_out = self._images.ids_of(selection.without_contents, selection.without_names)
        where = selection.where
        if selection.labels:
            where = where.and_(self._of_labels(selection.labels))
        if where == ALL_IMAGES and self._images.all_live:
            return None, left_out
        return self._images.ids(where), left_out

    def _of_labels(self, labels: Collection[str]) -> Where:
        for label in sorted(labels):
            if not self._images.has_label(label):
                raise UnknownLabel(label, self.gallery, [one.label for one in self._images.label_counts() if one.label])
        return Where("label IN (SELECT value FROM json_each(?))", (json.dumps(sorted(labels)),))


def _best_others(scores: Array, ids: Ids, left_out: Ids, limit: int) -> tuple[Array, Ids]:
    """Return the first `limit` of each row of scores and ids (n, m) without some ids; -1 where there are no more."""
    gone = np.isin(ids, left_out)
    best = np.argsort(gone, axis=1, kind="stable")[:, :limit]
    return np.take_along_axis(scores, best, axis=1), np.take_along_axis(np.where(gone, -1, ids), best, axis=1)


def _pairs(ids: Sequence[int], labels: Sequence[str], count: int, seed: int) -> tuple[Ids, Ids]:
    """Draw `count` pairs of different ids of one label; none if there is no such pair."""
    numbers = np.array(ids, np.int64)
    _, label_numbers, sizes = np.unique(np.array(labels, object), return_inverse=True, return_counts=True)
    order = np.argsort(label_numbers, kind="stable")
    starts = np.cumsum(sizes) - sizes
    candidates = np.flatnonzero(sizes[label_numbers[order]] > 1)  # places in `order`
    if not len(candidates):
        return numbers[:0], numbers[:0]
    random = np.random.default_rng(seed)
    first = random.choice(candidates, count)
    label = label_numbers[order[first]]
    step = random.integers(1, sizes[label])  # to another place of the same label
    second = starts[label] + (first - starts[label] + step) % sizes[label]
    return numbers[order[first]], numbers[order[second]]
