"""The tables of a gallery's database, and how those of an older format become these."""

import logging
import sqlite3
from pathlib import Path

LOGGER = logging.getLogger(__name__)

FORMAT = 3
LIVE = 2**63 - 1
"""The `until` of what is still so."""
NOW = LIVE - 1
"""Stands for the newest generation, whichever it is."""
CONTENTS = "contents"
DERIVED = "derived"
"""The folder for what others make of the images."""

HEADS = """
CREATE TABLE heads (  -- none, or one at a time
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
GENERATIONS = f"""
ALTER TABLE heads ADD COLUMN since INTEGER NOT NULL DEFAULT 0;
ALTER TABLE heads ADD COLUMN until INTEGER NOT NULL DEFAULT {LIVE};
CREATE TABLE generations (  -- every one that can be asked for, and what made it
    id INTEGER PRIMARY KEY,
    change TEXT NOT NULL,
    create_time REAL NOT NULL
);
CREATE TABLE tags (
    name TEXT PRIMARY KEY,
    generation INTEGER NOT NULL,
    create_time REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE images (  -- a row is an image as it was from one generation, `since`, up to another, `until`
    id INTEGER PRIMARY KEY,
    vector_id INTEGER NOT NULL,  -- what the vector index knows it by, as long as name and bytes are the same
    name TEXT NOT NULL,
    label TEXT NOT NULL,
    metadata TEXT NOT NULL,
    content_id INTEGER NOT NULL REFERENCES contents (id),
    create_time REAL NOT NULL,
    update_time REAL NOT NULL,
    since INTEGER NOT NULL,
    until INTEGER NOT NULL
);
CREATE UNIQUE INDEX images_by_name ON images (name, until);
CREATE INDEX images_by_label ON images (label, until, since, vector_id);
CREATE INDEX images_by_vector ON images (vector_id, until);
CREATE INDEX images_by_content ON images (content_id);
"""
TABLES = f"""
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
{HEADS}
{GENERATIONS}
"""
TO_GENERATIONS = f"""
ALTER TABLE images RENAME TO images_2;
DROP INDEX images_by_label;
DROP INDEX images_by_content;
{GENERATIONS}
INSERT INTO images
    SELECT id, id, name, label, metadata, content_id, create_time, create_time,
           (SELECT value FROM facts WHERE key = 'generation'), {LIVE}
    FROM images_2;
UPDATE heads SET since = (SELECT value FROM facts WHERE key = 'generation');
INSERT INTO generations
    SELECT value, 'migrate', (julianday('now') - 2440587.5) * 86400 FROM facts WHERE key = 'generation';
INSERT INTO facts SELECT 'oldest_generation', value FROM facts WHERE key = 'generation';
INSERT INTO facts SELECT 'last_vector_id', seq FROM sqlite_sequence WHERE name = 'images_2';
INSERT OR IGNORE INTO facts VALUES ('last_vector_id', 0);
DROP TABLE images_2;
"""
MIGRATIONS = {1: HEADS, 2: TO_GENERATIONS}
"""The statements that turn a format into the next one."""


def content_path(folder: Path, digest: str) -> Path:
    """Return where a gallery keeps the image file of a hash: in one of 256 folders."""
    return folder / CONTENTS / digest[:2] / digest


def create_folders(folder: Path) -> None:
    """Make the folders for image files."""
    for number in range(256):
        (folder / CONTENTS / f"{number:02x}").mkdir(parents=True, exist_ok=True)


def migrate(connection: sqlite3.Connection, folder: Path, version: int) -> None:
    """Bring a gallery of an older format to this one, a format at a time; whatever stops it, the next try goes on."""
    LOGGER.info("gallery %r goes from format %d to %d", folder.name, version, FORMAT)
    if version <= 2:
        _spread_contents(folder)
    for step in range(version, FORMAT):
        connection.executescript(f"BEGIN; {MIGRATIONS[step]} PRAGMA user_version = {step + 1}; COMMIT")


def _spread_contents(folder: Path) -> None:
    """Move the image files, which lay in one folder, to where they are looked for, and so what is derived of them."""
    create_folders(folder)
    for path in list((folder / CONTENTS).iterdir()):
        if path.is_file():
            path.rename(content_path(folder, path.name))
    (folder / DERIVED).mkdir(exist_ok=True)
    for path in [*folder.glob("patches-*.npz"), *folder.glob("cells-*.npz"), *folder.glob("units-*.sqlite")]:
        path.rename(folder / DERIVED / path.name)
