"""The commands `gallery create`, `list`, `show`, `head`, `history`, `tag`, `untag`, `purge` and `delete`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from whymatch.client.apps.talk import note
from whymatch.client.cli import completion
from whymatch.client.cli.connection import with_client
from whymatch.client.cli.groups import Group
from whymatch.client.cli.options import Json, Yes, require_consent, whole_number

if TYPE_CHECKING:
    import numpy as np

    from whymatch.client import Client, Gallery, Head

app = typer.Typer(
    cls=Group, help="Create, show and delete galleries, set their heads, and keep their past.", no_args_is_help=True
)

Name = Annotated[
    str, typer.Argument(metavar="NAME", autocompletion=completion.galleries, help="The name of the gallery.")
]

Tag = Annotated[
    str,
    typer.Argument(metavar="TAG", help="Up to 63 small letters, digits, - and _; not digits alone."),
]


@app.command("create")
@with_client
def create_gallery(
    client: "Client",
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name of the new gallery.")],
    index: Annotated[
        str, typer.Option(metavar="FACTORY", help="A FAISS factory string; auto is exact while exact is fast.")
    ] = "auto",
    omit_feature_maps: Annotated[
        bool, typer.Option("--omit-feature-maps", help="Save disk space; each map then embeds the stored image again.")
    ] = False,
    json: Json = False,
) -> None:
    """Create an empty gallery."""
    print_gallery(client.create_gallery(name, index_factory=index, omit_feature_maps=omit_feature_maps), json)


@app.command("list")
@with_client
def list_galleries(client: "Client", json: Json = False) -> None:
    """List the galleries of the server."""
    from whymatch.client.apps import documents

    if json:
        documents.print_document({"galleries": [documents.gallery(gallery) for gallery in client.galleries()]})
        return
    for gallery in client.galleries():
        kind = gallery.head.kind if gallery.head else "none"
        print(f"{gallery.name}\t{gallery.image_count} images\tmodel {gallery.model}\thead {kind}")


@app.command("show")
@with_client
def show_gallery(client: "Client", name: Name, json: Json = False) -> None:
    """Show the model, the index, the size and the head of a gallery."""
    print_gallery(client.get_gallery(name), json)


@app.command("head")
@with_client
def set_head(
    client: "Client",
    name: Name,
    kind: Annotated[
        Literal["none", "centering", "whitening", "linear"],
        typer.Argument(
            metavar="KIND",
            help="centering removes the mean of the gallery; whitening also rotates to its principal directions and "
            "scales each to the same variance; linear is a layer learned elsewhere.",
        ),
    ],
    dimensions: Annotated[
        int | None,
        typer.Option(
            min=1,
            callback=whole_number(32),
            metavar="N",
            help="How many directions whitening keeps.",
            show_default="the server chooses",
        ),
    ] = None,
    layer: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            metavar="FILE",
            help="The layer of linear: an .npz file with weight (a row for each dimension, a column for each channel) "
            "and optionally bias; or an .npy file with the weight alone.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Set the linear head between the model and a gallery's embeddings, which are computed anew from the store.

    Searches use the old embeddings until it is done, and keep them if it fails.
    """
    from whymatch.client.apps.progress import progress_bar

    if dimensions is not None and kind != "whitening":
        raise typer.BadParameter(f"--dimensions belongs to whitening; leave it out for {kind}")
    if (layer is not None) != (kind == "linear"):
        excess = f"--layer belongs to linear; leave it out for {kind}"
        raise typer.BadParameter(excess if layer else "linear requires its layer: --layer FILE")
    weight, bias = read_layer(layer) if layer else (None, None)
    with progress_bar(None, f"head {kind}") as progress:
        gallery = client.set_head(
            kind, dimensions=dimensions, weight=weight, bias=bias, progress=progress.reach, gallery=name
        )
    print_gallery(gallery, json)


@app.command("history")
@with_client
def list_generations(client: "Client", name: Name, json: Json = False) -> None:
    """List the generations of a gallery that can be asked for, newest first, with their tags."""
    from whymatch.client.apps import documents

    generations = client.generations(gallery=name)
    if json:
        documents.print_document({"generations": [one.to_dict() for one in generations]})
        return
    for one in generations:
        print(f"{one.number}\t{one.change}\t{one.create_time.isoformat()}\t{' '.join(one.tags)}")


@app.command("tag")
@with_client
def tag_generation(
    client: "Client",
    name: Name,
    tag: Tag,
    generation: Annotated[
        int | None,
        typer.Option(
            min=1, callback=whole_number(64), metavar="N", help="Which generation.", show_default="the newest"
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Give a generation of a gallery a name, which keeps it from being purged."""
    from whymatch.client.apps import documents

    tagged = client.tag(tag, generation=generation, gallery=name)
    note(f"generation {tagged.number} of the gallery {name} has the tag {tag}")
    if json:
        documents.print_document(tagged.to_dict())


@app.command("untag")
@with_client
def remove_tag(client: "Client", name: Name, tag: Tag, json: Json = False) -> None:
    """Take a tag off its generation."""
    from whymatch.client.apps import documents

    client.remove_tag(tag, gallery=name)
    note(f"the gallery {name} has no tag {tag} any more")
    if json:
        documents.print_document({"untagged": tag})


@app.command("purge")
@with_client
def purge(
    client: "Client",
    name: Name,
    before: Annotated[
        int,
        typer.Option(min=1, callback=whole_number(64), metavar="N", help="The first generation to keep."),
    ],
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Forget the generations of a gallery before one, and all that only they have."""
    from whymatch.client.apps import documents

    oldest = client.get_gallery(name).oldest_generation
    require_consent(f"Forget the generations {oldest} to {before - 1} of the gallery {name!r}?", yes)
    purged = client.purge(before, gallery=name)
    note(f"the gallery {name} now begins at generation {purged.gallery.oldest_generation}")
    if json:
        document = documents.gallery(purged.gallery) | {"removed_file_count": purged.removed_file_count}
        documents.print_document(document)


@app.command("delete")
@with_client
def delete_gallery(client: "Client", name: Name, yes: Yes = False, json: Json = False) -> None:
    """Delete a gallery and everything in it."""
    from whymatch.client.apps import documents

    count = client.get_gallery(name).image_count
    require_consent(f"Delete the gallery {name!r} and its {count} images?", yes)
    client.delete_gallery(name)
    note(f"deleted the gallery {name}")
    if json:
        documents.print_document({"deleted": [name]})


def print_gallery(gallery: "Gallery", json: bool) -> None:
    """Print the facts of a gallery, as JSON or as a line for each."""
    from whymatch.client.apps import documents

    document = documents.gallery(gallery)
    documents.print_facts(document if json else {**document, "head": described(gallery.head)}, json)


def described(head: "Head | None") -> str:
    """Describe a gallery's head in one line."""
    if head is None:
        return "none"
    fitted = f", fitted to {head.image_count} images" if head.image_count else ""
    return f"{head.kind}, {head.dimensions} dimensions, version {head.version}{fitted}, {head.create_time.isoformat()}"


def read_layer(file: Path) -> "tuple[np.ndarray, np.ndarray]":
    """Return weight and bias of an `.npz` file, or of an `.npy` file the weight and zeros."""
    from whymatch.client.inputs import head_layer

    arrays = read_arrays(file)
    if not {"weight"} <= set(arrays) <= {"weight", "bias"}:
        names = ", ".join(sorted(arrays)[:5]) or "nothing"
        raise typer.BadParameter(f"{str(file)!r} holds {names}; a layer is weight and optionally bias")
    try:
        return head_layer(arrays["weight"], arrays.get("bias"))
    except ValueError as error:
        raise typer.BadParameter(f"{str(file)!r}: {error}") from None


def read_arrays(file: Path) -> "dict[str, np.ndarray]":
    """Return the arrays of an `.npz` file by name, or the one of an `.npy` file as `weight`."""
    import zipfile
    import zlib

    import numpy as np

    try:
        with file.open("rb") as opened:
            loaded = np.load(opened, allow_pickle=False)
            return {"weight": loaded} if isinstance(loaded, np.ndarray) else dict(loaded)
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error):
        raise typer.BadParameter(
            f"{str(file)!r} cannot be read as an .npz or .npy file of numbers; write it with numpy.savez or numpy.save"
        ) from None
