"""The commands `explain ranking`, `rank` and `neighbors`: why A before B, why not X, and which labels are around."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whymatch.client.apps.talk import note
from whymatch.client.cli import completion, regions
from whymatch.client.cli.connection import with_client
from whymatch.client.cli.generations import AtGeneration, generation_number
from whymatch.client.cli.options import (
    BoxShare,
    ExcludeItself,
    Json,
    Maps,
    Query,
    either_source,
    named_gallery,
    whole_number,
)
from whymatch.client.cli.origin import say_who_answered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from whymatch.client import Client, Label, LabelScore, RankingExplanation, Region, Stored

RANK = "rank:"
_SIDE = (
    "a file, image:NAME or just NAME for a stored image, or rank:N for the Nth match of a search; with --label a label."
)
First = Annotated[
    str, typer.Argument(metavar="A", autocompletion=completion.sources, help=f"What the gap is positive for: {_SIDE}")
]
Second = Annotated[
    str, typer.Argument(metavar="B", autocompletion=completion.sources, help="What A is compared with, written as A.")
]
RankedBoxes = Annotated[
    list[str] | None,
    typer.Option("--region", metavar="X,Y,W,H[:WEIGHT]", help="A region of the query that alone counts, as in search."),
]


@with_client
def explain_ranking(
    client: "Client",
    context: typer.Context,
    query: Query,
    first: First,
    second: Second,
    label: Annotated[
        bool, typer.Option("--label", help="A and B are labels: compare the query with all other images of each.")
    ] = False,
    boxes: RankedBoxes = None,
    channels: Annotated[
        int | None,
        typer.Option(
            min=0,
            callback=whole_number(32),
            metavar="N",
            help="How many leading channels to return.",
            show_default="10",
        ),
    ] = None,
    cells: Annotated[
        int | None,
        typer.Option(
            min=0,
            callback=whole_number(32),
            metavar="N",
            help="How many leading cells of the query to return.",
            show_default="10",
        ),
    ] = None,
    box_share: BoxShare = None,
    at_generation: AtGeneration = None,
    maps: Maps = None,
    json: Json = False,
) -> None:
    """Show why A is more similar to the query than B: where in the query the gap between both scores lies.

    The map of the query with A minus its map with B adds up to the gap. With --gallery all images go through that
    gallery's head, else through that of a stored A, B or query.
    """
    from whymatch.client.apps import documents

    parts = regions.boxes(boxes, "--region")
    source = either_source(query)
    at = generation_number(client, at_generation)
    sides = [_labeled(one) if label else _side(client, source, one, parts, at) for one in (first, second)]
    explanation = client.explain_ranking(
        source,
        *sides,
        query_regions=parts,
        channel_limit=channels,
        cell_limit=cells,
        overlays=maps is not None,
        box_share=box_share,
        at_generation=at,
        gallery=named_gallery(context),
    )
    say_who_answered(client, explanation.provenance)
    regions.say_rest("query", parts)
    names = _name(sides[0]), _name(sides[1])
    overlays = _draw(explanation, names, maps, parts)
    if json:
        found = documents.ranking(query, *names, explanation, overlays)
        documents.print_document(found | documents.origin(explanation.provenance))
        return
    print_ranking(explanation, *names)
    for file in overlays.values():
        print(file)


@with_client
def explain_rank(
    client: "Client",
    query: Query,
    name: Annotated[
        str, typer.Argument(metavar="NAME", autocompletion=completion.images, help="A stored image of the gallery.")
    ],
    limit: Annotated[
        int | None,
        typer.Option(
            min=1,
            callback=whole_number(32),
            metavar="N",
            help="How many matches it should be among.",
            show_default="10",
        ),
    ] = None,
    boxes: RankedBoxes = None,
    exclude_itself: ExcludeItself = False,
    box_share: BoxShare = None,
    at_generation: AtGeneration = None,
    maps: Maps = None,
    json: Json = False,
) -> None:
    """Show where a stored image stands among all, and what speaks for and against it beside the Nth match.

    Every image of the gallery is compared, whatever the index.
    """
    from whymatch.client import Stored
    from whymatch.client.apps import documents

    name = name.removeprefix(completion.STORED)
    parts = regions.boxes(boxes, "--region")
    source = either_source(query)
    at = generation_number(client, at_generation)
    standing = client.explain_rank(
        source, name, limit=limit, query_regions=parts, exclude_itself=exclude_itself, at_generation=at
    )
    explanation = client.explain_ranking(
        source,
        Stored(name),
        Stored(standing.rival),
        query_regions=parts,
        overlays=maps is not None,
        box_share=box_share,
        at_generation=at,
        gallery=client.gallery,
    )
    say_who_answered(client, standing.provenance)
    regions.say_rest("query", parts)
    overlays = _draw(explanation, (name, standing.rival), maps, parts)
    if json:
        found = documents.standing(query, name, standing)
        ranking = documents.ranking(query, name, standing.rival, explanation, overlays)
        documents.print_document(found | {"ranking": ranking} | documents.origin(standing.provenance))
        return
    print(f"{name}: rank {standing.rank} of {standing.image_count}, score {standing.score:.4f}")
    print(f"rank {standing.rival_rank} takes {standing.needed_score:.4f}, the score of {standing.rival}")
    print_ranking(explanation, name, standing.rival)
    for file in overlays.values():
        print(file)


@with_client
def explain_neighbors(
    client: "Client",
    query: Query,
    limit: Annotated[
        int | None,
        typer.Option(
            min=1, max=1000, metavar="N", help="How many of the most similar images are neighbors.", show_default="50"
        ),
    ] = None,
    labels: Annotated[
        int | None,
        typer.Option(
            min=0,
            callback=whole_number(32),
            metavar="N",
            help="How many labels to return of those that speak most for the query, and against it.",
            show_default="10",
        ),
    ] = None,
    boxes: RankedBoxes = None,
    at_generation: AtGeneration = None,
    json: Json = False,
) -> None:
    """Show which labels the images nearest to a query have, and which labels speak for and against it."""
    from whymatch.client.apps import documents

    parts = regions.boxes(boxes, "--region")
    at = generation_number(client, at_generation)
    found = client.explain_neighbors(
        either_source(query), limit=limit, label_limit=labels, query_regions=parts, at_generation=at
    )
    say_who_answered(client, found.provenance)
    regions.say_rest("query", parts)
    if json:
        documents.print_document(documents.neighborhood(query, found) | documents.origin(found.provenance))
        return
    print(f"labels of the {found.neighbor_count} nearest images\nimages  share  of the scores  label")
    for one in found.neighbors:
        print(f"{one.neighbor_count:6}  {one.share:5.1%}  {one.score_share:13.1%}  {one.label or '(none)'}")
    _print_labels(f"highest mean score of {found.label_count} labels", found.best_labels)
    _print_labels("lowest mean score", found.worst_labels)


def print_ranking(explanation: "RankingExplanation", first: str, second: str) -> None:
    """Print both scores, their gap, and the leading channels and cells with their shares of it."""
    for name, one in ((first, explanation.first), (second, explanation.second)):
        over = f", the mean over {one.image_count} images" if one.match_map is None else ""
        print(f"score {one.score:.4f}  {name}{over}")
    print(f"gap {explanation.gap:.4f}, query map adds up to {explanation.difference_map.total:.4f}")
    print(f"residual {explanation.residual:.1e}")
    if explanation.channels:
        what = "channels" if any(one.unit for one in explanation.channels) else "dimensions"
        print(f"leading {what} " + ", ".join(f"{one.channel}: {one}" for one in explanation.channels))
    if explanation.cells:
        print("leading cells of the query, each left,top,width,height in pixels:\nrank      score  of the gap")
    for number, cell in enumerate(explanation.cells, start=1):
        print(f"{number:4}  {cell.score:9.6f}  {cell.share:10.1%}  {regions.corners(cell.box)}")


def _print_labels(title: str, scores: "Sequence[LabelScore]") -> None:
    if scores:
        print(f"{title}\n score  images  label")
    for one in scores:
        print(f"{one.score:6.4f}  {one.image_count:6}  {one.label}")


def _labeled(text: str) -> "Label":
    from whymatch.client import Label

    return Label(text)


def _side(
    client: "Client", query: "Path | Stored", text: str, parts: "list[Region]", at: int | None
) -> "Path | Stored":
    """Return what A or B means: a match by its rank, a stored image, or a file."""
    from whymatch.client import Stored

    if text.startswith(RANK):
        return Stored(_match_at(client, query, text.removeprefix(RANK), parts, at))
    if text.startswith(completion.STORED) or Path(text).is_file():
        return either_source(text)
    return Stored(text)


def _match_at(client: "Client", query: "Path | Stored", rank: str, parts: "list[Region]", at: int | None) -> str:
    """Return the name of the match at a rank of a search."""
    if not (rank.isascii() and rank.isdecimal() and int(rank) > 0):
        raise typer.BadParameter(f"{RANK}{rank}: write rank:N with N from 1, for example rank:2")
    found = client.search(query, limit=int(rank), regions=parts, at_generation=at)
    if len(found) < int(rank):
        raise typer.BadParameter(f"{RANK}{rank}: a search finds only {len(found)} images")
    return found[-1].name


def _name(side: "Path | Stored | Label") -> str:
    return str(side) if isinstance(side, Path) else side.name


def _draw(
    explanation: "RankingExplanation", names: tuple[str, str], folder: Path | None, parts: "list[Region]"
) -> dict[str, Path]:
    """Write the pictures into `folder`, if given, and return those of the maps by stem."""
    if folder is None:
        return {}
    from whymatch.client.draw import matches

    overlays = matches.write_ranking(explanation, names, folder, query_regions=parts)
    note(folder / "sheet.png")
    return overlays
