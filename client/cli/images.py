"""The commands `add`, `list`, `labels`, `show`, `content` and `delete`."""

import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whymatch.client.apps.talk import note
from whymatch.client.cli import completion
from whymatch.client.cli.connection import with_client
from whymatch.client.cli.options import ImageName, Json, Yes, require_consent

if TYPE_CHECKING:
    from whymatch.client import Client
    from whymatch.client.adding import FoundImage
    from whymatch.client.apps.add import Summary


@with_client
def add(
    client: "Client",
    paths: Annotated[list[Path], typer.Argument(exists=True, metavar="PATH", help="Images, and folders of them.")],
    label: Annotated[
        str, typer.Option(metavar="LABEL", autocompletion=completion.labels, help="The label of all these images.")
    ] = "",
    labels_from_folders: Annotated[
        bool, typer.Option("--labels-from-folders", help="Label each image with the name of its folder.")
    ] = False,
    labels: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            metavar="FILE",
            help="A table of labels, .csv, .tsv or .jsonl: the columns path, from the table's folder or from here, or "
            "name, that in the gallery; label; all others are metadata.",
        ),
    ] = None,
    metadata: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Metadata of all these images; may be given repeatedly."),
    ] = None,
    json: Json = False,
) -> None:
    """Add images to a gallery; the gallery is created if it does not exist."""
    from whymatch.client import UnusablePaths, WhymatchError, find_images
    from whymatch.client.apps import add as adding
    from whymatch.client.apps import documents
    from whymatch.embed.pictures.folders import LeftOut

    left_out = LeftOut()
    if label and labels_from_folders:
        raise typer.BadParameter("--label and --labels-from-folders exclude each other")
    common = key_values(metadata or ())
    try:
        images = find_images(paths, label=label, labels_from_folders=labels_from_folders, left_out=left_out)
    except UnusablePaths as error:
        raise typer.BadParameter(str(error)) from None
    images = [replace(image, metadata=common) for image in images]
    summary = adding.Summary(client.gallery)
    if labels:
        images = labeled(images, labels, summary)
    adding.ensure_gallery(client)
    summary.leave_out(left_out)
    for line in left_out.lines():
        note(line)
    try:
        adding.add_images(client, images, summary)
    except (WhymatchError, KeyboardInterrupt):
        note("stopped early; images added so far are stored, and the same command continues from here")
        raise
    finally:
        if json:
            documents.print_document(summary.document())
        else:
            print(summary.text())
    if summary.failures:
        raise typer.Exit(1)


@with_client
def list_images(
    client: "Client",
    label: Annotated[
        str | None,
        typer.Option(metavar="LABEL", autocompletion=completion.labels, help="Only images of this label."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="How many images to list.", show_default="all")
    ] = None,
    json: Json = False,
) -> None:
    """List the images of a gallery."""
    from whymatch.client.apps import documents

    found = islice((image for image in client.list() if label is None or image.label == label), limit)
    if json:
        documents.print_document({"images": [documents.image(image) for image in found]})
        return
    for image in found:
        print(f"{image.name}\t{image.label}\t{image.width_px} x {image.height_px}\t{image.size_bytes} bytes")


@with_client
def labels(client: "Client", json: Json = False) -> None:
    """List the labels of a gallery, with the number of images of each, the most frequent one first."""
    from whymatch.client.apps import documents

    counts = Counter(image.label for image in client.list() if image.label)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    if json:
        rows = [{"label": label, "count": count} for label, count in ordered]
        documents.print_document({"gallery": client.gallery, "labels": rows})
        return
    for label, count in ordered:
        print(f"{label}\t{count} images")
    if not ordered:
        note(f"no image of the gallery {client.gallery!r} has a label; whymatch add has --label and --labels")


@with_client
def show(
    client: "Client",
    name: ImageName,
    output: Annotated[
        Path | None, typer.Option(dir_okay=False, metavar="FILE", help="Save the image, exactly as it was added.")
    ] = None,
    json: Json = False,
) -> None:
    """Show the label, metadata, size and hash of an image."""
    from whymatch.client.apps import documents

    document = documents.image(client.get(name))
    if output:
        output.write_bytes(client.content(name))
    documents.print_facts(document, json)


@with_client
def content(
    client: "Client",
    name: ImageName,
    output: Annotated[
        Path, typer.Option("--output", "-o", dir_okay=False, metavar="FILE", help="Where to; - writes it to stdout.")
    ],
) -> None:
    """Save a stored image, exactly as it was added."""
    content = client.content(name)
    if str(output) == "-":
        sys.stdout.buffer.write(content)
    else:
        output.write_bytes(content)


@with_client
def delete(
    client: "Client",
    names: Annotated[
        list[str],
        typer.Argument(metavar="NAME", autocompletion=completion.images, help="The names of the images."),
    ],
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Delete images."""
    from whymatch.client.apps import documents

    what = f"the image {names[0]!r}" if len(names) == 1 else f"{len(names)} images"
    require_consent(f"Delete {what} of the gallery {client.gallery!r}?", yes)
    deleted: list[str] = []
    try:
        for name in names:
            client.delete(name)
            deleted.append(name)
            note(f"deleted {name}")
    finally:
        if json and deleted:
            documents.print_document({"deleted": deleted})


def key_values(words: Iterable[str]) -> dict[str, str]:
    """Return the metadata that `KEY=VALUE` words say."""
    metadata: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not (key and equals):
            raise typer.BadParameter(f"--metadata {word!r}: write KEY=VALUE, for example camera=X100")
        if key in metadata:
            raise typer.BadParameter(f"--metadata gives {key!r} twice; keep one")
        metadata[key] = value
    return metadata


def labeled(images: "list[FoundImage]", file: Path, summary: "Summary") -> "list[FoundImage]":
    """Return images with the labels and the metadata of a table, and count what has no counterpart."""
    from whymatch.client.apps.label_table import BadTable, LabelTable

    try:
        found = LabelTable(file).label(images)
    except BadTable as error:
        raise typer.BadParameter(f"--labels {error}") from None
    for line in found.lines(file):
        note(line)
    summary.rows_without_file, summary.files_without_row = len(found.rows_without_file), len(found.files_without_row)
    return found.images
