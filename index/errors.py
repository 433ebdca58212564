"""The errors of galleries and of the files that hold them."""

import difflib
from collections.abc import Collection, Sequence

from whymatch.embed import WhymatchError


class BadName(WhymatchError):
    """A name has a form that no gallery or image can have."""

    reason = "BAD_NAME"


class BadIndexFactory(WhymatchError):
    """FAISS cannot build an index from a factory string."""

    reason = "BAD_INDEX_FACTORY"


class UnknownGallery(WhymatchError):
    """No gallery of that name is here."""

    reason = "UNKNOWN_GALLERY"

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no gallery {name!r}; create it first, or see `whymatch gallery list`")
        self.name = name


class UnknownImage(WhymatchError):
    """No image of that name is in the gallery."""

    reason = "UNKNOWN_IMAGE"

    def __init__(self, name: str, gallery: str) -> None:
        super().__init__(f"there is no image {name!r} in the gallery {gallery!r}; `whymatch list` shows its images")
        self.name, self.gallery = name, gallery


class UnknownLabel(WhymatchError):
    """No image of the gallery has that label."""

    reason = "UNKNOWN_LABEL"

    def __init__(self, label: str, gallery: str, labels: Collection[str]) -> None:
        """Name the labels of the gallery that look most like `label`."""
        near = difflib.get_close_matches(label, labels, n=3)
        hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
        super().__init__(
            f"no image of the gallery {gallery!r} has the label {label!r}; {hint}`whymatch labels` lists its labels"
        )
        self.label, self.gallery = label, gallery


class GalleryExists(WhymatchError):
    """A gallery of that name is already here."""

    reason = "GALLERY_EXISTS"

    def __init__(self, name: str) -> None:
        super().__init__(f"there already is a gallery {name!r}; delete it first or choose another name")
        self.name = name


class ImageExists(WhymatchError):
    """The gallery holds a different image under that name."""

    reason = "IMAGE_EXISTS"

    def __init__(self, name: str, differing: Sequence[str]) -> None:
        """Take what differs, of `content`, `label` and `metadata`."""
        super().__init__(
            f"the gallery already has an image {name!r} with another {' and another '.join(differing)}; "
            "delete it first or choose another name"
        )
        self.name, self.differing = name, differing


class ModelMismatch(WhymatchError):
    """A gallery was embedded by another model."""

    reason = "MODEL_MISMATCH"

    def __init__(self, gallery: str, theirs: str, ours: str) -> None:
        super().__init__(
            f"gallery {gallery!r} was embedded by model {theirs}, but this is model {ours}; start the server with the "
            "gallery's own backbone, weights, pooling and preprocessing, or add its images to a new gallery"
        )
        self.gallery, self.theirs, self.ours = gallery, theirs, ours


class OtherEmbedding(WhymatchError):
    """An embedding was made by another model or head than the gallery's."""

    reason = "OTHER_EMBEDDING"

    def __init__(self, gallery: str, theirs: str, ours: str) -> None:
        super().__init__(
            f"the embedding was made by {theirs}, but those of gallery {gallery!r} are by {ours}; embed the image "
            f"again for that gallery (`gallery={gallery!r}`, on the command line `--gallery {gallery}`)"
        )


class NewerFormat(WhymatchError):
    """A gallery was written by a newer version of whymatch."""

    reason = "NEWER_FORMAT"


class BrokenGallery(WhymatchError):
    """A gallery's files are damaged beyond what can be rebuilt."""

    reason = "BROKEN_GALLERY"


class ReadOnlyStorage(WhymatchError):
    """The data directory cannot be written."""

    reason = "READ_ONLY_STORAGE"


class StorageInUse(WhymatchError):
    """Another server uses the data directory."""

    reason = "STORAGE_IN_USE"


class StorageFull(WhymatchError):
    """The disk is full."""

    reason = "STORAGE_FULL"


class StorageFailed(WhymatchError):
    """The disk reports an error of its own."""

    reason = "STORAGE_FAILED"


class TooManyFiles(WhymatchError):
    """The system lets this process, or all together, open no more files."""

    reason = "TOO_MANY_FILES"

    def __init__(self, what: str) -> None:
        super().__init__(f"too many open files, so that {what} cannot be opened; raise the limit with `ulimit -n`")
