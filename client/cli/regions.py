"""Regions as the command line writes them: `X,Y,W,H:WEIGHT` and the like."""

import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whymatch.client.apps.talk import note

if TYPE_CHECKING:
    from whymatch.client import Box, Region

_WEIGHT = re.compile(r"(.*):([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|[+-]?(?:nan|inf))", re.IGNORECASE | re.DOTALL)
_BOX_HELP = (
    "left, top, width and height in pixels of the upright original, or all four with % as shares of it; a negative "
    "WEIGHT counts against a match, 0 leaves the region out, and without a positive one the rest of the image counts "
    "with 1. May be given repeatedly."
)

Boxes = Annotated[
    list[str] | None,
    typer.Option("--region", metavar="X,Y,W,H[:WEIGHT]", help=f"Search by this region of the query: {_BOX_HELP}"),
]
Ignored = Annotated[
    list[str] | None,
    typer.Option(
        "--ignore",
        metavar="X,Y,W,H",
        help="Leave this part of the query out; what is left counts. As --region with a weight of 0; may be given "
        "repeatedly.",
    ),
]
Polygons = Annotated[
    list[str] | None,
    typer.Option(
        "--polygon", metavar="X1,Y1,X2,Y2,...[:WEIGHT]", help="A region by its corners; may be given repeatedly."
    ),
]
Masks = Annotated[
    list[str] | None,
    typer.Option(
        "--mask",
        metavar="FILE[:WEIGHT]",
        help="A region, white in an image file of the query's size; may be given repeatedly.",
    ),
]
QueryBoxes = Annotated[
    list[str] | None,
    typer.Option("--query-region", metavar="X,Y,W,H[:WEIGHT]", help=f"A region of the query that counts: {_BOX_HELP}"),
]
MatchBoxes = Annotated[
    list[str] | None,
    typer.Option("--match-region", metavar="X,Y,W,H[:WEIGHT]", help=f"A region of the match that counts: {_BOX_HELP}"),
]
PointOption = Annotated[
    str | None, typer.Option(metavar="X,Y", help="In pixels of the upright original, or both with % as shares of it.")
]


def boxes(texts: Iterable[str] | None, option: str) -> "list[Region]":
    """Return the region of each `X,Y,W,H[:WEIGHT]`."""
    return [_box(text, option) for text in texts or ()]


def ignored(texts: Iterable[str] | None, option: str) -> "list[Region]":
    """Return the region of weight 0 of each `X,Y,W,H`."""
    return [_box(text, option, weighed=False) for text in texts or ()]


def say_rest(side: str, regions: "Sequence[Region]") -> None:
    """Say on stderr that the rest of an image counts, if a negative region brought this about."""
    from whymatch.client.inputs import rest_counts

    if rest_counts(regions) and any(region.weight < 0 for region in regions):
        note(f"no region of the {side} has a weight above 0: the rest of it counts with weight 1")


def polygons(texts: Iterable[str] | None, option: str) -> "list[Region]":
    """Return the region of each `X1,Y1,X2,Y2,...[:WEIGHT]`."""
    return [_polygon(text, option) for text in texts or ()]


def masks(texts: Iterable[str] | None, option: str) -> "list[Region]":
    """Return the region of each `FILE[:WEIGHT]`."""
    return [_mask(text, option) for text in texts or ()]


def point(text: str, option: str) -> "Region":
    """Return the region of `X,Y`."""
    from whymatch.client import Point, Region

    numbers, relative = _numbers(text, option, "X,Y, for example 120,80 or 50%,25%")
    if len(numbers) != 2:
        raise _misuse(option, text, "X,Y, for example 120,80 or 50%,25%")
    return Region(Point(*numbers), relative=relative)


def corners(box: "Box") -> str:
    """Write a box as the options take it: left, top, width and height, to a tenth of a pixel."""
    numbers = (box.left_px, box.top_px, box.right_px - box.left_px, box.bottom_px - box.top_px)
    return ",".join(f"{round(number, 1):.10g}" for number in numbers)


def _box(text: str, option: str, *, weighed: bool = True) -> "Region":
    from whymatch.client import Box, Region

    form = "X,Y,W,H or X,Y,W,H:WEIGHT, for example 10,20,300,200 or 0%,0%,50%,100%:-0.5"
    form = form if weighed else "X,Y,W,H, for example 10,20,300,200 or 0%,0%,50%,100%"
    shape, weight = _split_weight(text, option) if weighed else (text, 0.0)
    numbers, relative = _numbers(shape, option, form)
    if len(numbers) != 4:
        raise _misuse(option, text, form)
    left, top, width, height = numbers
    if min(width, height) <= 0:
        raise _misuse(option, text, "a width and a height above 0, which come after the left and the top edge")
    right, bottom = left + width, top + height
    if relative and left < 1 and top < 1 and right > 0 and bottom > 0:  # the server does so with pixels
        left, top, right, bottom = max(left, 0), max(top, 0), min(right, 1), min(bottom, 1)
    return Region(Box(left, top, right, bottom), weight, relative)


def _polygon(text: str, option: str) -> "Region":
    from whymatch.client import Polygon, Region

    form = "at least three corners X1,Y1,X2,Y2,X3,Y3, for example 0,0,100,0,50,80"
    shape, weight = _split_weight(text, option)
    numbers, relative = _numbers(shape, option, form)
    if len(numbers) < 6 or len(numbers) % 2:
        raise _misuse(option, text, form)
    return Region(Polygon(tuple(zip(numbers[::2], numbers[1::2], strict=True))), weight, relative)


def _mask(text: str, option: str) -> "Region":
    from whymatch.client import Mask, Region

    file, weight = _split_weight(text, option)
    if not Path(file).is_file():
        raise typer.BadParameter(f"{option} {text!r}: there is no file {file!r}; write FILE or FILE:WEIGHT")
    return Region(Mask(Path(file).read_bytes()), weight)


def _split_weight(text: str, option: str) -> tuple[str, float]:
    """Split a trailing `:NUMBER` off; any other colon belongs to what comes before."""
    found = _WEIGHT.fullmatch(text)
    if not found:
        return text, 1.0
    weight = float(found[2])
    if not -1 <= weight <= 1:
        raise _misuse(option, text, "a weight from -1 to 1")
    return found[1], weight


def _numbers(text: str, option: str, form: str) -> tuple[list[float], bool]:
    """Return comma-separated numbers, and whether all of them carry `%`, which then is divided out."""
    words = [word.strip() for word in text.split(",")]
    relative = [word.endswith("%") for word in words]
    if any(relative) and not all(relative):
        raise _misuse(option, text, "% behind all numbers or behind none")
    try:
        numbers = [float(word.removesuffix("%")) for word in words]
    except ValueError:
        raise _misuse(option, text, form) from None
    if not all(map(math.isfinite, numbers)):
        raise _misuse(option, text, "finite numbers")
    return [number / 100 for number in numbers] if all(relative) else numbers, all(relative)


def _misuse(option: str, text: str, form: str) -> typer.BadParameter:
    return typer.BadParameter(f"{option} {text!r}: write {form}")
