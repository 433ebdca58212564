"""Turns what disks and SQLite report into errors that say what to do."""

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from whymatch.embed import WhymatchError
from whymatch.index.errors import BrokenGallery, ReadOnlyStorage, StorageFull, StorageInUse

_FULL = (errno.ENOSPC, errno.EDQUOT)
_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


@contextmanager
def disk_errors(what: str) -> Iterator[None]:
    """Raise errors of the disk under `what` as StorageFull, ReadOnlyStorage, StorageInUse or BrokenGallery."""
    try:
        yield
    except OSError as err:
        raise _from_os(err, what) from err
    except sqlite3.Error as err:
        raise _from_sqlite(err, what) from err


def _from_os(err: OSError, what: str) -> Exception:
    if err.errno in _FULL:
        return _full(what)
    if err.errno in _READ_ONLY:
        return _read_only(what)
    return err


def _from_sqlite(err: sqlite3.Error, what: str) -> Exception:
    primary = getattr(err, "sqlite_errorcode", 0) & 0xFF
    known: dict[int, WhymatchError] = {
        sqlite3.SQLITE_FULL: _full(what),
        sqlite3.SQLITE_READONLY: _read_only(what),
        sqlite3.SQLITE_CANTOPEN: _read_only(what),
        sqlite3.SQLITE_PERM: _read_only(what),
        sqlite3.SQLITE_BUSY: StorageInUse(f"{what} is in use by another program; stop it first"),
        sqlite3.SQLITE_CORRUPT: _broken(what),
        sqlite3.SQLITE_NOTADB: _broken(what),
    }
    return known.get(primary, err)


def _full(what: str) -> StorageFull:
    return StorageFull(f"the disk is full under {what}; nothing of this was kept: free some space and try again")


def _read_only(what: str) -> ReadOnlyStorage:
    return ReadOnlyStorage(f"{what} cannot be written; give the server a directory of its own with --data")


def _broken(what: str) -> BrokenGallery:
    return BrokenGallery(f"the database of {what} is damaged; restore it from a backup, or delete it and add again")
