"""Changes of the rows of a gallery's images, within one transaction."""

import sqlite3
import time
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from whymatch.embed import WhymatchError
from whymatch.index.errors import ImageExists, UnknownImage
from whymatch.index.half_maps import HalfMap
from whymatch.index.records import (
    Added,
    MetadataValue,
    NewImage,
    StoredImage,
    check_metadata,
    content_digest,
    metadata_text,
)
from whymatch.index.schema import LIVE, content_path
from whymatch.index.stored_images import IMAGE, Row, image_of


class Change(NamedTuple):
    """What a change of images was, for the vector index to follow."""

    results: list[Added | ImageExists]
    """What became of each image."""
    added: dict[int, int]
    """Vector id of the images that are new, by their place in `results`."""
    removed: list[int]
    """Vector ids of the images that are gone."""


@dataclass(frozen=True, eq=False)
class Update:
    """An update that waits for its transaction."""

    name: str
    label: str | None
    metadata: Mapping[str, MetadataValue] | None
    changed: Mapping[str, MetadataValue | None] | None
    result: "Future[StoredImage]"


class Adding(NamedTuple):
    """Adds images within one transaction."""

    folder: Path
    connection: sqlite3.Connection
    generation: int
    change: Change
    written: list[Path]
    """The image files that were written."""

    def add(self, place: int, image: NewImage, feature_map: HalfMap | None) -> Added | ImageExists:
        """Add an image, which is at `place` of those to add, and note what that changes.

        feature_map: None to keep none.
        """
        digest = content_digest(image.content)
        found = find(self.connection, image.name)
        differing = found[1].differing(image.label, image.metadata, digest) if found else []
        if found and not differing:
            return Added(found[1], unchanged=True)
        if found and not image.replace:
            return ImageExists(image.name, differing)
        if found and found[1].content_sha256 == digest:
            self._insert(image, *end_row(self.connection, image.name, self.generation))
            return Added(self._stored(image.name), replaced=True)
        if found:
            vector_id, _, created = end_row(self.connection, image.name, self.generation)
            self._forget(vector_id)
        content_id, duplicate_of = self._content(image, digest, feature_map)
        self.change.added[place] = self._new_vector_id()
        self._insert(image, self.change.added[place], content_id, created if found else time.time())
        return Added(self._stored(image.name), duplicate_of=duplicate_of, replaced=found is not None)

    def _forget(self, vector_id: int) -> None:
        """Note that an image is gone; one that this very change added was never there."""
        for place, added in self.change.added.items():
            if added == vector_id:
                del self.change.added[place]
                return
        self.change.removed.append(vector_id)

    def _content(self, image: NewImage, digest: str, feature_map: HalfMap | None) -> tuple[int, str]:
        """Return the id of the image's bytes, kept if they are new, and the name of an image that has them already."""
        known = self.connection.execute("SELECT id FROM contents WHERE sha256 = ?", (digest,)).fetchone()
        if known is not None:
            query = f"SELECT name FROM images WHERE content_id = ? AND until = {LIVE} ORDER BY vector_id LIMIT 1"
            twin = self.connection.execute(query, known).fetchone()
            return known[0], twin[0] if twin else ""
        self.written.append(content_path(self.folder, digest))
        self.written[-1].write_bytes(image.content)
        return _insert_content(self.connection, image, digest, feature_map), ""

    def _new_vector_id(self) -> int:
        query = "UPDATE facts SET value = value + 1 WHERE key = 'last_vector_id' RETURNING value"
        vector_id: int = self.connection.execute(query).fetchone()[0]
        return vector_id

    def _insert(self, image: NewImage, vector_id: int, content_id: int, created: float) -> None:
        told = (image.name, image.label, metadata_text(image.metadata))
        now = max(created, time.time())
        _insert_image(self.connection, (vector_id, *told, content_id, created, now, self.generation))

    def _stored(self, name: str) -> StoredImage:
        found = find(self.connection, name)
        assert found is not None
        return found[1]


def find(connection: sqlite3.Connection, name: str) -> tuple[int, StoredImage] | None:
    """Return the vector id of an image as it is now, and the image; None if there is none of that name."""
    row = connection.execute(f"{IMAGE} WHERE name = ? AND until = {LIVE}", (name,)).fetchone()
    return (row[0], image_of(row)) if row else None


def update_row(
    update: Update, connection: sqlite3.Connection, generation: int, gallery: str
) -> StoredImage | WhymatchError:
    """Change an image and return it, or why nothing was changed."""
    found = find(connection, update.name)
    if found is None:
        return UnknownImage(update.name, gallery)
    image = found[1]
    label = image.label if update.label is None else update.label
    told = {**(image.metadata if update.metadata is None else update.metadata), **(update.changed or {})}
    metadata = {key: value for key, value in told.items() if value is not None}
    try:
        check_metadata(metadata)
    except WhymatchError as err:
        return err
    if (label, metadata_text(metadata)) == (image.label, metadata_text(image.metadata)):
        return image
    vector_id, content_id, created = end_row(connection, update.name, generation)
    row = (vector_id, update.name, label, metadata_text(metadata), content_id, created, time.time(), generation)
    _insert_image(connection, row)
    after = find(connection, update.name)
    assert after is not None
    return after[1]


def end_row(connection: sqlite3.Connection, name: str, generation: int) -> tuple[int, int, float]:
    """Let an image that is there be there no longer, from a generation on.

    Returns its vector id, the id of its bytes and when it was added.
    """
    query = f"SELECT id, since, vector_id, content_id, create_time FROM images WHERE name = ? AND until = {LIVE}"
    number, since, *ended = connection.execute(query, (name,)).fetchone()
    if since == generation:  # it was there at no generation
        connection.execute("DELETE FROM images WHERE id = ?", (number,))
    else:
        connection.execute("UPDATE images SET until = ? WHERE id = ?", (generation, number))
    return tuple(ended)


def _insert_image(connection: sqlite3.Connection, row: Row) -> None:
    connection.execute(
        "INSERT INTO images (vector_id, name, label, metadata, content_id, create_time, update_time, since, until) "
        f"VALUES (?, ?, ?, ?, ?, ?, ?, ?, {LIVE})",
        row,
    )


def _insert_content(connection: sqlite3.Connection, image: NewImage, digest: str, feature_map: HalfMap | None) -> int:
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
    assert row.lastrowid is not None
    return row.lastrowid


def remove_unused_contents(connection: sqlite3.Connection) -> list[str]:
    """Remove the rows of bytes that no image has, at no generation, and return their hashes."""
    query = "DELETE FROM contents WHERE NOT EXISTS (SELECT * FROM images WHERE content_id = contents.id)"
    return [digest for (digest,) in connection.execute(f"{query} RETURNING sha256").fetchall()]
