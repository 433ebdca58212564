"""The command `duplicates`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whymatch.client.apps.talk import note
from whymatch.client.cli.connection import with_client
from whymatch.client.cli.generations import AtGeneration, generation_number
from whymatch.client.cli.options import Filter, Json, similarity
from whymatch.client.cli.origin import say_who_answered

if TYPE_CHECKING:
    from whymatch.client import Client, Duplicates


@with_client
def duplicates(
    client: "Client",
    above: Annotated[
        float,
        typer.Option(
            callback=similarity,
            metavar="SCORE",
            help="Two images are near duplicates if their similarity is at least this, -1 to 1; 0.97, say.",
        ),
    ],
    filter: Filter = "",
    at_generation: AtGeneration = None,
    pictures: Annotated[
        Path | None, typer.Option(file_okay=False, metavar="DIR", help="Write a sheet of each group into this folder.")
    ] = None,
    json: Json = False,
) -> None:
    """Find groups of near duplicates: images that are similar, directly or by way of others of the group."""
    from whymatch.client.apps import documents
    from whymatch.client.apps.progress import progress_bar

    at = generation_number(client, at_generation)
    with progress_bar(None, "duplicates") as progress:
        found = client.duplicates(above=above, filter=filter, at_generation=at, progress=progress.reach)
    say_who_answered(client, found.provenance)
    files = write_pictures(client, found, pictures, at) if pictures else []
    if json:
        documents.print_document(documents.duplicates(found, files) | documents.origin(found.provenance))
        return
    for number, group in enumerate(found, start=1):
        scores = f"{group.least_score:.4f} to {group.largest_score:.4f}"
        print(f"group {number}: {len(group.names)} images, {scores}", *group.names, sep="\n  ", end="\n\n")
    if not len(found):
        note(f"no two images have a similarity of {above:g} or more")


def write_pictures(client: "Client", found: "Duplicates", folder: Path, at_generation: int | None = None) -> list[Path]:
    """Write a sheet of each group, and return the files."""
    from whymatch.client.apps.originals import original
    from whymatch.client.draw.duplicates import SHOWN, write_groups
    from whymatch.client.inputs import Stored

    originals = ([original(client, Stored(name), at_generation) for name in group.names[:SHOWN]] for group in found)
    files = write_groups(found, originals, folder)
    note(folder)
    return files
