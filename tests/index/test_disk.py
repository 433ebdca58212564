"""What disks and file systems refuse, and what becomes of it."""

import errno
import os
import resource
import sqlite3
import stat
from contextlib import contextmanager, suppress

import pytest

from whymatch.index import (
    Galleries,
    ReadOnlyStorage,
    StorageFailed,
    StorageFull,
    TooManyFiles,
)
from whymatch.index.disk import disk_errors, sync


@contextmanager
def limit(which: int, soft: int):
    before = resource.getrlimit(which)
    resource.setrlimit(which, (soft, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(which, before)


@contextmanager
def no_file_left():
    files = []
    with limit(resource.RLIMIT_NOFILE, 512):
        try:
            with suppress(OSError):
                while True:
                    files.append(os.open(os.devnull, os.O_RDONLY))
            yield
        finally:
            for file in files:
                os.close(file)


def sqlite_error(code: int) -> sqlite3.Error:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = code
    return error


def test_a_disk_that_fills_at_the_end_is_logged_and_every_gallery_is_closed(tmp_path, model, new_image, caplog):
    galleries = Galleries(tmp_path, model)
    for name in ("a", "b"):
        galleries.create(name).add([new_image(seed) for seed in range(20)])
    with limit(resource.RLIMIT_FSIZE, 8192):
        galleries.close()
    assert [record.exc_info[0] for record in caplog.records] == [StorageFull, StorageFull]
    for name in ("a", "b"):
        left = {path.name for path in (tmp_path / "galleries" / name).iterdir()}
        assert not left & {"adding", "index.tmp", "index.faiss"}
    with Galleries(tmp_path, model) as again:
        assert again.open("b").version.search(new_image(7).features.embedding[None], 1)[0][0].image.name == "7.jpg"


@pytest.mark.parametrize("refusal", ["EINVAL", "ENOTSUP", "EPERM", "EBADF", "EACCES"])
def test_a_folder_that_cannot_be_synced_counts_as_synced(tmp_path, galleries, new_image, monkeypatch, refusal):
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(getattr(errno, refusal), "refused")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    gallery = galleries.create("default")
    gallery.add([new_image(1)])
    assert gallery.get("1.jpg").name == "1.jpg"


def test_a_file_that_cannot_be_synced_is_an_error(tmp_path, monkeypatch):
    def refuse(_: int) -> None:
        raise OSError(errno.EINVAL, "refused")

    monkeypatch.setattr(os, "fsync", refuse)
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="refused"):
        sync(tmp_path / "file")


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ENOSPC, StorageFull),
        (errno.EDQUOT, StorageFull),
        (errno.EFBIG, StorageFull),
        (errno.EROFS, ReadOnlyStorage),
        (errno.EIO, StorageFailed),
        (errno.ESTALE, StorageFailed),
        (errno.EMFILE, TooManyFiles),
        (errno.ENFILE, TooManyFiles),
    ],
)
def test_each_error_of_the_system_has_its_reason(tmp_path, number, expected):
    with pytest.raises(expected, match="gallery 'a'"), disk_errors("gallery 'a'", tmp_path):
        raise OSError(number, os.strerror(number))


@pytest.mark.parametrize("code", [sqlite3.SQLITE_IOERR, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_FSYNC])
def test_an_input_output_error_of_the_database_is_named(tmp_path, code):
    with pytest.raises(StorageFailed, match="disk I/O error"), disk_errors("gallery 'a'", tmp_path):
        raise sqlite_error(code)


@pytest.mark.parametrize("code", [sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_CANTOPEN])
def test_what_the_database_does_not_say_is_tried_out(tmp_path, code):
    with limit(resource.RLIMIT_FSIZE, 8192), pytest.raises(StorageFull), disk_errors("gallery 'a'", tmp_path):
        raise sqlite_error(code)
    with no_file_left(), pytest.raises(TooManyFiles, match="ulimit -n"), disk_errors("gallery 'a'", tmp_path):
        raise sqlite_error(code)


def test_a_database_that_cannot_be_opened_in_a_writable_folder_cannot_be_written(tmp_path):
    with pytest.raises(ReadOnlyStorage), disk_errors("gallery 'a'", tmp_path):
        raise sqlite_error(sqlite3.SQLITE_CANTOPEN)


def test_a_data_directory_that_is_a_file_says_so(tmp_path, model):
    (tmp_path / "data").touch()
    with pytest.raises(ReadOnlyStorage, match="--data"):
        Galleries(tmp_path / "data", model)
