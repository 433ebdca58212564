"""Search by examples: the options `--like` and `--unlike`, and how the shares of the examples are shown."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whymatch.client.apps.talk import note
from whymatch.client.cli import completion
from whymatch.client.cli.options import either_source
from whymatch.client.cli.origin import say_who_answered

if TYPE_CHECKING:
    from whymatch.client import Client, Example, SearchResult

_WEIGHT = re.compile(r"(.+):(\d+\.?\d*|\.\d+)", re.DOTALL)
_EITHER = "FILE|image:NAME[:WEIGHT]"

Like = Annotated[
    list[str] | None,
    typer.Option(
        "--like",
        metavar=_EITHER,
        autocompletion=completion.sources,
        help="Search by examples instead of a query: more like this file or stored image. May be given repeatedly; "
        "without a WEIGHT all weigh the same, 1 together.",
    ),
]
Unlike = Annotated[
    list[str] | None,
    typer.Option(
        "--unlike",
        metavar=_EITHER,
        autocompletion=completion.sources,
        help="Less like this file or stored image. May be given repeatedly; without a WEIGHT all weigh the same, 0.5 "
        "together.",
    ),
]


def examples(texts: Iterable[str] | None, option: str) -> "list[Example]":
    """Return the example of each `FILE[:WEIGHT]` or `image:NAME[:WEIGHT]`."""
    return [_example(text, option) for text in texts or ()]


def show(
    client: "Client",
    result: "SearchResult",
    like: Sequence[str],
    unlike: Sequence[str],
    folder: Path | None,
    json: bool,
) -> None:
    """Write the pictures into `folder`, if given, and print the matches with the shares of the examples.

    like, unlike: the examples, as the command line names them.
    """
    from whymatch.client.apps import documents

    say_who_answered(client, result.provenance)
    files: dict[str, Path] = {}
    if folder:
        from whymatch.client.draw import matches

        names = [*(f"like {name}" for name in like), *(f"unlike {name}" for name in unlike)]
        files = matches.write_examples(result, names, folder)
        note(folder / "sheet.png")
    if json:
        found = documents.search(None, result, files, by_region=False, like=like, unlike=unlike)
        documents.print_document(found | documents.origin(result.provenance))
    elif len(result):
        _print_matches(result, len(like), len(unlike))
    else:
        note("no matches: the gallery is empty, or its images have no labels for --best-per-label")


def _print_matches(result: "SearchResult", like: int, unlike: int) -> None:
    """Print the matches as a table with a column for the share of each example."""
    heads = [*(f"like {number + 1}" for number in range(like)), *(f"unlike {number + 1}" for number in range(unlike))]
    width = max([len("label"), *(len(match.label) for match in result)])
    print(f"rank   score  {'  '.join(f'{head:>8}' for head in heads)}  {'label':{width}}  name")
    for rank, match in enumerate(result, start=1):
        shares = "  ".join(f"{share:+8.4f}" for share in match.shares)
        print(f"{rank:4} {match.score:7.4f}  {shares}  {match.label:{width}}  {match.name}")


def _example(text: str, option: str) -> "Example":
    from whymatch.client import Example

    name, weight = text, None
    prefix, rest = ("image:", text.removeprefix("image:")) if text.startswith("image:") else ("", text)
    found = _WEIGHT.fullmatch(rest)
    if found and not (not prefix and Path(text).exists()):
        name, weight = prefix + found[1], float(found[2])
        if weight == 0:
            raise typer.BadParameter(f"{option} {text!r}: take a weight above 0, or leave the example out")
    return Example(either_source(name), weight=weight)
