"""The truth about one gallery: a SQLite database of rows, vectors and feature maps, and the image files beside it."""

import json
import sqlite3
import threading
import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from whymatch.embed import NO_HEAD, Array, Head, HeadKind
from whymatch.index.disk import disk_errors, sync
from whymatch.index.errors import BrokenGallery, ImageExists, NewerFormat, UnknownGallery, UnknownImage
from whymatch.index.half_maps import HalfMap, expand
from whymatch.index.open_files import OpenFiles
from whymatch.index.records import Added, GalleryFacts, HeadFacts, NewImage, StoredImage, content_digest

Row = tuple[Any, ...]
Found = TypeVar("Found")

FORMAT = 2  # of the tables below
DATABASE = "gallery.sqlite"
CONTENTS = "contents"
ADDING = "adding"
"""An empty file, there from the first image that is added until the store is closed."""

HEADS = """
CREATE TABLE heads (  -- none, or the one in use
    version INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    dimensions INTEGER NOT NULL,
    fingerprint TEXT NOT NULL,
    matrix BLOB,  -- float32, row by row; NULL where every channel is left as it is
    bias BLOB,  -- float32; NULL for zeros
    image_count INTEGER NOT NULL,
    create_time REAL NOT NULL
);
"""
SCHEMA = f"""
CREATE TABLE facts (key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
CREATE TABLE contents (
    id INTEGER PRIMARY KEY,
    sha256 TEXT NOT NULL UNIQUE,
    size_bytes INTEGER NOT NULL,
    width_px INTEGER NOT NULL,
    height_px INTEGER NOT NULL,
    pooled BLOB NOT NULL  -- float32, before the head and before scaling to length 1
);
CREATE TABLE feature_maps (
    content_id INTEGER PRIMARY KEY REFERENCES contents (id) ON DELETE CASCADE,
    rows INTEGER NOT NULL,
    columns INTEGER NOT NULL,
    exponent INTEGER NOT NULL,
    alpha BLOB NOT NULL  -- float16 times 2^exponent, the channel running fastest
);
CREATE TABLE images (
    id INTEGER PRIMARY KEY AUTOINCREMENT,  -- never used twice: the vector index knows images by it
    name TEXT NOT NULL UNIQUE,
    label TEXT NOT NULL,
    metadata TEXT NOT NULL,
    content_id INTEGER NOT NULL REFERENCES contents (id),
    create_time REAL NOT NULL
);
CREATE INDEX images_by_label ON images (label);
CREATE INDEX images_by_content ON images (content_id);
{HEADS}
"""
MIGRATIONS = {1: HEADS}
"""The statements that turn a format into the next one."""
IMAGE = """
SELECT images.id, name, label, metadata, width_px, height_px, size_bytes, sha256, create_time
FROM images JOIN contents ON contents.id = content_id
"""
VECTORS = "SELECT images.id, pooled FROM images JOIN contents ON contents.id = content_id"
VECTORS_AT_A_TIME = 4096
READ_CACHE_KIB = 32 * 1024
"""Of each open gallery, until it changes: the feature maps of a hundred images, so that the next region is quick."""


@dataclass(frozen=True, eq=False)
class StoredFeatures:
    """What a gallery keeps of an image's features."""

    width_px: int
    height_px: int
    pooled: Array
    """(C,) float32."""
    feature_map: Array
    """(H, W, C) float32, rounded to float16."""


class Store:
    """One gallery's rows and files; thread-safe.

    Every change is one transaction, on disk when the method returns. Image files are written before the transaction
    that refers to them, so a crash can leave a file too many, never one too few; the next start removes those.
    """

    def __init__(self, folder: Path, open_files: OpenFiles) -> None:
        """Open the gallery in `folder`. Raises NewerFormat, BrokenGallery, ReadOnlyStorage, TooManyFiles.

        open_files: what asks this store to `rest` when others have been used since.
        """
        self.folder = folder
        self._name = f"gallery {folder.name!r}"
        self._files = open_files
        self._writing = threading.Lock()
        self._reading = threading.Lock()
        self._writer_or_none: sqlite3.Connection | None = None
        self._reader_or_none: sqlite3.Connection | None = None
        self._closed = False
        try:
            with disk_errors(self._name, self.folder):
                self._check_format()
                self._count: int = self._reader.execute("SELECT count(*) FROM images").fetchone()[0]
                generation = self._reader.execute("SELECT value FROM facts WHERE key = 'generation'").fetchone()
                self._generation: int = generation[0] if generation else 0  # `facts` tells of a gallery that lacks it
                if (folder / ADDING).exists():
                    self._sweep()
        except BaseException:
            self._files.closed(self)
            self._disconnect()
            raise
        self._files.used(self)

    @staticmethod
    def create(folder: Path, model: str, index_factory: str, omit_feature_maps: bool) -> None:
        """Make an empty gallery in a new folder."""
        facts = {
            "model": model,
            "index_factory": index_factory,
            "omit_feature_maps": int(omit_feature_maps),
            "create_time": time.time(),
            "generation": 0,
        }
        with disk_errors(f"gallery {folder.name!r}", folder):
            (folder / CONTENTS).mkdir(parents=True)
            with closing(_connect(folder)) as connection:
                connection.executescript(f"BEGIN; {SCHEMA}")
                connection.executemany("INSERT INTO facts VALUES (?, ?)", facts.items())
                connection.execute(f"PRAGMA user_version = {FORMAT}")
                connection.execute("COMMIT")

    def close(self) -> None:
        """Close the database; what was acknowledged is on disk already."""
        with self._writing, self._reading, disk_errors(self._name, self.folder):
            self._closed = True
            self._files.closed(self)
            self._disconnect()
            (self.folder / ADDING).unlink(missing_ok=True)

    def rest(self) -> bool:
        """Give back the files until they are needed again; False, and nothing done, while they are in use."""
        if not self._writing.acquire(blocking=False):
            return False
        try:
            if not self._reading.acquire(blocking=False):
                return False
            try:
                self._disconnect()
            finally:
                self._reading.release()
        finally:
            self._writing.release()
        return True

    def facts(self) -> GalleryFacts:
        """Return what the gallery is."""
        facts: dict[str, Any] = dict(self._read("SELECT key, value FROM facts"))
        try:
            return GalleryFacts(
                self.folder.name,
                facts["model"],
                facts["index_factory"],
                bool(facts["omit_feature_maps"]),
                self.count(),
                datetime.fromtimestamp(facts["create_time"], UTC),
                self._head_facts(),
                facts["generation"],
            )
        except KeyError as err:
            raise BrokenGallery(f"{self._name} lacks its {err.args[0]}; restore or delete it") from err

    def _head_facts(self) -> HeadFacts | None:
        rows = self._read("SELECT kind, dimensions, fingerprint, version, image_count, create_time FROM heads")
        return _head_facts(*rows[0]) if rows else None

    def head(self) -> Head:
        """Return the head of the gallery."""
        rows = self._read("SELECT kind, dimensions, matrix, bias FROM heads")
        return _head(*rows[0]) if rows else NO_HEAD

    def count(self) -> int:
        """Return how many images there are."""
        return self._count

    def generation(self) -> int:
        """Return a number that grows with every change; never waits for the disk."""
        return self._generation

    # Changes.

    def add(
        self, images: Sequence[NewImage], feature_maps: Sequence[HalfMap | None]
    ) -> list[tuple[int, Added] | ImageExists]:
        """Add images in one transaction; each becomes its row's id and what became of it, or its own error.

        feature_maps: for each image its feature map, or None to keep none.

        Raises:
            StorageFull, ReadOnlyStorage, BrokenGallery: nothing was added.
        """
        written: list[Path] = []
        with self._changing():
            (self.folder / ADDING).touch()
            try:
                with self._transaction() as connection:
                    results = [
                        self._add(connection, image, feature_map, written)
                        for image, feature_map in zip(images, feature_maps, strict=True)
                    ]
                    for path in (*written, self.folder / CONTENTS):
                        sync(path)
            except BaseException:
                for path in written:
                    path.unlink(missing_ok=True)
                raise
            self._count += sum(isinstance(result, tuple) and not result[1].unchanged for result in results)
        return results

    def _add(
        self, connection: sqlite3.Connection, image: NewImage, feature_map: HalfMap | None, written: list[Path]
    ) -> tuple[int, Added] | ImageExists:
        digest = content_digest(image.content)
        if (stored := _find(connection, image.name)) is not None:
            return _same_or_error(*stored, image, digest)
        content = connection.execute("SELECT id FROM contents WHERE sha256 = ?", (digest,)).fetchone()
        twin = content and connection.execute("SELECT name FROM images WHERE content_id = ?", content).fetchone()
        if content is None:
            written.append(self._content_path(digest))
            written[-1].write_bytes(image.content)
            content = _insert_content(connection, image, digest, feature_map)
        row = connection.execute(
            "INSERT INTO images (name, label, metadata, content_id, create_time) VALUES (?, ?, ?, ?, ?)",
            (image.name, image.label, _metadata_text(image.metadata), content[0], time.time()),
        )
        assert row.lastrowid is not None
        found = _find(connection, image.name)
        assert found is not None
        return row.lastrowid, Added(found[1], duplicate_of=twin[0] if twin else "")

    def delete(self, name: str) -> int:
        """Delete an image and return its row's id. Raises UnknownImage."""
        with self._changing():
            with self._transaction() as connection:
                if (found := _find(connection, name)) is None:
                    raise UnknownImage(name, self.folder.name)
                image_id, image = found
                connection.execute("DELETE FROM images WHERE id = ?", (image_id,))
                unused = connection.execute(
                    """DELETE FROM contents WHERE sha256 = ?
                       AND NOT EXISTS (SELECT * FROM images WHERE content_id = contents.id) RETURNING sha256""",
                    (image.content_sha256,),
                ).fetchall()
            self._count -= 1
            for (digest,) in unused:
                self._content_path(digest).unlink(missing_ok=True)
        return image_id

    def set_head(self, head: Head, dimensions: int, fingerprint: str, image_count: int) -> int:
        """Keep a head in place of the one before; return its version, 0 for none.

        fingerprint: of what makes the embeddings now. image_count: how many images the head was fitted to.
        """
        facts = (head.kind, dimensions, fingerprint, image_count, time.time())
        with self._changing(), self._transaction() as connection:
            connection.execute("DELETE FROM heads")
            if head.kind == "none":
                return 0
            row = connection.execute(
                "INSERT INTO heads (kind, dimensions, fingerprint, image_count, create_time, matrix, bias) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                (*facts, _blob(head.matrix), _blob(head.bias)),
            )
            assert row.lastrowid is not None
            return row.lastrowid

    def _sweep(self) -> None:
        """Remove image files that a crash left without a row."""
        with self._changing():
            known = {digest for (digest,) in self._writer.execute("SELECT sha256 FROM contents")}
            for path in (self.folder / CONTENTS).iterdir():
                if path.name not in known:
                    path.unlink()

    # Queries.

    def find(self, name: str) -> StoredImage | None:
        """Return an image, None if there is none of that name."""
        rows = self._read(f"{IMAGE} WHERE name = ?", (name,))
        return _image(rows[0]) if rows else None

    def get(self, name: str) -> StoredImage:
        """Return an image. Raises UnknownImage."""
        image = self.find(name)
        if image is None:
            raise UnknownImage(name, self.folder.name)
        return image

    def list_images(self, after: str, limit: int) -> list[StoredImage]:
        """Return images by name, those after `after`."""
        return [_image(row) for row in self._read(f"{IMAGE} WHERE name > ? ORDER BY name LIMIT ?", (after, limit))]

    def distinct_images(self) -> list[StoredImage]:
        """Return the images in the order of adding, of those with the same content only the first."""
        first = "SELECT min(id) FROM images GROUP BY content_id"
        return [_image(row) for row in self._read(f"{IMAGE} WHERE images.id IN ({first}) ORDER BY images.id")]

    def by_id(self, ids: Iterable[int]) -> dict[int, StoredImage]:
        """Return the images that still have these row ids."""
        rows = self._read(f"{IMAGE} WHERE images.id IN (SELECT value FROM json_each(?))", (json.dumps(list(ids)),))
        return {row[0]: _image(row) for row in rows}

    def ids_of_label(self, label: str) -> NDArray[np.int64]:
        """Return the row ids of the images with a label."""
        return np.array([row[0] for row in self._read("SELECT id FROM images WHERE label = ?", (label,))], np.int64)

    def ids_of_content(self, digest: str) -> NDArray[np.int64]:
        """Return the row ids of the images with one content."""
        query = "SELECT images.id FROM images JOIN contents ON contents.id = content_id WHERE sha256 = ?"
        return np.array([row[0] for row in self._read(query, (digest,))], np.int64)

    def labels(self, *, distinct: bool = False) -> tuple[list[int], list[str]]:
        """Return the row ids and the labels of all images that have a label.

        distinct: of those with the same content and label only the first.
        """
        first = "AND id IN (SELECT min(id) FROM images GROUP BY content_id, label)" if distinct else ""
        rows = self._read(f"SELECT id, label FROM images WHERE label != '' {first} ORDER BY id")
        return [row[0] for row in rows], [row[1] for row in rows]

    def label_names(self) -> list[str]:
        """Return the different labels there are."""
        return [row[0] for row in self._read("SELECT DISTINCT label FROM images WHERE label != '' ORDER BY label")]

    def sample_names(self, count: int, seed: int) -> list[str]:
        """Return the names of `count` images drawn at random, of all if there are not more, in the order of adding."""
        names = [row[0] for row in self._read("SELECT name FROM images ORDER BY id")]
        chosen = np.random.default_rng(seed).permutation(len(names))[:count]
        return [names[number] for number in np.sort(chosen)]

    def content(self, name: str) -> bytes:
        """Return an image's bytes. Raises UnknownImage."""
        with disk_errors(self._name, self.folder):
            try:
                return self._content_path(self.get(name).content_sha256).read_bytes()
            except FileNotFoundError as err:
                if self.find(name) is None:  # deleted meanwhile
                    raise UnknownImage(name, self.folder.name) from err
                raise BrokenGallery(f"the file of image {name!r} is gone from {self._name}; delete and add it") from err

    def content_by_hash(self, digest: str) -> bytes | None:
        """Return the bytes of an image by the hash of its file, None if it is gone."""
        with disk_errors(self._name, self.folder):
            try:
                return self._content_path(digest).read_bytes()
            except FileNotFoundError:
                return None

    def features_by_hash(self, digest: str) -> StoredFeatures | None:
        """Return the features of an image by the hash of its file, None if it is gone or its feature map not kept."""
        query = """SELECT width_px, height_px, pooled, rows, columns, exponent, alpha
                   FROM contents JOIN feature_maps ON feature_maps.content_id = contents.id WHERE sha256 = ?"""
        rows = self._read(query, (digest,))
        return _features(*rows[0]) if rows else None

    def pooled(self, names: Sequence[str]) -> list[Array]:
        """Return the pooled vectors of images, (C,) float32. Raises UnknownImage."""
        query = """SELECT name, pooled FROM images JOIN contents ON contents.id = content_id
                   WHERE name IN (SELECT value FROM json_each(?))"""
        rows = self._read(query, (json.dumps(list(names)),))
        return _in_order(names, {name: np.frombuffer(pooled, np.float32) for name, pooled in rows}, self.folder.name)

    def features(self, names: Sequence[str]) -> list[StoredFeatures | None]:
        """Return the features of images, None where the feature map is not kept. Raises UnknownImage."""
        query = """SELECT name, width_px, height_px, pooled, rows, columns, exponent, alpha
                   FROM images JOIN contents ON contents.id = images.content_id
                   LEFT JOIN feature_maps ON feature_maps.content_id = contents.id
                   WHERE name IN (SELECT value FROM json_each(?))"""
        with closing(self._rows(query, (json.dumps(list(names)),))) as rows:
            return _in_order(names, {name: _features(*row) for name, *row in rows}, self.folder.name)

    def vectors(self, ids: NDArray[np.int64] | None = None) -> Iterator[tuple[NDArray[np.int64], Array]]:
        """Return row ids (n) and pooled vectors (n, C), some thousands at a time: of all images, or of those named."""
        if ids is None:
            yield from self._all_vectors()
            return
        query = f"{VECTORS} WHERE images.id IN (SELECT value FROM json_each(?))"
        for start in range(0, len(ids), VECTORS_AT_A_TIME):
            if rows := self._read(query, (json.dumps(ids[start : start + VECTORS_AT_A_TIME].tolist()),)):
                yield _vectors(rows)

    def _all_vectors(self) -> Iterator[tuple[NDArray[np.int64], Array]]:
        last = 0
        while rows := self._read(
            f"{VECTORS} WHERE images.id > ? ORDER BY images.id LIMIT ?", (last, VECTORS_AT_A_TIME)
        ):
            yield _vectors(rows)
            last = rows[-1][0]

    # Plumbing.

    @property
    def _writer(self) -> sqlite3.Connection:
        """The connection that changes; whoever uses it holds `_writing`."""
        if self._writer_or_none is None:
            self._writer_or_none = _connect(self.folder)
        return self._writer_or_none

    @property
    def _reader(self) -> sqlite3.Connection:
        """The connection that reads; whoever uses it holds `_reading`."""
        if self._reader_or_none is None:
            self._reader_or_none = _connect(self.folder)
            self._reader_or_none.execute(f"PRAGMA cache_size = -{READ_CACHE_KIB}")
        return self._reader_or_none

    def _disconnect(self) -> None:
        reader, self._reader_or_none = self._reader_or_none, None
        writer, self._writer_or_none = self._writer_or_none, None
        for connection in (reader, writer):
            if connection is not None:
                connection.close()

    def _check_format(self) -> None:
        (version,) = self._writer.execute("PRAGMA user_version").fetchone()
        if version > FORMAT:
            raise NewerFormat(
                f"{self._name} has format {version}, newer than format {FORMAT} of this version; upgrade whymatch"
            )
        if version < 1:
            raise BrokenGallery(f"{self._name} has no tables; delete its folder {str(self.folder)!r} and add again")
        while version < FORMAT:
            step, version = MIGRATIONS[version], version + 1
            self._writer.executescript(f"BEGIN; {step} PRAGMA user_version = {version}; COMMIT")

    def _read(self, query: str, values: Sequence[object] = ()) -> list[Row]:
        return list(self._rows(query, values))

    def _rows(self, query: str, values: Sequence[object] = ()) -> Generator[Row, None, None]:
        """Yield rows, to be read to the end or closed: no other thread reads meanwhile."""
        with self._reading, disk_errors(self._name, self.folder):
            self._require_open()
            self._files.used(self)
            yield from self._reader.execute(query, values)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with self._writing, disk_errors(self._name, self.folder):
            self._require_open()
            self._files.used(self)
            yield

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Change the tables, which makes a new generation of the gallery; all of it, or nothing if the block raises."""
        connection = self._writer
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("UPDATE facts SET value = value + 1 WHERE key = 'generation'")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        self._generation += 1

    def _require_open(self) -> None:
        if self._closed:
            raise UnknownGallery(self.folder.name)

    def _content_path(self, digest: str) -> Path:
        return self.folder / CONTENTS / digest


def _connect(folder: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(folder / DATABASE, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA page_size = 32768")  # halves the work of writing feature maps
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
    except BaseException:
        connection.close()
        raise
    return connection


def _in_order(names: Sequence[str], found: Mapping[str, Found], gallery: str) -> list[Found]:
    """Return what was found for each name. Raises UnknownImage."""
    for name in names:
        if name not in found:
            raise UnknownImage(name, gallery)
    return [found[name] for name in names]


def _find(connection: sqlite3.Connection, name: str) -> tuple[int, StoredImage] | None:
    row = connection.execute(f"{IMAGE} WHERE name = ?", (name,)).fetchone()
    return (row[0], _image(row)) if row else None


def _image(row: Row) -> StoredImage:
    _, name, label, metadata, width, height, size, digest, created = row
    return StoredImage(
        name, label, json.loads(metadata), width, height, size, digest, datetime.fromtimestamp(created, UTC)
    )


def _features(
    width: int, height: int, pooled: bytes, rows: int, columns: int, exponent: int, alpha: bytes | None
) -> StoredFeatures | None:
    if alpha is None:
        return None
    feature_map = expand(HalfMap(rows, columns, exponent, alpha))
    return StoredFeatures(width, height, np.frombuffer(pooled, np.float32), feature_map)


def _head_facts(
    kind: HeadKind, dimensions: int, fingerprint: str, version: int, image_count: int, created: float
) -> HeadFacts:
    return HeadFacts(kind, dimensions, fingerprint, version, image_count, datetime.fromtimestamp(created, UTC))


def _head(kind: HeadKind, dimensions: int, matrix: bytes | None, bias: bytes | None) -> Head:
    weight = _array(matrix)
    return Head(kind, None if weight is None else weight.reshape(dimensions, -1), _array(bias))


def _array(blob: bytes | None) -> Array | None:
    return None if blob is None else np.frombuffer(blob, np.float32)


def _blob(array: Array | None) -> bytes | None:
    return None if array is None else array.tobytes()


def _same_or_error(image_id: int, stored: StoredImage, image: NewImage, digest: str) -> tuple[int, Added] | ImageExists:
    same = {
        "content": stored.content_sha256 == digest,
        "label": stored.label == image.label,
        "metadata": stored.metadata == dict(image.metadata),
    }
    differing = [what for what, is_same in same.items() if not is_same]
    return ImageExists(image.name, differing) if differing else (image_id, Added(stored, unchanged=True))


def _insert_content(
    connection: sqlite3.Connection, image: NewImage, digest: str, feature_map: HalfMap | None
) -> tuple[int | None]:
    features = image.features
    placement = features.placement
    row = connection.execute(
        "INSERT INTO contents (sha256, size_bytes, width_px, height_px, pooled) VALUES (?, ?, ?, ?, ?)",
        (digest, len(image.content), placement.width_px, placement.height_px, features.pooled.tobytes()),
    )
    if feature_map is not None:
        connection.execute(
            "INSERT INTO feature_maps VALUES (?, ?, ?, ?, ?)",
            (row.lastrowid, feature_map.rows, feature_map.columns, feature_map.exponent, feature_map.alpha),
        )
    return (row.lastrowid,)


def _metadata_text(metadata: object) -> str:
    return json.dumps(dict(metadata), sort_keys=True, ensure_ascii=False)  # type: ignore[call-overload]


def _vectors(rows: list[Row]) -> tuple[NDArray[np.int64], Array]:
    ids = np.array([row[0] for row in rows], np.int64)
    vectors = np.frombuffer(b"".join(row[1] for row in rows), np.float32)
    return ids, vectors.reshape(len(rows), -1)
