"""Reads a gallery's images, as they are now or as they were at a generation."""

import json
import threading
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from whymatch.embed import Array
from whymatch.index.errors import BrokenGallery, UnknownImage
from whymatch.index.half_maps import HalfMap, expand
from whymatch.index.records import LabelCount, StoredImage
from whymatch.index.schema import NOW

if TYPE_CHECKING:
    from whymatch.index.store import Store

Row = tuple[Any, ...]
Found = TypeVar("Found")
Ids = NDArray[np.int64]

IMAGE = """
SELECT vector_id, name, label, metadata, width_px, height_px, size_bytes, sha256, create_time, update_time
FROM images JOIN contents ON contents.id = content_id
"""
THERE = "since <= ? AND until > ?"
VECTORS_AT_A_TIME = 4096
CHOICES_KEPT = 16
"""Sets of images that searches have been restricted to, each kept until the gallery changes."""


class Where(NamedTuple):
    """A condition on images in SQL, over the columns of the table `images`, and its values."""

    condition: str = "TRUE"
    values: tuple[object, ...] = ()
    of_contents: bool = False
    """Whether it also names columns of the table `contents`."""

    def and_(self, other: "Where") -> "Where":
        """Return the images that meet both conditions."""
        if self == ALL_IMAGES:
            return other
        condition = f"({self.condition}) AND ({other.condition})"
        return Where(condition, self.values + other.values, self.of_contents or other.of_contents)

    @property
    def tables(self) -> str:
        """What to select from."""
        return "images JOIN contents ON contents.id = content_id" if self.of_contents else "images"


ALL_IMAGES = Where()


class Labeled(NamedTuple):
    """The labels of all images that have one."""

    ids: Ids
    """Vector ids, ascending, (n)."""
    numbers: Ids
    """The number of the label of each, from 0."""

    def of(self, ids: Ids) -> Ids:
        """Return the number of the label of each id, -1 where there is none."""
        if not len(self.ids):
            return np.full(len(ids), -1)
        places = np.searchsorted(self.ids, ids).clip(max=len(self.ids) - 1)
        return np.where(self.ids[places] == ids, self.numbers[places], -1)


@dataclass(frozen=True, eq=False)
class StoredFeatures:
    """What a gallery keeps of an image's features."""

    width_px: int
    height_px: int
    pooled: Array
    """(C,) float32."""
    feature_map: Array
    """(H, W, C) float32, rounded to float16."""


class StoredImages:
    """The images of a store at one generation, or always at the newest; thread-safe."""

    def __init__(self, store: "Store", at: int = NOW) -> None:
        self._store = store
        self._at = at
        self.gallery = store.folder.name
        """The name of the gallery."""
        self.create_time = store.create_time
        """Of the gallery, in UTC."""
        self._chosen: OrderedDict[tuple[int, Where], Ids] = OrderedDict()
        self._choosing = threading.Lock()
        self._labeled: tuple[int, Labeled] | None = None
        self._label_count: tuple[int, int] | None = None

    @property
    def all_live(self) -> bool:
        """Whether these are the newest images, just those that the newest vector index has."""
        return self._at == NOW

    def generation(self) -> int:
        """Return the generation that these are of, at this moment."""
        return self._store.generation() if self.all_live else self._at

    def count(self) -> int:
        """Return how many images there are."""
        if self.all_live:
            return self._store.count()
        return len(self.ids())

    def find(self, name: str) -> StoredImage | None:
        """Return an image, None if there is none of that name."""
        rows = self._read(f"{IMAGE} WHERE {THERE} AND name = ?", name)
        return image_of(rows[0]) if rows else None

    def get(self, name: str) -> StoredImage:
        """Return an image. Raises UnknownImage."""
        image = self.find(name)
        if image is None:
            raise UnknownImage(name, self.gallery)
        return image

    def list_images(self, after: str, limit: int, where: Where = ALL_IMAGES) -> list[StoredImage]:
        """Return images by name, those after `after` that meet a condition."""
        query = f"{IMAGE} WHERE {THERE} AND name > ? AND ({where.condition}) ORDER BY name LIMIT ?"
        return [image_of(row) for row in self._read(query, after, *where.values, limit)]

    def distinct_images(self) -> list[StoredImage]:
        """Return the images in the order of adding, of those with the same content only the first."""
        first = f"SELECT min(vector_id) FROM images WHERE {THERE} GROUP BY content_id"
        query = f"{IMAGE} WHERE {THERE} AND vector_id IN ({first}) ORDER BY vector_id"
        return [image_of(row) for row in self._read(query, self._at, self._at)]

    def by_id(self, ids: Iterable[int]) -> dict[int, StoredImage]:
        """Return the images of these vector ids, as far as they are there."""
        rows = self._read(f"{IMAGE} WHERE {THERE} AND vector_id IN (SELECT value FROM json_each(?))", _json(ids))
        return {row[0]: image_of(row) for row in rows}

    def ids(self, where: Where = ALL_IMAGES) -> Ids:
        """Return the vector ids of the images that meet a condition, ascending."""
        key = self.generation(), where
        with self._choosing:
            if key in self._chosen:
                self._chosen.move_to_end(key)
                return self._chosen[key]
        query = f"SELECT vector_id FROM {where.tables} WHERE {THERE} AND ({where.condition})"
        rows = self._read(query, *where.values)
        chosen = np.sort(np.fromiter((row[0] for row in rows), np.int64, len(rows)))
        with self._choosing:
            self._chosen[key] = chosen
            while len(self._chosen) > CHOICES_KEPT:
                self._chosen.popitem(last=False)
        return chosen

    def has_label(self, label: str) -> bool:
        """Whether an image has that label."""
        return bool(self._read(f"SELECT 1 FROM images WHERE {THERE} AND label = ? LIMIT 1", label))

    def ids_of(self, contents: Collection[str], names: Collection[str]) -> Ids:
        """Return the vector ids of the images with one of some contents, by hash, or with one of some names."""
        query = f"""SELECT vector_id FROM images WHERE {THERE} AND (
                        content_id IN (SELECT id FROM contents WHERE sha256 IN (SELECT value FROM json_each(?)))
                        OR name IN (SELECT value FROM json_each(?)))"""
        return np.array([row[0] for row in self._read(query, _json(contents), _json(names))], np.int64)

    def labels(self) -> tuple[list[int], list[str]]:
        """Return the vector ids and the labels of all images that have a label, in the order of adding."""
        rows = self._read(f"SELECT vector_id, label FROM images WHERE {THERE} AND label != '' ORDER BY vector_id")
        return [row[0] for row in rows], [row[1] for row in rows]

    def distinct_labels(self, where: Where = ALL_IMAGES) -> tuple[list[int], list[str]]:
        """Return the same of those that meet a condition; of those with the same content and label only the first."""
        query = f"""SELECT min(vector_id), label FROM {where.tables}
                    WHERE {THERE} AND label != '' AND ({where.condition})
                    GROUP BY content_id, label ORDER BY min(vector_id)"""
        rows = self._read(query, *where.values)
        return [row[0] for row in rows], [row[1] for row in rows]

    def labels_of(self, ids: Iterable[int]) -> dict[int, str]:
        """Return the labels of these vector ids, as far as they are there and have one."""
        query = f"""SELECT vector_id, label FROM images
                    WHERE {THERE} AND label != '' AND vector_id IN (SELECT value FROM json_each(?))"""
        return dict(self._read(query, _json(ids)))

    def label_count(self) -> int:
        """Return how many different labels there are; counted once for each generation."""
        generation, known = self.generation(), self._label_count
        if known is None or known[0] != generation:
            query = f"SELECT count(DISTINCT label) FROM images WHERE {THERE} AND label != ''"
            known = self._label_count = generation, self._read(query)[0][0]
        return known[1]

    def labeled(self) -> Labeled:
        """Return the labels of all images as numbers; read once for each generation."""
        generation, known = self.generation(), self._labeled
        if known is None or known[0] != generation:
            ids, labels = self.labels()
            numbers: dict[str, int] = {}
            of_each = [numbers.setdefault(label, len(numbers)) for label in labels]
            labeled = Labeled(np.array(ids, np.int64), np.array(of_each, np.int64))
            known = self._labeled = generation, labeled
        return known[1]

    def label_counts(self, where: Where = ALL_IMAGES) -> list[LabelCount]:
        """Return each label and how many images that meet a condition have it, by label; "" stands for none."""
        query = f"""SELECT label, count(*) FROM {where.tables} WHERE {THERE} AND ({where.condition})
                    GROUP BY label ORDER BY label"""
        return [LabelCount(*row) for row in self._read(query, *where.values)]

    def sample_names(self, count: int, seed: int) -> list[str]:
        """Return the names of `count` images drawn at random, of all if there are not more, in the order of adding."""
        names = [row[0] for row in self._read(f"SELECT name FROM images WHERE {THERE} ORDER BY vector_id")]
        chosen = np.random.default_rng(seed).permutation(len(names))[:count]
        return [names[number] for number in np.sort(chosen)]

    def content(self, name: str) -> bytes:
        """Return an image's bytes. Raises UnknownImage."""
        digest = self.get(name).content_sha256
        content = self._store.content_by_hash(digest)
        if content is None:
            if self.find(name) is None:  # deleted meanwhile
                raise UnknownImage(name, self.gallery)
            raise BrokenGallery(
                f"the file of image {name!r} is gone from gallery {self._store.folder.name!r}; delete and add it"
            )
        return content

    def pooled(self, names: Sequence[str]) -> list[Array]:
        """Return the pooled vectors of images, (C,) float32. Raises UnknownImage."""
        query = f"""SELECT name, pooled FROM images JOIN contents ON contents.id = content_id
                    WHERE {THERE} AND name IN (SELECT value FROM json_each(?))"""
        rows = self._read(query, _json(names))
        return _in_order(names, {name: np.frombuffer(pooled, np.float32) for name, pooled in rows}, self.gallery)

    def features(self, names: Sequence[str]) -> list[StoredFeatures | None]:
        """Return the features of images, None where the feature map is not kept. Raises UnknownImage."""
        query = f"""SELECT name, width_px, height_px, pooled, rows, columns, exponent, alpha
                    FROM images JOIN contents ON contents.id = images.content_id
                    LEFT JOIN feature_maps ON feature_maps.content_id = contents.id
                    WHERE {THERE} AND name IN (SELECT value FROM json_each(?))"""
        with closing(self._store.rows(query, (self._at, self._at, _json(names)))) as rows:
            return _in_order(names, {name: features_of(*row) for name, *row in rows}, self.gallery)

    def vectors(self, ids: Ids | None = None) -> Iterator[tuple[Ids, Array]]:
        """Return vector ids (n) and pooled vectors (n, C), some thousands at a time: of all images, or of those named.

        Those of all are in the order of adding.
        """
        if ids is None:
            yield from self._all_vectors()
            return
        query = f"{_VECTORS} WHERE {THERE} AND vector_id IN (SELECT value FROM json_each(?))"
        for start in range(0, len(ids), VECTORS_AT_A_TIME):
            if rows := self._read(query, _json(ids[start : start + VECTORS_AT_A_TIME].tolist())):
                yield vectors_of(rows)

    def _all_vectors(self) -> Iterator[tuple[Ids, Array]]:
        last = 0
        query = f"{_VECTORS} WHERE {THERE} AND vector_id > ? ORDER BY vector_id LIMIT ?"
        while rows := self._read(query, last, VECTORS_AT_A_TIME):
            yield vectors_of(rows)
            last = rows[-1][0]

    def _read(self, query: str, *values: object) -> list[Row]:
        """Return the rows of a query whose first values are those of THERE."""
        return self._store.read(query, (self._at, self._at, *values))


_VECTORS = "SELECT vector_id, pooled FROM images JOIN contents ON contents.id = content_id"


def image_of(row: Row) -> StoredImage:
    """Return the image of a row of IMAGE."""
    _, name, label, metadata, width, height, size, digest, created, updated = row
    times = datetime.fromtimestamp(created, UTC), datetime.fromtimestamp(updated, UTC)
    return StoredImage(name, label, json.loads(metadata), width, height, size, digest, *times)


def features_of(
    width: int, height: int, pooled: bytes, rows: int, columns: int, exponent: int, alpha: bytes | None
) -> StoredFeatures | None:
    """Return stored features, None where there is no feature map."""
    if alpha is None:
        return None
    feature_map = expand(HalfMap(rows, columns, exponent, alpha))
    return StoredFeatures(width, height, np.frombuffer(pooled, np.float32), feature_map)


def vectors_of(rows: list[Row]) -> tuple[Ids, Array]:
    """Return the ids (n) and vectors (n, C) of rows."""
    ids = np.array([row[0] for row in rows], np.int64)
    vectors = np.frombuffer(b"".join(row[1] for row in rows), np.float32)
    return ids, vectors.reshape(len(rows), -1)


def _in_order(names: Sequence[str], found: Mapping[str, Found], gallery: str) -> list[Found]:
    """Return what was found for each name. Raises UnknownImage."""
    for name in names:
        if name not in found:
            raise UnknownImage(name, gallery)
    return [found[name] for name in names]


def _json(values: Iterable[object]) -> str:
    return json.dumps(list(values))
