"""The commands `add`, `update`, `list`, `labels`, `show`, `content`, `delete` and `erase`."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whymatch.client.apps.talk import note
from whymatch.client.cli import completion
from whymatch.client.cli.connection import with_client
from whymatch.client.cli.generations import AtGeneration, generation_number
from whymatch.client.cli.options import Filter, ImageName, Json, Yes, require_consent

if TYPE_CHECKING:
    from whymatch.client import Client
    from whymatch.client.adding import FoundImage
    from whymatch.client.apps.add import Summary
    from whymatch.client.inputs import MetadataValue


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
        typer.Option(
            metavar="KEY=VALUE",
            help="Metadata of all these images; may be given repeatedly. 2024 is a number, true a boolean, "
            "'\"2024\"' in quotes text.",
        ),
    ] = None,
    replace_others: Annotated[
        bool, typer.Option("--replace", help="Take the place of other images of the same names.")
    ] = False,
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
        adding.add_images(client, images, summary, replace=replace_others)
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
def update(
    client: "Client",
    name: ImageName,
    label: Annotated[
        str | None,
        typer.Option(metavar="LABEL", autocompletion=completion.labels, help="Its new label; '' for none."),
    ] = None,
    metadata: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Metadata to set, as in add; may be given repeatedly."),
    ] = None,
    remove_metadata: Annotated[
        list[str] | None, typer.Option(metavar="KEY", help="Metadata to remove; may be given repeatedly.")
    ] = None,
    json: Json = False,
) -> None:
    """Change the label or the metadata of an image; all else stays, and nothing is embedded."""
    from whymatch.client.apps import documents

    changed: dict[str, MetadataValue | None] = {**key_values(metadata or ()), **dict.fromkeys(remove_metadata or ())}
    if both := {word.partition("=")[0] for word in metadata or ()} & {*(remove_metadata or ())}:
        raise typer.BadParameter(f"--metadata sets {min(both)!r} and --remove-metadata removes it; keep one")
    if label is None and not changed:
        raise typer.BadParameter("nothing would change; give --label, --metadata or --remove-metadata")
    documents.print_facts(documents.image(client.update(name, label=label, changed=changed)), json)


@with_client
def list_images(
    client: "Client",
    label: Annotated[
        str | None,
        typer.Option(metavar="LABEL", autocompletion=completion.labels, help="Only images of this label."),
    ] = None,
    filter: Filter = "",
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="How many images to list.", show_default="all")
    ] = None,
    at_generation: AtGeneration = None,
    json: Json = False,
) -> None:
    """List the images of a gallery."""
    from whymatch.client.apps import documents

    at = generation_number(client, at_generation)
    found = islice(client.list(with_label(filter, label), at_generation=at), limit)
    if json:
        documents.print_document({"images": [documents.image(image) for image in found]})
        return
    for image in found:
        print(f"{image.name}\t{image.label}\t{image.width_px} x {image.height_px}\t{image.size_bytes} bytes")


@with_client
def labels(client: "Client", filter: Filter = "", at_generation: AtGeneration = None, json: Json = False) -> None:
    """List the labels of a gallery, with the number of images of each, the most frequent one first."""
    from whymatch.client.apps import documents

    counts = client.labels(filter, at_generation=generation_number(client, at_generation))
    ordered = sorted((one for one in counts if one.label), key=lambda one: (-one.count, one.label))
    if json:
        documents.print_document({"gallery": client.gallery, "labels": [one.to_dict() for one in ordered]})
        return
    for one in ordered:
        print(f"{one.label}\t{one.count} images")
    if not ordered:
        note(f"no image of the gallery {client.gallery!r} has a label; whymatch add has --label and --labels")


@with_client
def show(
    client: "Client",
    name: ImageName,
    output: Annotated[
        Path | None, typer.Option(dir_okay=False, metavar="FILE", help="Save the image, exactly as it was added.")
    ] = None,
    at_generation: AtGeneration = None,
    json: Json = False,
) -> None:
    """Show the label, metadata, size and hash of an image."""
    from whymatch.client.apps import documents

    at = generation_number(client, at_generation)
    document = documents.image(client.get(name, at_generation=at))
    if output:
        output.write_bytes(client.content(name, at_generation=at))
    documents.print_facts(document, json)


@with_client
def content(
    client: "Client",
    name: ImageName,
    output: Annotated[
        Path, typer.Option("--output", "-o", dir_okay=False, metavar="FILE", help="Where to; - writes it to stdout.")
    ],
    at_generation: AtGeneration = None,
) -> None:
    """Save a stored image, exactly as it was added."""
    content = client.content(name, at_generation=generation_number(client, at_generation))
    if str(output) == "-":
        sys.stdout.buffer.write(content)
    else:
        output.write_bytes(content)


@with_client
def delete(
    client: "Client",
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME", autocompletion=completion.images, help="The names of the images.", show_default=False
        ),
    ] = None,
    filter: Filter = "",
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Delete images, by name or by a filter; older generations keep them until they are purged."""
    from whymatch.client.apps import documents

    if bool(names) == bool(filter):
        raise typer.BadParameter("give the names of images, or a --filter, one of them")
    count = len(names) if names else sum(one.count for one in client.labels(filter))
    if names and not yes:
        client.get_several(names[:1000])  # names the one that is not there before anybody is asked
    what = f"the image {names[0]!r}" if names and count == 1 else f"{count} images"
    keeps = "older generations keep what `whymatch erase` removes for good"
    require_consent(f"Delete {what} of the gallery {client.gallery!r} ({keeps})?", yes)
    if names:
        client.delete(names)
    else:
        count = client.delete_where(filter)
    note(f"deleted {', '.join(names) if names else f'{count} images'}")
    if json:
        documents.print_document({"deleted": names} if names else {"deleted_count": count})


@with_client
def erase(
    client: "Client",
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME", autocompletion=completion.images, help="The names of the images, those of the past, too."
        ),
    ],
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Remove images for good: their bytes, under every name and in every generation, and what is derived of them."""
    from whymatch.client.apps import documents

    found = sorted({*names, *copies(client, names)})
    what = f"the images {', '.join(found)}" if len(found) > 1 else f"the image {found[0]!r}"
    require_consent(f"Erase {what} of the gallery {client.gallery!r} for good, in every generation?", yes)
    erased = client.erase(names)
    note(f"erased {', '.join(erased)}")
    if json:
        documents.print_document({"erased": [*erased]})


def copies(client: "Client", names: Sequence[str]) -> Iterator[str]:
    """Yield the names of stored images with the same bytes as one of some images, which may be of the past."""
    from whymatch.client import NotFound

    for name in names:
        with suppress(NotFound):
            digest = client.get(name).content_sha256
            yield from (image.name for image in client.list(f'content_sha256 = "{digest}"'))


def key_values(words: Iterable[str]) -> "dict[str, MetadataValue]":
    """Return the metadata that `KEY=VALUE` words say; see `metadata_value`."""
    from whymatch.client.apps.metadata import metadata_value

    metadata: dict[str, MetadataValue] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not (key and equals):
            raise typer.BadParameter(f"--metadata {word!r}: write KEY=VALUE, for example camera=X100")
        if key in metadata:
            raise typer.BadParameter(f"--metadata gives {key!r} twice; keep one")
        metadata[key] = metadata_value(value)
    return metadata


def with_label(filter: str, label: str | None) -> str:
    """Return a filter that also wants a label, if there is one."""
    if label is None:
        return filter
    quoted = label.replace("\\", "\\\\").replace('"', '\\"')
    return f'label = "{quoted}"' + (f" AND ({filter})" if filter else "")


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
