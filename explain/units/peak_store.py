"""Peaks on disk, beside the gallery that they are of: derived from its images, and made again where they are gone."""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
    """The file of peaks was damaged."""


class PeakStore:
    """The peaks of one layer over the images of one gallery, by the hash of their files.

    Every change is whole or not there at all; the last ones may be lost when the machine fails, and are made again.
    """

    def __init__(self, connection: sqlite3.Connection, layer_id: int) -> None:
        self._connection = connection
        self._layer_id = layer_id

    def known(self) -> set[str]:
        """Return the images whose peaks are kept."""
        rows = self._connection.execute("SELECT sha256 FROM peaks WHERE layer_id = ?", (self._layer_id,))
        return {digest for (digest,) in rows}

    def add(self, peaks: Mapping[str, Peaks]) -> None:
        """Keep the peaks of images."""
        rows = [
            (self._layer_id, digest, one.values.tobytes(), one.cells.tobytes(), one.sample.tobytes())
            for digest, one in peaks.items()
        ]
        with self._connection:
            self._connection.executemany("INSERT OR REPLACE INTO peaks VALUES (?, ?, ?, ?, ?)", rows)

    def forget(self, digests: Iterable[str]) -> None:
        """Drop the peaks of images that are no longer there."""
        rows = [(self._layer_id, digest) for digest in digests]
        with self._connection:
            self._connection.executemany("DELETE FROM peaks WHERE layer_id = ? AND sha256 = ?", rows)

    def peaks(self, digests: Sequence[str]) -> tuple[Array, Cells]:
        """Return the largest responses (n, C) and their cells (n, C, 2) of images whose peaks are kept, in order."""
        found = self._columns(digests, "response, cells")
        responses = np.stack([np.frombuffer(response, np.float32) for response, _ in found])
        return responses, np.stack([np.frombuffer(cells, np.uint16).reshape(-1, 2) for _, cells in found])

    def samples(self, digests: Sequence[str]) -> Array:
        """Return responses at random cells (n * SAMPLE, C) of images whose peaks are kept."""
        found = self._columns(digests, "sample")
        return np.concatenate([np.frombuffer(sample, np.float32).reshape(SAMPLE, -1) for (sample,) in found])

    def _columns(self, digests: Sequence[str], columns: str) -> list[tuple[bytes, ...]]:
        rows = self._connection.execute(
            f"SELECT sha256, {columns} FROM peaks WHERE layer_id = ? AND sha256 IN (SELECT value FROM json_each(?))",
            (self._layer_id, json.dumps(list(digests))),
        )
        found = {digest: values for digest, *values in rows}
        return [tuple(found[digest]) for digest in digests]


@contextmanager
def peak_store(path: Path, identity: str) -> Iterator[PeakStore]:
    """Open the peaks of a layer, made if they are missing; a file that turns out damaged is removed.

    identity: of the layer, whatever its responses depend on.

    Raises:
        DamagedPeaks: the next try begins anew.
        StorageFull, ReadOnlyStorage: the file cannot be written.
    """
    try:
        with disk_errors(f"the peaks of units, {path.name},"), closing(_connect(path)) as connection:
            with connection:
                connection.execute("INSERT OR IGNORE INTO layers (identity) VALUES (?)", (identity,))
            [layer_id] = connection.execute("SELECT id FROM layers WHERE identity = ?", (identity,)).fetchone()
            yield PeakStore(connection, layer_id)
    except BrokenGallery as err:
        for suffix in ("", "-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        raise DamagedPeaks(f"{path.name} was damaged and is removed") from err


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, check_same_thread=False)
    connection.execute("PRAGMA page_size = 32768")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.executescript(SCHEMA)
    return connection
