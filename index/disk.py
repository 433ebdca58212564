"""Turns what disks and SQLite report into errors that say what to do."""

import errno
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from whymatch.embed import WhymatchError
from whymatch.index.errors import (
    BrokenGallery,
    ReadOnlyStorage,
    StorageFailed,
    StorageFull,
    StorageInUse,
    TooManyFiles,
)

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST)
_TOO_MANY = (errno.EMFILE, errno.ENFILE)
_NO_SUCH_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, *_READ_ONLY, errno.EBADF)
"""What file systems say that cannot sync a folder: SMB, VirtualBox and WSL mounts, and some FUSE ones."""
_PROBE_BYTES = 64 * 1024
_PROBE_FILES = 4
"""SQLite opens a database, its log and their index together."""


@contextmanager
def disk_errors(what: str, folder: Path) -> Iterator[None]:
    """Raise errors of the disk under `what`, in `folder`, as one of this package's."""
    try:
        yield
    except OSError as err:
        raise _from_os(err, what) from err
    except sqlite3.Error as err:
        raise _from_sqlite(err, what, folder) from err


def not_written(err: Exception, what: str, folder: Path) -> WhymatchError:
    """Return the error for a file in `folder` that a library could not write, and did not say why."""
    return _probed(what, folder) or _failed(what, err)


def sync(path: Path) -> None:
    """Wait until a file or folder is on disk; many files are faster written first and synced afterwards.

    A folder that its file system cannot sync counts as synced: there is no more that a program can do.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as err:
        if err.errno not in _NO_SUCH_SYNC or not path.is_dir():
            raise


def _from_os(err: OSError, what: str) -> WhymatchError:
    if err.errno in _FULL:
        return _full(what)
    if err.errno in _READ_ONLY:
        return _read_only(what)
    if err.errno in _TOO_MANY:
        return TooManyFiles(what)
    return _failed(what, err)


def _from_sqlite(err: sqlite3.Error, what: str, folder: Path) -> Exception:
    primary = getattr(err, "sqlite_errorcode", 0) & 0xFF
    if primary in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_PERM):  # for many reasons
        otherwise = _failed(what, err) if primary == sqlite3.SQLITE_IOERR else _read_only(what)
        return _probed(what, folder) or otherwise
    if primary == sqlite3.SQLITE_ERROR and str(err).startswith("no such "):  # table or column
        return _broken(what)
    known: dict[int, WhymatchError] = {
        sqlite3.SQLITE_FULL: _full(what),
        sqlite3.SQLITE_READONLY: _read_only(what),
        sqlite3.SQLITE_BUSY: StorageInUse(f"{what} is in use by another program; stop it first"),
        sqlite3.SQLITE_PROTOCOL: _failed(what, err),
        sqlite3.SQLITE_NOLFS: _failed(what, err),
        sqlite3.SQLITE_CORRUPT: _broken(what),
        sqlite3.SQLITE_NOTADB: _broken(what),
    }
    return known.get(primary, err)


def _probed(what: str, folder: Path) -> WhymatchError | None:
    """Write a few files and remove them; return the error that this meets."""
    try:
        with ExitStack() as files:
            for _ in range(_PROBE_FILES):
                file = files.enter_context(tempfile.TemporaryFile(dir=folder))
            file.write(bytes(_PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as err:
        return _from_os(err, what)
    return None


def _full(what: str) -> StorageFull:
    return StorageFull(f"the disk is full under {what}; nothing of this was kept: free some space and try again")


def _read_only(what: str) -> ReadOnlyStorage:
    return ReadOnlyStorage(f"{what} cannot be written; give the server a directory of its own with --data")


def _failed(what: str, err: Exception) -> StorageFailed:
    why = (err.strerror if isinstance(err, OSError) else None) or str(err) or type(err).__name__
    return StorageFailed(f"the disk under {what} fails ({why}); check the disk and its mount, then try again")


def _broken(what: str) -> BrokenGallery:
    return BrokenGallery(f"the database of {what} is damaged; restore it from a backup, or delete it and add again")
