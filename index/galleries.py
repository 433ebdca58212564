"""The galleries of one data directory."""

import logging
import shutil
import threading
import uuid
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import filelock

from whymatch.embed import Model, WhymatchError
from whymatch.index.disk import disk_errors, sync
from whymatch.index.errors import GalleryExists, StorageInUse, UnknownGallery
from whymatch.index.faiss_index import FaissIndex
from whymatch.index.gallery import Gallery
from whymatch.index.open_files import OpenFiles
from whymatch.index.records import GalleryFacts, check_gallery_name
from whymatch.index.snapshot import Snapshot
from whymatch.index.store import Store

LOGGER = logging.getLogger(__name__)

REMOVED = ".removed-"
NEW = ".new-"


class Galleries:
    """The galleries of one data directory, served by one model; thread-safe.

    Each gallery is a folder: `gallery.sqlite` and `contents/`, the truth, and `index.faiss`, derived from it.
    """

    def __init__(self, path: Path, model: Model) -> None:
        """Open a data directory, made if it is missing, for this process alone.

        Raises:
            ReadOnlyStorage, StorageInUse.
        """
        self._path = path / "galleries"
        self._model = model
        self._opened: dict[str, Gallery] = {}
        self._open_files = OpenFiles()
        self._lock = threading.RLock()
        with disk_errors(f"the data directory {str(path)!r}", path):
            self._path.mkdir(parents=True, exist_ok=True)
            self._file_lock = filelock.FileLock(path / "lock")
            try:
                self._file_lock.acquire(blocking=False)
            except filelock.Timeout as err:
                raise StorageInUse(
                    f"another server uses the data directory {str(path)!r}; stop it or choose another with --data"
                ) from err
        self._remove_leftovers()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Save and close every gallery, and let go of the directory."""
        with self._lock:
            try:
                for gallery in self._opened.values():
                    self._close(gallery)
            finally:
                self._opened.clear()
                self._file_lock.release()

    def _close(self, gallery: Gallery) -> None:
        """Close one gallery; that its index cannot be saved costs time at the next start, nothing else."""
        try:
            gallery.close()
        except Exception:  # whatever it is, the other galleries are closed
            LOGGER.exception("the index of gallery %r is not saved and will be built anew", gallery.name)

    def create(self, name: str, *, index_factory: str = "auto", omit_feature_maps: bool = False) -> Gallery:
        """Make an empty gallery. Raises BadName, GalleryExists, BadIndexFactory, StorageFull."""
        check_gallery_name(name)
        with self._lock:
            if self._folder(name).exists():
                raise GalleryExists(name)
            FaissIndex(self._folder(name) / "index.faiss", self._model.dimensions, index_factory)  # BadIndexFactory
            new = self._path / f"{NEW}{name}"
            with disk_errors(f"gallery {name!r}", self._path):
                shutil.rmtree(new, ignore_errors=True)
                Store.create(new, self._model.fingerprint, index_factory, omit_feature_maps)
                new.rename(self._folder(name))
                sync(self._path)
            return self.open(name)

    def opened(self, name: str) -> Gallery | None:
        """Return a gallery that has been opened already; never waits for the disk."""
        return self._opened.get(name)

    def open(self, name: str) -> Gallery:
        """Return a gallery, opened on first use. Raises BadName, UnknownGallery and the errors of `Gallery`."""
        if gallery := self.opened(name):
            return gallery
        check_gallery_name(name)
        with self._lock:
            if name not in self._opened:
                if not self._folder(name).is_dir():
                    raise UnknownGallery(name)
                self._opened[name] = Gallery(self._folder(name), self._model, self._open_files)
            return self._opened[name]

    def snapshot(self, name: str, at: int | None = None) -> Snapshot:
        """Return a gallery as it was at a generation, as it is without one.

        Raises:
            UnknownGeneration, and the errors of `open`.
        """
        gallery = self.open(name)
        return gallery if at is None else gallery.at(at)

    def describe(self, name: str) -> GalleryFacts:
        """Return what a gallery is; it may be of another model. Raises BadName, UnknownGallery, NewerFormat."""
        check_gallery_name(name)
        if gallery := self.opened(name):
            return gallery.facts()
        with self._lock:
            if not self._folder(name).is_dir():
                raise UnknownGallery(name)
            store = Store(self._folder(name), self._open_files)
            try:
                return store.facts()
            finally:
                store.close()

    def list_galleries(self) -> list[GalleryFacts]:
        """Return what each gallery is, by name; one that cannot be read has no model."""
        names = sorted(folder.name for folder in self._path.iterdir() if not folder.name.startswith("."))
        return [self._describe(name) for name in names]

    def delete(self, name: str) -> None:
        """Delete a gallery and everything in it. Raises BadName, UnknownGallery."""
        check_gallery_name(name)
        if gallery := self.opened(name):
            gallery.discard()  # waits for what changes it, and must not keep the others waiting
        with self._lock:
            if not self._folder(name).is_dir():
                raise UnknownGallery(name)
            self._opened.pop(name, None)
            removed = self._path / f"{REMOVED}{uuid.uuid4().hex}"
            with disk_errors(f"gallery {name!r}", self._path):
                self._folder(name).rename(removed)
                shutil.rmtree(removed)

    def _describe(self, name: str) -> GalleryFacts:
        try:
            return self.describe(name)
        except WhymatchError:
            return GalleryFacts(name, "", "", False, 0, datetime.fromtimestamp(0, UTC))

    def _folder(self, name: str) -> Path:
        return self._path / name

    def _remove_leftovers(self) -> None:
        """Remove what a crash in the middle of `create` or `delete` left."""
        for folder in self._path.iterdir():
            if folder.name.startswith((REMOVED, NEW)):
                shutil.rmtree(folder, ignore_errors=True)
