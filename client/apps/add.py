"""`whymatch add`: find the images, send them with a progress bar, and count the outcomes."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from whymatch.client import AlreadyExists, Client, MessageTooLarge, NewImage, NotFound, WhymatchError, results
from whymatch.client.adding import FoundImage
from whymatch.client.apps.plain import Document, record
from whymatch.client.apps.progress import ProgressBar, progress_bar
from whymatch.client.apps.talk import note
from whymatch.client.inputs import metadata_values, read_file, require_text
from whymatch.embed.pictures.folders import LeftOut

TAKEN = "IMAGE_EXISTS"
"""The reason of an image whose name the gallery has already, with another content, label or metadata."""


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
    rows_without_file: int = 0
    """Of a table of labels."""
    files_without_row: int = 0
    """Added as they are."""
    replaced: int = 0
    """Of those stored now: in place of another image of the name, or of the same with another label or metadata."""

    def leave_out(self, left_out: LeftOut) -> None:
        """Take over what was left out when images were looked for; what cannot be read has failed."""
        self.skipped = dict(left_out.skipped)
        self.failures += [Failure(path, "", "", reason) for path, reason in left_out.unreadable.items()]

    def count(self, added: results.Added) -> None:
        """Count one image that is stored."""
        self.unchanged += added.unchanged
        self.added += not added.unchanged
        self.duplicates += bool(added.duplicate_of) and not added.unchanged
        self.replaced += added.replaced

    def fail(self, image: FoundImage, error: Exception) -> Failure:
        """Take over one image that was not added."""
        reason = error.reason if isinstance(error, WhymatchError) else ""
        self.failures.append(Failure(str(image.path), image.name, reason, str(error)))
        return self.failures[-1]

    def document(self) -> Document:
        """Return the summary for `--json`."""
        return record(self) | {"failed": len(self.failures)}

    def text(self) -> str:
        """Return the summary as one line."""
        replaced = f", {self.replaced} in place of what had their names" if self.replaced else ""
        return (
            f"gallery {self.gallery}: {self.added} added ({self.duplicates} of them duplicates of other "
            f"images{replaced}), "
            f"{self.unchanged} unchanged, {len(self.failures)} failed"
        )


def ensure_gallery(client: Client) -> None:
    """Create the client's gallery if it does not exist."""
    try:
        client.get_gallery(client.gallery)
    except NotFound:
        try:
            client.create_gallery(client.gallery)
            note(f"created the gallery {client.gallery!r}")
        except AlreadyExists:  # somebody else was faster
            pass


def add_images(client: Client, images: Sequence[FoundImage], summary: Summary, *, replace: bool = False) -> None:
    """Add `images`, with a progress bar and a line for each failure on stderr; count into `summary`.

    replace: they take the place of other images of their names.
    Images whose name the gallery has already, with another content, label or metadata, share one line at the end.
    """
    with progress_bar(len(images), "adding") as progress:
        _send(client, images, summary, progress, replace)
        names = {failure.name for failure in summary.failures if failure.reason == TAKEN}
        if names:
            progress.say(_what_differs(client, [image for image in images if image.name in names]))


def _send(client: Client, images: Sequence[FoundImage], summary: Summary, progress: ProgressBar, replace: bool) -> None:
    waiting = {image.name: image for image in images}

    def fail(image: FoundImage, error: Exception) -> None:
        del waiting[image.name]
        _show(summary.fail(image, error), progress)

    def read() -> Iterator[NewImage]:
        for image in list(waiting.values()):
            try:
                content = _content(image)
            except (OSError, ValueError) as error:
                fail(image, error)
            else:
                yield NewImage(content, image.name, image.label, image.metadata)

    while waiting:
        try:
            for added in client.add(read(), replace=replace):
                if added.error:
                    fail(waiting[added.name], added.error)
                else:
                    del waiting[added.name]
                    summary.count(added)
                    progress.advance()
        except MessageTooLarge as error:  # it ended the stream; of the rest the largest is surely at fault
            fail(max(list(waiting.values()), key=_size_bytes), error)


def _show(failure: Failure, progress: ProgressBar) -> None:
    if failure.reason != TAKEN:  # those are counted at the end
        progress.say(f"{failure.path}: {failure.message}")
    progress.advance()


def _what_differs(client: Client, taken: Sequence[FoundImage]) -> str:
    """Say how images differ from those of their names in the gallery, counted by what differs."""
    stored = {image.name: image for image in client.list()}
    differing = Counter(_difference(stored[image.name], image) for image in taken if image.name in stored)
    counts = "; ".join(f"{count} with {what}" for what, count in differing.most_common(3))
    more = f"; and {len(differing) - 3} other cases" if len(differing) > 3 else ""
    return (
        f"the gallery {client.gallery!r} has {len(taken)} images of these names already: {counts}{more}; "
        "--replace takes their place, whymatch delete removes them, --gallery adds to another gallery"
    )


def _difference(stored: results.Image, image: FoundImage) -> str:
    if stored.label != image.label:
        return f"the label {stored.label!r}, now {image.label!r}"
    return "other metadata" if dict(stored.metadata) != dict(image.metadata) else "another content"


def _content(image: FoundImage) -> bytes:
    """Read a file. Raises OSError, and ValueError for a name, a label or metadata that cannot be sent."""
    require_text(image)
    metadata_values(image.metadata)
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
