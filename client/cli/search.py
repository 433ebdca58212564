"""The commands `search` and `rerank`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whymatch.client.apps.talk import note
from whymatch.client.cli import completion, examples, regions
from whymatch.client.cli.connection import with_client
from whymatch.client.cli.generations import AtGeneration, generation_number
from whymatch.client.cli.options import (
    BoxShare,
    Diversity,
    Exclude,
    ExcludeItself,
    Filter,
    FoldAbove,
    Json,
    Labels,
    Limit,
    Maps,
    MinScore,
    QueryFile,
    StoredQuery,
    WithMaps,
    file_or_stdin,
    require_json_for_maps,
    source,
    whole_number,
)
from whymatch.client.cli.origin import say_who_answered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from whymatch.client import Client, Embedding, Region, SearchResult, Stored

ALIKE = 0.01
"""Scores that differ by no more than this share of the best one hardly differ."""


@with_client
def search(
    client: "Client",
    file: QueryFile = None,
    image: StoredQuery = None,
    embedding: Annotated[
        Path | None,
        typer.Option(
            callback=file_or_stdin,
            metavar="FILE",
            help="Search by an embedding: a JSON list, or the output of `whymatch embed --json`, which is refused if "
            "another model or head made it.",
        ),
    ] = None,
    like: examples.Like = None,
    unlike: examples.Unlike = None,
    limit: Limit = None,
    label: Labels = None,
    filter: Filter = "",
    min_score: MinScore = None,
    exclude: Exclude = None,
    exclude_itself: ExcludeItself = False,
    at_generation: AtGeneration = None,
    best_per_label: Annotated[
        bool, typer.Option("--best-per-label", help="Return only the best match of each label.")
    ] = False,
    diversity: Diversity = None,
    fold_above: FoldAbove = None,
    boxes: regions.Boxes = None,
    polygons: regions.Polygons = None,
    masks: regions.Masks = None,
    ignore: regions.Ignored = None,
    box_share: BoxShare = None,
    with_maps: WithMaps = False,
    maps: Maps = None,
    json: Json = False,
) -> None:
    """Find the images most similar to a query, to regions of it, or to examples."""
    given = [value for value in (file, image, embedding) if value is not None]
    if given and (like or unlike):
        raise typer.BadParameter("--like and --unlike replace the query; give it as another --like")
    if len(given) != 1 and not (like or unlike):
        raise typer.BadParameter("give one query: a file, --image NAME, --embedding FILE, or examples as --like FILE")
    require_json_for_maps(with_maps, json)
    parts = [
        *regions.boxes(boxes, "--region"),
        *regions.polygons(polygons, "--polygon"),
        *regions.masks(masks, "--mask"),
        *regions.ignored(ignore, "--ignore"),
    ]
    if parts and embedding:
        raise typer.BadParameter("an embedding has no regions; give the image: a file or --image NAME")
    if exclude_itself and embedding:
        raise typer.BadParameter("--exclude-itself requires an image: a file or --image NAME, not an embedding")
    if parts and not given:
        raise typer.BadParameter("examples have no regions on the command line; in Python, Example(image, regions)")
    query = read_embedding(embedding) if embedding else source(file, image) if given else None
    at = generation_number(client, at_generation)
    result = client.search(
        query,
        like=examples.examples(like, "--like"),
        unlike=examples.examples(unlike, "--unlike"),
        limit=limit,
        labels=label or (),
        regions=parts,
        best_per_label=best_per_label,
        with_maps=with_maps,
        overlays=maps is not None,
        box_share=box_share,
        exclude_itself=exclude_itself,
        diversity=diversity,
        fold_above=fold_above,
        filter=filter,
        min_score=min_score,
        exclude=exclude or (),
        at_generation=at,
    )
    if query is None:
        examples.show(client, result, like or [], unlike or [], maps, json)
    else:
        show(client, query, result, str(given[0]), maps, json, query_regions=parts, at_generation=at)


@with_client
def rerank(
    client: "Client",
    file: QueryFile = None,
    image: StoredQuery = None,
    query_boxes: regions.QueryBoxes = None,
    match_boxes: regions.MatchBoxes = None,
    candidates: Annotated[
        int | None,
        typer.Option(
            min=1,
            callback=whole_number(32),
            metavar="N",
            help="Order this many of the most similar images.",
            show_default="100",
        ),
    ] = None,
    candidate: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            autocompletion=completion.images,
            help="Order this stored image; may be given repeatedly.",
        ),
    ] = None,
    limit: Limit = None,
    label: Labels = None,
    filter: Filter = "",
    min_score: MinScore = None,
    exclude: Exclude = None,
    exclude_itself: ExcludeItself = False,
    at_generation: AtGeneration = None,
    box_share: BoxShare = None,
    with_maps: WithMaps = False,
    maps: Maps = None,
    json: Json = False,
) -> None:
    """Order images by the part of their similarity that lies in regions of the query, of the match, or of both."""
    if (file is None) == (image is None):
        raise typer.BadParameter("give one query: a file or --image NAME")
    if not query_boxes and not match_boxes:
        raise typer.BadParameter("give the regions that count: --query-region X,Y,W,H, --match-region X,Y,W,H or both")
    if candidate and (label or filter or candidates is not None):
        raise typer.BadParameter("--candidate names the candidates, which excludes --candidates, --label and --filter")
    require_json_for_maps(with_maps, json)
    query_regions = regions.boxes(query_boxes, "--query-region")
    match_regions = regions.boxes(match_boxes, "--match-region")
    query = source(file, image)
    at = generation_number(client, at_generation)
    result = client.rerank(
        query,
        query_regions=query_regions,
        match_regions=match_regions,
        candidates=candidate or (),
        candidate_limit=candidates,
        limit=limit,
        labels=label or (),
        with_maps=with_maps,
        overlays=maps is not None,
        box_share=box_share,
        exclude_itself=exclude_itself,
        filter=filter,
        min_score=min_score,
        exclude=exclude or (),
        at_generation=at,
    )
    parts = {"query_regions": query_regions, "match_regions": match_regions}
    show(client, query, result, str(file or image), maps, json, **parts, at_generation=at)


def show(
    client: "Client",
    query: "bytes | Path | Stored | Embedding",
    result: "SearchResult",
    name: str,
    folder: Path | None,
    json: bool,
    *,
    query_regions: "list[Region]",
    match_regions: "Sequence[Region]" = (),
    at_generation: int | None = None,
) -> None:
    """Write the pictures into `folder`, if given, and print the matches.

    name: what the command line calls the query.
    """
    from whymatch.client.apps import documents
    from whymatch.client.inputs import Stored, rest_counts
    from whymatch.client.results import Embedding

    say_who_answered(client, result.provenance)
    regions.say_rest("query", query_regions)
    regions.say_rest("match", match_regions)
    files: dict[str, Path] = {}
    if folder:
        from whymatch.client.apps.originals import original
        from whymatch.client.draw import matches

        files = matches.write_search(
            result,
            folder,
            query_regions=query_regions,
            match_regions=match_regions,
            query=None if isinstance(query, Embedding) else original(client, query, at_generation),
            originals=[original(client, Stored(match.name), at_generation) for match in result],
        )
        note(folder / "sheet.png")
    by_region = bool(query_regions or match_regions)
    if json:
        sides = {"query": query_regions, "match": match_regions}
        rest = [side for side, some in sides.items() if rest_counts(some)]
        found = documents.search(name, result, files, by_region=by_region, rest_counts=rest)
        documents.print_document(found | documents.origin(result.provenance))
    elif len(result):
        print_matches(result, by_region=by_region)
        say_spread([match.score for match in result])
    else:
        note(
            "no matches: the gallery is empty, or the options leave out all of its images; --best-per-label leaves out "
            "those without a label"
        )


def print_matches(result: "SearchResult", *, by_region: bool) -> None:
    """Print the matches as a table, those that are folded into one below it.

    A search by region adds the share of the similarity in the region.
    """
    width = max([len("label"), *(len(match.label) for match in result)])
    print(f"rank   score  {'share   ' if by_region else ''}{'label':{width}}  name")
    for rank, match in enumerate(result, start=1):
        part = f"{match.region_share:.1%}" if match.region_share else "-"
        share = f"{part:>6}  " if by_region else ""
        print(f"{rank:4} {match.score:7.4f}  {share}{match.label:{width}}  {match.name}")
        for other in match.folded:
            print(f"   + {other.score:7.4f}  {' ' * len(share)}{other.label:{width}}  {other.name}")


def say_spread(scores: "Sequence[float]") -> None:
    """Say on stderr that the scores hardly differ, so that their order means little."""
    if len(scores) > 1 and scores[0] > 0 and scores[0] - scores[-1] <= ALIKE * scores[0]:
        note(f"these {len(scores)} scores differ by {scores[0] - scores[-1]:.1g}")


def read_embedding(file: Path) -> "Embedding":
    """Return the embedding of a JSON file, a bare list or the document of `whymatch embed --json`."""
    import json

    import numpy as np

    from whymatch.client import Embedding

    text = sys.stdin.read() if str(file) == "-" else file.read_text()
    try:
        document = json.loads(text)
        document = document if isinstance(document, dict) else {"embedding": document}
        vector = np.array(document["embedding"], np.float32)
    except (KeyError, TypeError, ValueError) as error:
        raise typer.BadParameter(f"{file} holds no embedding: {error}") from None
    if vector.ndim != 1:
        raise typer.BadParameter(f"{file} holds no embedding, but an array of shape {vector.shape}")
    return Embedding(vector, model=str(document.get("model") or ""))
