"""What `whymatch add` does: find the images, send them with a progress bar, and count what became of them."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from whymatch.client import AlreadyExists, Client, MessageTooLarge, NewImage, NotFound, WhymatchError, results
from whymatch.client.apps.plain import Document, record
from whymatch.client.apps.progress import progress_bar

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".avif", ".mpo"}
)
"""What a folder is searched for; a file that is named itself is tried whatever its suffix."""


class UnusablePaths(ValueError):
    """The paths of the command line do not make a list of images with different names."""


class UnusableName(ValueError):
    """The name or label of one file cannot be sent."""


@dataclass(frozen=True)
class FoundImage:
    """A file to add, and what to call it."""

    path: Path
    name: str
    label: str


@dataclass(frozen=True)
class Failure:
    """A file that was not added, and why."""

    path: str
    name: str
    reason: str
    message: str


@dataclass
class Summary:
    """What became of the images."""

    gallery: str
    added: int = 0
    """Stored now, including the duplicates."""
    unchanged: int = 0
    """Stored before, exactly so."""
    duplicates: int = 0
    """Stored now, with the bytes of an image that has another name."""
    failures: list[Failure] = field(default_factory=list)

    def count(self, added: results.Added) -> None:
        """Count one image that is stored."""
        self.unchanged += added.unchanged
        self.added += not added.unchanged
        self.duplicates += bool(added.duplicate_of) and not added.unchanged

    def document(self) -> Document:
        """Return the summary for `--json`."""
        return record(self) | {"failed": len(self.failures)}

    def text(self) -> str:
        """Return the summary as one line."""
        return (
            f"gallery {self.gallery}: {self.added} added ({self.duplicates} of them duplicates of other images), "
            f"{self.unchanged} unchanged, {len(self.failures)} failed"
        )


def find_images(
    paths: Sequence[Path], *, label: str, labels_from_folders: bool, include: str = "*"
) -> list[FoundImage]:
    """Return the images that `paths` name: files as they are, folders with all that is in them, in a fixed order.

    include: only files whose name matches this pattern, for example `train__*`.
    """
    found = [
        FoundImage(file, name, file.absolute().parent.name if labels_from_folders else label)
        for path in paths
        for file, name in _files(path)
        if fnmatchcase(file.name, include)
    ]
    if not found:
        pattern = "" if include == "*" else f" whose name matches {include!r}"
        raise UnusablePaths(f"no images{pattern} in {', '.join(map(str, paths))}")
    _require_different_names(found)
    return found


def ensure_gallery(client: Client) -> None:
    """Make the client's gallery if it is not there."""
    try:
        client.get_gallery(client.gallery)
    except NotFound:
        try:
            client.create_gallery(client.gallery)
            print(f"made the gallery {client.gallery!r}", file=sys.stderr)
        except AlreadyExists:  # somebody else was faster
            pass


def add_images(client: Client, images: Sequence[FoundImage], summary: Summary) -> None:
    """Add `images`, with a progress bar and a line for each failure on stderr; count into `summary`."""
    waiting = {image.name: image for image in images}
    with progress_bar(len(images), "adding") as progress:

        def fail(image: FoundImage, error: Exception) -> None:
            del waiting[image.name]
            reason = error.reason if isinstance(error, WhymatchError) else ""
            summary.failures.append(Failure(str(image.path), image.name, reason, str(error)))
            progress.say(f"{image.path}: {error}")
            progress.advance()

        def read() -> Iterator[NewImage]:
            for image in list(waiting.values()):
                try:
                    content = _content(image)
                except (OSError, UnusableName) as error:
                    fail(image, error)
                else:
                    yield NewImage(content, image.name, image.label)

        while waiting:
            try:
                for added in client.add(read()):
                    if added.error:
                        fail(waiting[added.name], added.error)
                    else:
                        del waiting[added.name]
                        summary.count(added)
                        progress.advance()
            except MessageTooLarge as error:  # it ended the stream; of the rest the largest is surely at fault
                fail(max(list(waiting.values()), key=_size_bytes), error)


def _files(path: Path) -> Iterator[tuple[Path, str]]:
    """Yield the files of `path` with their names in the gallery; a name cannot hold `/`, so `~` stands for it."""
    if not path.is_dir():
        yield path, path.name
        return
    for file in sorted(path.rglob("*")):
        relative = file.relative_to(path)
        hidden = any(part.startswith(".") for part in relative.parts)
        if file.suffix.lower() in SUFFIXES and file.is_file() and not hidden:
            yield file, relative.as_posix().replace("/", "~")


def _content(image: FoundImage) -> bytes:
    """Read a file. Raises OSError, and UnusableName for what protobuf cannot carry."""
    try:
        (image.name + image.label).encode()
    except UnicodeEncodeError:
        raise UnusableName("the name of the file or its label is not UTF-8; rename it") from None
    return image.path.read_bytes()


def _size_bytes(image: FoundImage) -> int:
    return image.path.stat().st_size


def _require_different_names(images: Sequence[FoundImage]) -> None:
    first: dict[str, Path] = {}
    for image in images:
        if image.name in first:
            raise UnusablePaths(
                f"{first[image.name]} and {image.path} would both be stored as {image.name!r}; "
                "add the folder that holds both, or add them to different galleries"
            )
        first[image.name] = image.path
