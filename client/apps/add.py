"""`whymatch add`: find the images, send them with a progress bar, and count the outcomes."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from whymatch.client import AlreadyExists, Client, MessageTooLarge, NewImage, NotFound, WhymatchError, results
from whymatch.client.adding import FoundImage
from whymatch.client.apps.plain import Document, record
from whymatch.client.apps.progress import progress_bar
from whymatch.client.inputs import read_file
from whymatch.embed.pictures.folders import LeftOut


class UnusableName(ValueError):
    """The name or label of one file cannot be sent."""


@dataclass(frozen=True)
class Failure:
    """A file that was not added, and why."""

    path: str
    name: str
    reason: str
    message: str


@dataclass
class Summary:
    """The outcomes of all images."""

    gallery: str
    added: int = 0
    """Stored now, including the duplicates."""
    unchanged: int = 0
    """Stored before, with the same name, label and bytes."""
    duplicates: int = 0
    """Stored now, with the bytes of an image that has another name."""
    failures: list[Failure] = field(default_factory=list)
    skipped: dict[str, int] = field(default_factory=dict)
    """How many files of each ending, and which folders of file servers, were found in folders and not tried."""

    def leave_out(self, left_out: LeftOut) -> None:
        """Take over what was left out when images were looked for; what cannot be read has failed."""
        self.skipped = dict(left_out.skipped)
        self.failures += [Failure(path, "", "", reason) for path, reason in left_out.unreadable.items()]

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


def ensure_gallery(client: Client) -> None:
    """Create the client's gallery if it does not exist."""
    try:
        client.get_gallery(client.gallery)
    except NotFound:
        try:
            client.create_gallery(client.gallery)
            print(f"created the gallery {client.gallery!r}", file=sys.stderr)
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


def _content(image: FoundImage) -> bytes:
    """Read a file. Raises OSError, and UnusableName for names that protobuf cannot carry."""
    try:
        (image.name + image.label).encode()
    except UnicodeEncodeError:
        raise UnusableName("the name of the file or its label is not UTF-8; rename it") from None
    if image.path.exists() and not image.path.is_file():  # opening a pipe would wait for its writer
        raise OSError(
            "it is a pipe, a socket or a device, and no file" if not image.path.is_dir() else "it is a folder"
        )
    return read_file(image.path)


def _size_bytes(image: FoundImage) -> int:
    try:
        return image.path.stat().st_size
    except OSError:  # it is gone by now
        return 0
