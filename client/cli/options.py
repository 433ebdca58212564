"""The options that several commands share, and the images that they name."""

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whymatch.client.apps.talk import QUIET
from whymatch.client.cli import completion

if TYPE_CHECKING:
    from whymatch.client import Client, Stored


def file_or_stdin(path: Path | None) -> Path | None:
    """Require a file that exists; `-` stands for stdin."""
    if path is not None and str(path) != "-":
        require_file(path)
    return path


def require_file(path: Path, hint: str = "") -> None:
    """Require a file that exists, and no folder. `hint` is what else could have been meant."""
    if path.is_dir():
        raise typer.BadParameter(f"{str(path)!r} is a folder; give one image of it")
    if not path.is_file():
        raise typer.BadParameter(f"there is no file {str(path)!r}{hint}")


def whole_number(bits: int) -> Callable[[int | None], int | None]:
    """Return a callback that requires a number of this many bits, which is what the API can carry."""

    def check(number: int | None) -> int | None:
        if number is not None and number >= 2 ** (bits - 1):
            raise typer.BadParameter(f"{number} is too large; take less than 2 to the power of {bits - 1}")
        return number

    return check


def hush(quiet: bool) -> None:
    """Leave out notes and progress bars, if `quiet`."""
    QUIET.set(quiet)


def require_consent(question: str, yes: bool) -> None:
    """Ask `question` on the terminal, unless --yes answers it; without a terminal require --yes."""
    if not yes and not sys.stdin.isatty():
        raise typer.BadParameter(f"{question} Nobody is here to ask; repeat it with --yes")
    if not yes:
        typer.confirm(question, abort=True, err=True)


def share(value: float | None) -> float | None:
    """Require a share: above 0 and at most 1."""
    if value is not None and not 0 < value <= 1:
        raise typer.BadParameter(f"{value:g}; take more than 0 and at most 1")
    return value


def similarity(value: float | None) -> float | None:
    """Require a cosine similarity."""
    if value is not None and not -1 <= value <= 1:
        raise typer.BadParameter(f"{value:g}; a cosine similarity is from -1 to 1")
    return value


def diversity(value: float | None) -> float | None:
    """Require a diversity: from 0 to 1."""
    if value is not None and not 0 <= value <= 1:
        raise typer.BadParameter(f"{value:g}; take 0 for the best matches, up to 1 for the most different ones")
    return value


def finite(value: float | None) -> float | None:
    """Require a finite number; NaN is not even less than another."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value:g}; take a number")
    return value


Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", callback=hush, help="No progress and no notes on stderr; errors stay.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Maps = Annotated[
    Path | None, typer.Option(file_okay=False, metavar="DIR", help="Write pictures of the maps into this folder.")
]
WithMaps = Annotated[bool, typer.Option("--with-maps", help="Put the maps into the JSON document (requires --json).")]
BoxShare = Annotated[
    float | None,
    typer.Option(
        callback=share,
        metavar="SHARE",
        help="Share of a map's positive values inside its frame, above 0 and up to 1.",
        show_default="0.5",
    ),
]
QueryFile = Annotated[
    Path | None, typer.Argument(callback=file_or_stdin, metavar="FILE", help="The query; - reads it from stdin.")
]
StoredQuery = Annotated[
    str | None,
    typer.Option(metavar="NAME", autocompletion=completion.images, help="Search by a stored image."),
]
Labels = Annotated[
    list[str] | None,
    typer.Option(
        metavar="LABEL", autocompletion=completion.labels, help="Only images of this label; may be given repeatedly."
    ),
]
ExcludeItself = Annotated[
    bool, typer.Option("--exclude-itself", help="Leave out the query's own copies: stored images with the same bytes.")
]
Diversity = Annotated[
    float | None,
    typer.Option(
        callback=diversity,
        metavar="SHARE",
        help="How much a match shall differ from those before it, from 0 to 1.",
        show_default="0",
    ),
]
FoldAbove = Annotated[
    float | None,
    typer.Option(
        callback=similarity,
        metavar="SCORE",
        help="Fold a match into a better one if their similarity is at least this, -1 to 1.",
    ),
]
Filter = Annotated[
    str,
    typer.Option(
        metavar="EXPR",
        help="Only images that it holds for, such as 'label = cat AND metadata.year >= 2020'.",
        show_default=False,
    ),
]
MinScore = Annotated[
    float | None, typer.Option(callback=finite, metavar="S", help="Leave out matches that score less.")
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        autocompletion=completion.images,
        help="Leave out this stored image; may be given repeatedly.",
    ),
]
Limit = Annotated[
    int | None,
    typer.Option(min=1, callback=whole_number(32), metavar="N", help="How many matches to return.", show_default="10"),
]
_EITHER = "A file, or image:NAME for a stored image."
Query = Annotated[str, typer.Argument(metavar="QUERY", autocompletion=completion.sources, help=_EITHER)]
Match = Annotated[str, typer.Argument(metavar="MATCH", autocompletion=completion.sources, help=_EITHER)]
OneImage = Annotated[str, typer.Argument(metavar="IMAGE", autocompletion=completion.sources, help=_EITHER)]
ImageName = Annotated[
    str, typer.Argument(metavar="NAME", autocompletion=completion.images, help="The name of the image.")
]


def named_gallery(context: typer.Context) -> str | None:
    """Return the gallery that --gallery names, None without the option."""
    name: str | None = context.params["gallery"]
    return name


def require_json_for_maps(with_maps: bool, json: bool) -> None:
    """Require --json for --with-maps, which nothing else would show."""
    if with_maps and not json:
        raise typer.BadParameter("--with-maps requires --json, which prints them; --maps DIR writes them as pictures")


def source(file: Path | None, image: str | None) -> "bytes | Path | Stored":
    """Return the image that the command line names: stdin, a file or a stored image."""
    from whymatch.client import Stored

    if image is not None:
        return Stored(image)
    assert file is not None
    return sys.stdin.buffer.read() if str(file) == "-" else file


def either_source(text: str) -> "Path | Stored":
    """Return the stored image that `image:NAME` names, or the file."""
    from whymatch.client import Stored

    if text.startswith("image:"):
        return Stored(text.removeprefix("image:"))
    require_file(Path(text), "; a stored image is written image:NAME")
    return Path(text)


def content_of(client: "Client", source: "Path | Stored", at_generation: int | None = None) -> bytes:
    """Return the file of an image, that of a generation if one is given."""
    if isinstance(source, Path):
        return source.read_bytes()
    return client.content(source.name, at_generation=at_generation)
