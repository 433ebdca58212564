"""The truth about one gallery: a SQLite database of rows, vectors and feature maps, and the image files beside it."""

import json
import shutil
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from whymatch.embed import NO_HEAD, Array, Head, HeadKind, WhymatchError
from whymatch.index.disk import disk_errors, sync
from whymatch.index.errors import (
    BrokenGallery,
    NewerFormat,
    TagExists,
    TaggedGeneration,
    UnknownGallery,
    UnknownGeneration,
    UnknownImage,
    UnknownTag,
)
from whymatch.index.half_maps import HalfMap
from whymatch.index.open_files import OpenFiles
from whymatch.index.records import (
    GalleryFacts,
    Generation,
    HeadFacts,
    MetadataValue,
    NewImage,
    StoredImage,
)
from whymatch.index.row_changes import Adding, Change, Update, end_row, find, remove_unused_contents, update_row
from whymatch.index.schema import CONTENTS, DERIVED, FORMAT, LIVE, NOW, TABLES, content_path, create_folders, migrate
from whymatch.index.stored_images import (
    VECTORS_AT_A_TIME,
    Ids,
    Row,
    StoredFeatures,
    StoredImages,
    Where,
    features_of,
    vectors_of,
)

DATABASE = "gallery.sqlite"
CHANGING = "adding"
"""An empty file, there from the first image file that is written or removed until the store is closed."""
READ_CACHE_KIB = 32 * 1024
"""Of each open gallery, until it changes: the feature maps of a hundred images, so that the next region is quick."""


class Store:
    """One gallery's rows and files; thread-safe.

    Every change is one transaction, on disk when the method returns, and makes a generation. What it ends stays until
    it is purged, so that `images` can tell how every generation was. Image files are written before the transaction
    that refers to them, and removed after the one that gives them up: a crash can leave a file too many, never one too
    few; the next start removes those.
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
        self._updates: deque[Update] = deque()
        self._writer_or_none: sqlite3.Connection | None = None
        self._reader_or_none: sqlite3.Connection | None = None
        self._closed = False
        try:
            with disk_errors(self._name, self.folder):
                self._check_format()
                query = f"SELECT count(*) FROM images WHERE until = {LIVE}"
                self._count: int = self._reader.execute(query).fetchone()[0]
                known: dict[str, Any] = dict(self._reader.execute("SELECT key, value FROM facts"))
                self._generation: int = known.get("generation", 0)  # `facts` tells of a gallery that lacks it
                self.create_time = datetime.fromtimestamp(known.get("create_time", 0), UTC)
                if (folder / CHANGING).exists():
                    self._sweep()
        except BaseException:
            self._files.closed(self)
            self._disconnect()
            raise
        self._files.used(self)

    @staticmethod
    def create(folder: Path, model: str, index_factory: str, omit_feature_maps: bool) -> None:
        """Make an empty gallery in a new folder."""
        now = time.time()
        facts = {
            "model": model,
            "index_factory": index_factory,
            "omit_feature_maps": int(omit_feature_maps),
            "create_time": now,
            "generation": 0,
            "oldest_generation": 0,
            "last_vector_id": 0,
        }
        with disk_errors(f"gallery {folder.name!r}", folder):
            create_folders(folder)
            with closing(_connect(folder)) as connection:
                connection.executescript(f"BEGIN; {TABLES}")
                connection.executemany("INSERT INTO facts VALUES (?, ?)", facts.items())
                connection.execute("INSERT INTO generations VALUES (0, 'create', ?)", (now,))
                connection.execute(f"PRAGMA user_version = {FORMAT}")
                connection.execute("COMMIT")

    def close(self) -> None:
        """Close the database; what was acknowledged is on disk already."""
        with self._writing, self._reading, disk_errors(self._name, self.folder):
            self._closed = True
            self._files.closed(self)
            self._disconnect()
            (self.folder / CHANGING).unlink(missing_ok=True)

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

    # What the gallery is.

    def facts(self, at: int = NOW) -> GalleryFacts:
        """Return what the gallery is, or was at a generation."""
        facts: dict[str, Any] = dict(self.read("SELECT key, value FROM facts"))
        try:
            return GalleryFacts(
                self.folder.name,
                facts["model"],
                facts["index_factory"],
                bool(facts["omit_feature_maps"]),
                self.images(at).count(),
                datetime.fromtimestamp(facts["create_time"], UTC),
                self._head_facts(at),
                min(at, facts["generation"]),
                facts["oldest_generation"],
            )
        except KeyError as err:
            raise BrokenGallery(f"{self._name} lacks its {err.args[0]}; restore or delete it") from err

    def _head_facts(self, at: int) -> HeadFacts | None:
        columns = "kind, dimensions, fingerprint, version, image_count, create_time"
        rows = self.read(f"SELECT {columns} FROM heads WHERE since <= ? AND until > ?", (at, at))
        return _head_facts(*rows[0]) if rows else None

    def head(self, at: int = NOW) -> Head:
        """Return the head of the gallery, as it is or was at a generation."""
        query = "SELECT kind, dimensions, matrix, bias FROM heads WHERE since <= ? AND until > ?"
        rows = self.read(query, (at, at))
        return _head(*rows[0]) if rows else NO_HEAD

    def images(self, at: int = NOW) -> StoredImages:
        """Return the images as they are, or were at a generation."""
        return StoredImages(self, at)

    def count(self) -> int:
        """Return how many images there are."""
        return self._count

    def generation(self) -> int:
        """Return a number that grows with every change; never waits for the disk."""
        return self._generation

    def check_generation(self, generation: int) -> None:
        """Raise UnknownGeneration unless the gallery has that generation and keeps it."""
        oldest, newest = self._fact("oldest_generation"), self.generation()
        if not oldest <= generation <= newest:
            raise UnknownGeneration(self.folder.name, generation, oldest, newest)

    def generations(self, before: int, limit: int) -> list[Generation]:
        """Return the generations that are kept, newest first, those below `before`."""
        query = """SELECT id, change, create_time,
                          (SELECT json_group_array(name) FROM tags WHERE generation = id)
                   FROM generations WHERE id < ? ORDER BY id DESC LIMIT ?"""
        return [
            Generation(number, change, datetime.fromtimestamp(created, UTC), tuple(json.loads(tags)))
            for number, change, created, tags in self.read(query, (before, limit))
        ]

    def tagged(self, name: str) -> int:
        """Return the generation of a tag. Raises UnknownTag."""
        rows = self.read("SELECT generation FROM tags WHERE name = ?", (name,))
        if not rows:
            raise UnknownTag(name)
        generation: int = rows[0][0]
        return generation

    # Changes.

    def add(self, images: Sequence[NewImage], feature_maps: Sequence[HalfMap | None]) -> Change:
        """Add images in one transaction; each becomes what became of it, or its own error.

        feature_maps: for each image its feature map, or None to keep none.

        Raises:
            StorageFull, ReadOnlyStorage, BrokenGallery: nothing was added.
        """
        written: list[Path] = []
        change = Change([], {}, [])
        with self._changing():
            (self.folder / CHANGING).touch()
            try:
                with self._transaction("add") as (connection, generation):
                    for place, (image, feature_map) in enumerate(zip(images, feature_maps, strict=True)):
                        adding = Adding(self.folder, connection, generation, change, written)
                        change.results.append(adding.add(place, image, feature_map))
                    for path in (*written, *{path.parent for path in written}):
                        sync(path)
            except BaseException:
                for path in written:
                    path.unlink(missing_ok=True)
                raise
            self._count += len(change.added) - len(change.removed)
        return change

    def update(
        self,
        name: str,
        label: str | None = None,
        metadata: Mapping[str, MetadataValue] | None = None,
        changed: Mapping[str, MetadataValue | None] | None = None,
    ) -> StoredImage:
        """Change the label of an image, all its metadata, or some; what is None stays.

        Updates that wait at the same time are one transaction, and make one generation.

        changed: values by their key, None for those that go.
        Raises UnknownImage, and BadRequest where it comes to too much metadata.
        """
        asked = Update(name, label, metadata, changed, Future())
        self._updates.append(asked)
        try:
            with self._changing():
                if not asked.result.done():  # else another thread has committed it with its own
                    self._commit_updates()
                return asked.result.result()
        finally:
            with suppress(ValueError):
                self._updates.remove(asked)

    def _commit_updates(self) -> None:
        """Make all updates that wait in one transaction: what takes long is to wait for the disk."""
        updates = [self._updates.popleft() for _ in range(len(self._updates))]
        outcomes: list[StoredImage | WhymatchError] = []
        try:
            with self._transaction("update") as (connection, generation):
                outcomes.extend(update_row(update, connection, generation, self.folder.name) for update in updates)
        except BaseException as err:
            for update in updates:
                update.result.set_exception(err)
            return
        for update, outcome in zip(updates, outcomes, strict=True):
            if isinstance(outcome, WhymatchError):
                update.result.set_exception(outcome)
            else:
                update.result.set_result(outcome)

    def delete(self, names: Sequence[str]) -> list[int]:
        """Delete images and return their vector ids. Raises UnknownImage: nothing was deleted."""
        with self._changing():
            with self._transaction("delete") as (connection, generation):
                for name in names:
                    if find(connection, name) is None:
                        raise UnknownImage(name, self.folder.name)
                ids = [end_row(connection, name, generation)[0] for name in dict.fromkeys(names)]
            self._count -= len(ids)
        return ids

    def delete_where(self, where: Where) -> list[int]:
        """Delete the images that meet a condition, and return their vector ids."""
        with self._changing():
            with self._transaction("delete") as (connection, generation):
                query = f"SELECT name FROM {where.tables} WHERE until = {LIVE} AND ({where.condition})"
                names = connection.execute(query, where.values).fetchall()
                ids = [end_row(connection, name, generation)[0] for (name,) in names]
            self._count -= len(ids)
        return ids

    def erase(self, names: Sequence[str]) -> tuple[list[str], list[int]]:
        """Remove images for good: their bytes under every name, in every generation, and all rows of these names.

        Returns the names that are gone, and the vector ids of those that were still there. Raises UnknownImage:
        nothing was erased.
        """
        with self._changing():
            (self.folder / CHANGING).touch()
            with self._transaction("erase") as (connection, _):
                for name in names:
                    if not connection.execute("SELECT * FROM images WHERE name = ? LIMIT 1", (name,)).fetchone():
                        raise UnknownImage(name, self.folder.name)
                gone = connection.execute(
                    """DELETE FROM images WHERE name IN (SELECT value FROM json_each(?1)) OR content_id IN
                       (SELECT content_id FROM images WHERE name IN (SELECT value FROM json_each(?1)))
                       RETURNING name, vector_id, until""",
                    (json.dumps(list(names)),),
                ).fetchall()
                unused = remove_unused_contents(connection)
            ids = sorted(vector_id for _, vector_id, until in gone if until == LIVE)
            self._count -= len(ids)
            self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._unlink(unused)
        return sorted({name for name, _, _ in gone}), ids

    def purge(self, before: int) -> int:
        """Forget the generations before one, and return how many image files went with them.

        Raises:
            UnknownGeneration, TaggedGeneration.
        """
        self.check_generation(before)
        with self._changing():
            (self.folder / CHANGING).touch()
            with self._transaction("") as (connection, _):
                for name, generation in connection.execute(
                    "SELECT name, generation FROM tags WHERE generation < ? ORDER BY generation", (before,)
                ):
                    raise TaggedGeneration(name, generation)
                connection.execute("DELETE FROM images WHERE until <= ?", (before,))
                connection.execute("DELETE FROM heads WHERE until <= ?", (before,))
                connection.execute("DELETE FROM generations WHERE id < ?", (before,))
                connection.execute("UPDATE facts SET value = ? WHERE key = 'oldest_generation'", (before,))
                unused = remove_unused_contents(connection)
            self._unlink(unused)
        return len(unused)

    def set_tag(self, name: str, generation: int) -> None:
        """Name a generation. Raises UnknownGeneration, TagExists."""
        self.check_generation(generation)
        with self._changing(), self._transaction("") as (connection, _):
            for (named,) in connection.execute("SELECT generation FROM tags WHERE name = ?", (name,)):
                if named != generation:
                    raise TagExists(name, named)
            connection.execute("INSERT OR IGNORE INTO tags VALUES (?, ?, ?)", (name, generation, time.time()))

    def remove_tag(self, name: str) -> None:
        """Take a name off its generation. Raises UnknownTag."""
        with self._changing(), self._transaction("") as (connection, _):
            if not connection.execute("DELETE FROM tags WHERE name = ?", (name,)).rowcount:
                raise UnknownTag(name)

    def set_head(self, head: Head, dimensions: int, fingerprint: str, image_count: int) -> int:
        """Keep a head in place of the one before; return its version, 0 for none.

        fingerprint: of what makes the embeddings now. image_count: how many images the head was fitted to.
        """
        with self._changing(), self._transaction("head") as (connection, generation):
            connection.execute(f"UPDATE heads SET until = ? WHERE until = {LIVE}", (generation,))
            if head.kind == "none":
                return 0
            facts = (head.kind, dimensions, fingerprint, image_count, time.time())
            row = connection.execute(
                "INSERT INTO heads (kind, dimensions, fingerprint, image_count, create_time, matrix, bias, since, "
                "until) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*facts, _blob(head.matrix), _blob(head.bias), generation, LIVE),
            )
            assert row.lastrowid is not None
            return row.lastrowid

    def _sweep(self) -> None:
        """Remove image files that a crash left without a row."""
        with self._changing():
            known = {digest for (digest,) in self._writer.execute("SELECT sha256 FROM contents")}
            for path in (self.folder / CONTENTS).glob("??/*"):
                if path.name not in known:
                    path.unlink()

    # What is kept, whatever images have it.

    def kept_vectors(self, after: int) -> Iterator[tuple[Ids, Array]]:
        """Return vector ids (n) and pooled vectors (n, C) of all images at all generations, those above `after`."""
        query = """SELECT DISTINCT vector_id, pooled FROM images JOIN contents ON contents.id = content_id
                   WHERE vector_id > ? ORDER BY vector_id LIMIT ?"""
        while rows := self.read(query, (after, VECTORS_AT_A_TIME)):
            yield vectors_of(rows)
            after = rows[-1][0]

    def content_by_hash(self, digest: str) -> bytes | None:
        """Return the bytes of an image by the hash of its file, None if it is gone."""
        with disk_errors(self._name, self.folder):
            try:
                return content_path(self.folder, digest).read_bytes()
            except FileNotFoundError:
                return None

    def features_by_hash(self, digest: str) -> StoredFeatures | None:
        """Return the features of an image by the hash of its file, None if it is gone or its feature map not kept."""
        query = """SELECT width_px, height_px, pooled, rows, columns, exponent, alpha
                   FROM contents JOIN feature_maps ON feature_maps.content_id = contents.id WHERE sha256 = ?"""
        rows = self.read(query, (digest,))
        return features_of(*rows[0]) if rows else None

    # Plumbing.

    def read(self, query: str, values: Sequence[object] = ()) -> list[Row]:
        """Return the rows of a query."""
        return list(self.rows(query, values))

    def rows(self, query: str, values: Sequence[object] = ()) -> Generator[Row, None, None]:
        """Yield rows, to be read to the end or closed: no other thread reads meanwhile."""
        with self._reading, disk_errors(self._name, self.folder):
            self._require_open()
            self._files.used(self)
            yield from self._reader.execute(query, values)

    def _fact(self, key: str) -> int:
        fact: int = self.read("SELECT value FROM facts WHERE key = ?", (key,))[0][0]
        return fact

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
        if version < FORMAT:
            migrate(self._writer, self.folder, version)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with self._writing, disk_errors(self._name, self.folder):
            self._require_open()
            self._files.used(self)
            yield

    @contextmanager
    def _transaction(self, change: str) -> Iterator[tuple[sqlite3.Connection, int]]:
        """Yield the connection and the generation that this makes, if something changes; none if `change` is empty."""
        connection = self._writer
        connection.execute("BEGIN IMMEDIATE")
        try:
            (newest,) = connection.execute("SELECT value FROM facts WHERE key = 'generation'").fetchone()
            before = connection.total_changes
            yield connection, newest + 1
            changed = change and connection.total_changes > before
            if changed:
                connection.execute("INSERT INTO generations VALUES (?, ?, ?)", (newest + 1, change, time.time()))
                connection.execute("UPDATE facts SET value = ? WHERE key = 'generation'", (newest + 1,))
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        if changed:
            self._generation = newest + 1

    def remove_derived(self) -> None:
        """Remove all files that were made of the images; they are made again when they are needed."""
        with disk_errors(self._name, self.folder):
            shutil.rmtree(self.folder / DERIVED, ignore_errors=True)

    def _unlink(self, digests: Iterable[str]) -> None:
        for digest in digests:
            content_path(self.folder, digest).unlink(missing_ok=True)

    def _require_open(self) -> None:
        if self._closed:
            raise UnknownGallery(self.folder.name)


def _connect(folder: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(folder / DATABASE, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA page_size = 32768")  # halves the work of writing feature maps
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA secure_delete = ON")  # what is erased is overwritten
    except BaseException:
        connection.close()
        raise
    return connection


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
