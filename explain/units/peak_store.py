"""Peaks on disk, beside the gallery that they are of: derived from its images, and made again where they are gone."""

import json
import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np

from whymatch.embed import Array
from whymatch.explain.units.peaks import SAMPLE, Cells, Peaks
from whymatch.index import BrokenGallery
from whymatch.index.disk import disk_errors

FILE = "units-1.sqlite"  # the number counts the formats; an older file is left alone and goes with its gallery
SCHEMA = """
CREATE TABLE IF NOT EXISTS layers (id INTEGER PRIMARY KEY, identity TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS peaks (
    layer_id INTEGER NOT NULL REFERENCES layers (id),
    sha256 TEXT NOT NULL,  -- of the image file
    response BLOB NOT NULL,  -- float32 (C,)
    cells BLOB NOT NULL,  -- uint16 (C, 2)
    sample BLOB NOT NULL,  -- float32 (SAMPLE, C)
    UNIQUE (layer_id, sha256)
);
"""


class DamagedPeaks(Exception):
    """The file of peaks was damaged, and is removed; it can be made again."""


class PeakStore:
    """The peaks of one layer over the images of one gallery, by the hash of their files.

    Every change is whole or not there at all; the last ones may be lost when the machine fails, and are made again.
    All methods raise DamagedPeaks, StorageFull and ReadOnlyStorage.
    """

    def __init__(self, path: Path, identity: str, channels: int) -> None:
        """Open the file, made if it is missing."""
        self._path = path
        self._channels = channels
        with self._errors():
            self._connection = _connect(path)
            with self._connection:
                self._connection.execute("INSERT OR IGNORE INTO layers (identity) VALUES (?)", (identity,))
            query = "SELECT id FROM layers WHERE identity = ?"
            [self._layer_id] = self._connection.execute(query, (identity,)).fetchone()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def known(self) -> set[str]:
        """Return the images whose peaks are kept."""
        with self._errors():
            rows = self._connection.execute("SELECT sha256 FROM peaks WHERE layer_id = ?", (self._layer_id,))
            return {digest for (digest,) in rows}

    def add(self, peaks: Mapping[str, Peaks]) -> None:
        """Keep the peaks of images."""
        rows = [
            (self._layer_id, digest, one.values.tobytes(), one.cells.tobytes(), one.sample.tobytes())
            for digest, one in peaks.items()
        ]
        with self._errors(), self._connection:
            self._connection.executemany("INSERT OR REPLACE INTO peaks VALUES (?, ?, ?, ?, ?)", rows)

    def keep_only(self, digests: Collection[str]) -> None:
        """Drop the peaks of all other images, of any layer."""
        with self._errors(), self._connection:
            kept = {digest for (digest,) in self._connection.execute("SELECT DISTINCT sha256 FROM peaks")}
            gone = [(digest,) for digest in kept.difference(digests)]
            self._connection.executemany("DELETE FROM peaks WHERE sha256 = ?", gone)

    def peaks(self, digests: Sequence[str]) -> tuple[Array, Cells]:
        """Return the largest responses (n, C) and their cells (n, C, 2) of images whose peaks are kept, in order."""
        with self._errors():
            found = self._columns(digests, "response, cells")
            responses = b"".join(response for response, _ in found)
            cells = b"".join(cells for _, cells in found)
            shape = len(found), self._channels
            return (
                np.frombuffer(responses, np.float32).reshape(shape),
                np.frombuffer(cells, np.uint16).reshape(*shape, 2),
            )

    def samples(self, digests: Sequence[str]) -> Array:
        """Return responses at random cells (n * SAMPLE, C) of images whose peaks are kept."""
        with self._errors():
            drawn = b"".join(sample for (sample,) in self._columns(digests, "sample"))
            return np.frombuffer(drawn, np.float32).reshape(len(digests) * SAMPLE, self._channels)

    def _columns(self, digests: Sequence[str], columns: str) -> list[tuple[bytes, ...]]:
        rows = self._connection.execute(
            f"SELECT sha256, {columns} FROM peaks WHERE layer_id = ? AND sha256 IN (SELECT value FROM json_each(?))",
            (self._layer_id, json.dumps(list(digests))),
        )
        found = {digest: values for digest, *values in rows}
        return [tuple(found[digest]) for digest in digests]

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Remove the file if it turns out damaged: not what SQLite can read, or not what was written."""
        try:
            with disk_errors("the peaks of units", self._path.parent):
                yield
        except (BrokenGallery, sqlite3.Error, ValueError, KeyError) as err:
            for suffix in ("", "-wal", "-shm"):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
            raise DamagedPeaks(f"the peaks of units in {self._path.name} were damaged and are removed") from err


def peak_store(path: Path, identity: str, channels: int) -> "closing[PeakStore]":
    """Open the peaks of a layer for a `with` block.

    identity: of the layer, whatever its responses depend on. channels: how many units it has.
    """
    return closing(PeakStore(path, identity, channels))


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, check_same_thread=False)
    connection.execute("PRAGMA page_size = 32768")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.executescript(SCHEMA)
    return connection
