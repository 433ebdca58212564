"""The command `compare`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from whymatch.client.apps.talk import note
from whymatch.client.cli.failures import fail
from whymatch.client.cli.options import Json, Quiet
from whymatch.client.cli.origin import note_command

MATCHES = 3


def compare(
    context: typer.Context,
    gallery: Annotated[
        Path,
        typer.Argument(
            exists=True,
            file_okay=False,
            metavar="GALLERY_FOLDER",
            help="Images to search; the label of each is the name of its folder.",
        ),
    ],
    models: Annotated[
        list[str],
        typer.Option(
            "--model",
            metavar="SPEC",
            help="[BACKBONE=]MODEL[:POOLING][@LAYERS], for example bundled, bundled:max, run/model.safetensors or "
            "bundled@features.17.conv.1. Give several: the maps of all are compared with those of the first.",
        ),
    ],
    queries: Annotated[
        list[Path] | None,
        typer.Option(
            exists=True,
            metavar="PATH",
            help="An image to search with, or a folder of them; may be given repeatedly.",
            show_default="the gallery's folder",
        ),
    ] = None,
    include: Annotated[
        str, typer.Option(metavar="GLOB", help="Search only files whose name matches, for example 'train__*'.")
    ] = "*",
    include_queries: Annotated[
        str | None,
        typer.Option(
            metavar="GLOB",
            help="Take only queries whose file name matches, for example 'val__*'.",
            show_default="those of the gallery, or all of --queries",
        ),
    ] = None,
    match: Annotated[
        list[Path] | None,
        typer.Option(
            exists=True,
            metavar="PATH",
            help="Compare each query with this image, or with those of this folder, under every model; may be given "
            "repeatedly.",
            show_default="the matches that each model finds",
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=100,
            metavar="N",
            help="How many matches to show.",
            show_default=str(MATCHES),
        ),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="How many queries to take, evenly spread over the images found.",
            show_default="6, or all files that --queries names",
        ),
    ] = None,
    output: Annotated[Path, typer.Option(file_okay=False, metavar="DIR", help="Where to write the report.")] = Path(
        "compare-output"
    ),
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Search with the same queries under several models, and show their matches and maps side by side.

    Each query is searched without itself. With --match nothing is searched: every model explains the same pairs.
    DIR/report.html shows all, DIR/query-NN.png one query each.
    """
    if match and limit is not None:
        raise typer.BadParameter("--match names what is shown, which excludes --limit")
    from whymatch.client.cli.rooms import require_server

    require_server()
    note_command(context)
    from whymatch.client import UnusablePaths, WhymatchError, find_images
    from whymatch.client.apps import documents
    from whymatch.client.apps.compare.run import CompareFailed, find_queries, run
    from whymatch.embed.pictures.folders import LeftOut

    if include_queries is None:
        include_queries = "*" if queries else include
    left_out = LeftOut()
    try:
        images = find_images([gallery], labels_from_folders=True, include=include, left_out=left_out)
        chosen = find_queries(images, queries or [gallery], include=include_queries, count=count)
        # One by one: nothing is stored, so names may be the same.
        matches = [image for path in match or () for image in find_images([path], labels_from_folders=True)]
    except UnusablePaths as error:
        raise typer.BadParameter(str(error)) from None
    for line in left_out.lines():
        note(line)
    try:
        comparison = run(images, chosen, models, output, limit=limit or MATCHES, matches=matches)
    except (CompareFailed, WhymatchError, OSError) as error:
        raise fail(error) from None
    for failure in comparison.failures:
        print(f"left out: {failure.path}: {failure.message}", file=sys.stderr)  # an error, which stays
    report = output / "report.html"
    if json:
        documents.print_document(comparison.document() | {"report": str(report)} | documents.origin(None))
    else:
        print("\n".join(side.text() for side in comparison.sides), report, sep="\n")
