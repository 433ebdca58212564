"""What the client takes: images as files, bytes or Pillow pictures, stored images by name, new images, and regions."""

from __future__ import annotations

import io
import os
from collections.abc import AsyncIterable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal, TypeAlias, TypedDict, Union

import numpy as np
from numpy.typing import ArrayLike, NDArray

from whymatch.client.results import Box, Embedding

if TYPE_CHECKING:
    import PIL.Image

ImageInput: TypeAlias = Union[str, "os.PathLike[str]", bytes, bytearray, memoryview, IO[bytes], "PIL.Image.Image"]
"""The path of a file, the bytes of a file, a file that is open for reading bytes, or a Pillow picture."""


@dataclass(frozen=True)
class Stored:
    """An image that a gallery holds."""

    name: str
    gallery: str | None = None
    """Where it is; None means the gallery of the call."""


@dataclass(frozen=True)
class Label:
    """All images of a label but the query itself, where a query is compared with several."""

    name: str


Query: TypeAlias = Union[ImageInput, Stored, Embedding, "NDArray[np.floating]", list[float], tuple[float, ...]]
"""What can be searched for: an image, a stored image, or an embedding, as `embed` returns it or as a bare vector."""


class SearchOptions(TypedDict, total=False):
    """What `Client.search` can be told, by keyword; `search` explains it."""

    limit: int | None
    labels: Sequence[str]
    regions: Sequence[RegionInput]
    ignore: Sequence[RegionInput]
    best_per_label: bool
    with_maps: bool
    overlays: bool | int
    box_share: float | None
    exclude_itself: bool
    diversity: float | None
    fold_above: float | None
    filter: str
    min_score: float | None
    exclude: Sequence[str]
    at_generation: int | None


HeadKind: TypeAlias = Literal["none", "centering", "whitening", "linear"]
"""The heads that a gallery can be given."""

SamplerKind: TypeAlias = Literal["conditional", "marginal", "mean"]
"""What replaces a part of an image that is taken as unknown."""


MetadataValue: TypeAlias = str | float | bool
"""Text, a finite number or a boolean; whole numbers go up to 2^53."""


@dataclass(frozen=True)
class NewImage:
    """One image to add."""

    content: ImageInput
    name: str = ""
    """Its name in the gallery; empty means the name of its file."""
    label: str = ""
    metadata: Mapping[str, MetadataValue] = field(default_factory=dict)
    replace: bool = False
    """True to take the place of another image of this name."""


@dataclass(frozen=True)
class Polygon:
    """A closed outline whose edges do not cross, in pixels of the upright original image."""

    points: Sequence[tuple[float, float]]
    """At least three corners (x, y) in order; the last one is joined to the first."""


@dataclass(frozen=True)
class Mask:
    """What is white in a picture of the size of the upright image; black is outside, gray is partly inside."""

    image: ImageInput


@dataclass(frozen=True)
class Point:
    """The whole cell under a point, in pixels of the upright original image; the first pixel's center is 0.5, 0.5."""

    x_px: float
    y_px: float


@dataclass(frozen=True)
class Region:
    """A part of an image that counts, counts against, or is left out."""

    shape: Box | Polygon | Mask | Point
    weight: float = 1.0
    """From -1 to 1; negative counts against a match, 0 leaves this part out of all others. If none of the regions of
    an image has a weight above 0, the rest of the image has weight 1."""
    relative: bool = False
    """True if the numbers are shares of the image's width and height, 0 to 1; a mask is then stretched to the image."""


def rest_counts(regions: Sequence[Region]) -> bool:
    """Say whether the rest of an image counts beside its regions, because none of these has a weight above 0."""
    return bool(regions) and all(region.weight <= 0 for region in regions)


RegionInput: TypeAlias = Region | Box | Polygon | Mask | Point
"""A region, or a bare shape for one of weight 1 in pixels."""


@dataclass(frozen=True)
class Example:
    """An image, a part of one, or an embedding that matches are to be like or unlike."""

    image: Query
    regions: Sequence[RegionInput] = ()
    """Parts of the image that alone count; empty for the whole image."""
    weight: float | None = None
    """Above 0; None for 1 or, to be unlike, 0.5, divided by the number of examples on the same side."""


ExampleInput: TypeAlias = Query | Example
"""An example, or just what it is of."""


MAX_WHOLE_NUMBER = 2**53
"""Up to here a float64, as which numbers travel and are compared, holds every whole number."""
MAX_BYTES = 2**31 - 2**20
"""gRPC carries no message of 2 GiB, so that a larger file is not read; the server's own limit is far lower."""


def image_bytes(image: ImageInput) -> bytes:
    """Return the bytes of an image file: a file's own, or those of a Pillow picture.

    Raises:
        TypeError: it is no image, or a file that is open for text.
        ValueError: the picture's numbers have no white: floating-point, signed or 32-bit ones.
    """
    if isinstance(image, (bytes, bytearray, memoryview)):
        return bytes(image)
    if isinstance(image, (str, os.PathLike)):
        return read_file(Path(image))
    if hasattr(image, "read"):
        return _rest_of(image)
    return _file(image)


def read_file(path: Path) -> bytes:
    """Return the bytes of a file. Raises OSError also for a file that is too large to be sent; it is not read then."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        content = file.read() if size <= MAX_BYTES else b""
    if max(size, len(content)) > MAX_BYTES:  # it may have grown
        raise OSError(f"the file has {max(size, len(content))} bytes; no more than {MAX_BYTES} can be sent")
    return content


def require_several(images: object) -> None:
    """Refuse one image where several are added: iterating over a path would take its letters for names."""
    if isinstance(images, (str, bytes, bytearray, memoryview, os.PathLike, NewImage)) or hasattr(images, "read"):
        one = repr(os.fspath(images)) if isinstance(images, (str, os.PathLike)) else "..."
        raise TypeError(
            f"add takes several images, not one {type(images).__name__}; write add([{one}]) or add_image({one}) for "
            f"one image, and add(find_images([{one}])) for a folder"
        )
    if not isinstance(images, (Iterable, AsyncIterable)):
        raise TypeError(
            f"add takes several images, not {type(images).__name__}; write add([image]), or add_image(image)"
        )


def image_name(new: NewImage) -> str:
    """Return the name to store `new` under."""
    if new.name:
        return new.name
    path = getattr(new.content, "name", new.content) if hasattr(new.content, "read") else new.content
    if isinstance(path, (str, os.PathLike)):
        return Path(path).name
    raise ValueError("an image given as bytes or as a picture needs a name: NewImage(content, name=...)")


def require_text(new: NewImage) -> None:
    """Refuse a name, a label or metadata that is not UTF-8, such as the name of a file of other bytes."""
    try:
        "".join(map(str, (image_name(new), new.label, *new.metadata, *new.metadata.values()))).encode()
    except UnicodeEncodeError:
        raise ValueError(
            f"the name {image_name(new)!r}, its label or its metadata is not UTF-8; rename the file, or give it "
            "another name in the gallery"
        ) from None


def metadata_values(metadata: Mapping[str, MetadataValue]) -> dict[str, MetadataValue]:
    """Return metadata.

    Raises:
        TypeError: a value is neither text nor a number nor a boolean.
        ValueError: a whole number is beyond 2^53, where the API would round it.
    """
    for key, value in metadata.items():
        if not (isinstance(key, str) and isinstance(value, str | int | float)):
            raise TypeError(f"metadata are texts, numbers and booleans by their names, but {key!r} is {value!r}")
        if isinstance(value, int) and abs(value) > MAX_WHOLE_NUMBER:
            raise ValueError(f"metadata {key!r} is {value}, beyond 2^53; give it as text, '{value}'")
    return dict(metadata)


def head_layer(weight: ArrayLike | None, bias: ArrayLike | None) -> tuple[np.ndarray, np.ndarray]:
    """Return weight (D, C) and bias (D,) of a linear head as float32; without a bias zeros.

    The bias is sent in any case: the server reads the number of rows from its length.
    """
    if weight is None:
        raise ValueError("a 'linear' head needs its weight=, with a row for each dimension of the embedding")
    matrix = _numbers("weight", weight, "two axes: a row for each dimension, a column for each channel", ndim=2)
    vector = _numbers("bias", np.zeros(len(matrix)) if bias is None else bias, "one axis", ndim=1)
    if len(vector) != len(matrix):
        raise ValueError(f"bias has {len(vector)} values, but weight {len(matrix)} rows; give a value for each row")
    return matrix, vector


def _numbers(argument: str, values: ArrayLike, axes: str, *, ndim: int) -> np.ndarray:
    """Return finite float32 values."""
    try:
        given = np.asarray(values)
    except ValueError as error:  # rows of different lengths
        raise ValueError(f"{argument} is no array: {error}") from None
    if given.dtype.kind not in "iuf" or given.ndim != ndim or given.size == 0:
        raise ValueError(f"{argument} is an array of {given.dtype} of shape {given.shape}; give numbers with {axes}")
    with np.errstate(over="ignore"):
        numbers = given.astype(np.float32)
    if not np.isfinite(numbers).all():
        raise ValueError(f"{argument} holds NaN, infinity or numbers that are too large; was its training cut short?")
    return numbers


def _rest_of(file: object) -> bytes:
    if isinstance(file, io.TextIOBase):
        raise TypeError("the file is open for text; open it with 'rb'")
    return bytes(file.read())  # type: ignore[attr-defined]


def _file(picture: object) -> bytes:
    import PIL.Image

    from whymatch.embed.pictures.given import file_of

    if not isinstance(picture, PIL.Image.Image):
        raise TypeError(
            f"an image is a path, bytes, an open file or a Pillow picture, not {type(picture).__name__}; "
            "turn an array of pixels into one with PIL.Image.fromarray"
        )
    return file_of(picture)
