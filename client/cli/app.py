"""The `whymatch` command: parse, call the client, print. Data goes to stdout, talk to stderr.

Slow packages are imported by the command that needs them, so that `whymatch --help` answers at once.
"""

import io
import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whymatch.client.cli import compare, explain, gallery, search, units
from whymatch.client.cli.connection import with_client
from whymatch.client.cli.options import Json, file_or_stdin, named_gallery, source
from whymatch.client.cli.rooms import require_server, run_room

if TYPE_CHECKING:
    from whymatch.client import Client

app = typer.Typer(
    name="whymatch",
    help="Image search that shows its reasons.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Run the command line. What the terminal's encoding lacks, in names for example, is printed as an escape."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # our own line says what went wrong, and what to do
    app()


def print_version(wanted: bool) -> None:
    """Print the version and exit, if `wanted`."""
    if wanted:
        from importlib.metadata import version

        print(f"whymatch {version('whymatch')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options of `whymatch` itself."""


passed_on = partial(
    app.command,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    add_help_option=False,
)
"""A command of another room, which reads its arguments itself."""


@passed_on()
def serve(context: typer.Context) -> None:
    """Run the server; `whymatch serve --help` lists its options."""
    run_room("serve", context.args)


@passed_on()
def train(context: typer.Context) -> None:
    """Train a network on your images; `whymatch train --help` lists the options."""
    run_room("train", context.args)


@passed_on()
def evaluate(context: typer.Context) -> None:
    """Measure how well models find images of the same label; `whymatch evaluate --help` lists the options."""
    run_room("evaluate", context.args)


@passed_on()
def study(context: typer.Context) -> None:
    """Repeat the experiments of a paper on your images; `whymatch study --help` lists them."""
    run_room("study", context.args)


passed_on("benchmark", hidden=True)(study)  # its name before 0.1.0


@app.command()
@with_client
def add(
    client: "Client",
    paths: Annotated[list[Path], typer.Argument(exists=True, metavar="PATH", help="Images, and folders of them.")],
    label: Annotated[str, typer.Option(metavar="LABEL", help="The label of all these images.")] = "",
    labels_from_folders: Annotated[
        bool, typer.Option("--labels-from-folders", help="Label each image with the name of its folder.")
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
    try:
        images = find_images(paths, label=label, labels_from_folders=labels_from_folders, left_out=left_out)
    except UnusablePaths as error:
        raise typer.BadParameter(str(error)) from None
    adding.ensure_gallery(client)
    summary = adding.Summary(client.gallery)
    summary.leave_out(left_out)
    for line in left_out.lines():
        print(line, file=sys.stderr)
    try:
        adding.add_images(client, images, summary)
    except (WhymatchError, KeyboardInterrupt):
        print(
            "stopped early; images added so far are stored, and the same command continues from here", file=sys.stderr
        )
        raise
    finally:
        if json:
            documents.print_document(summary.document())
        else:
            print(summary.text())
    if summary.failures:
        raise typer.Exit(1)


app.command()(search.search)
app.command()(search.rerank)


@app.command()
@with_client
def embed(
    client: "Client",
    context: typer.Context,
    file: Annotated[
        Path | None,
        typer.Argument(callback=file_or_stdin, metavar="FILE", help="The image; - reads it from stdin."),
    ] = None,
    image: Annotated[str | None, typer.Option(metavar="NAME", help="Embed a stored image.")] = None,
    feature_map: Annotated[
        bool, typer.Option("--feature-map", help="Also return the feature map (requires --json).")
    ] = False,
    json: Json = False,
) -> None:
    """Run the server's model on an image.

    With --gallery the embedding goes through that gallery's head. Without it, a stored image goes through the head of
    its own gallery, and a file through none.
    """
    from whymatch.client.apps import documents

    if (file is None) == (image is None):
        raise typer.BadParameter("give one image: a file or --image NAME")
    if feature_map and not json:
        raise typer.BadParameter("--feature-map requires --json, which prints it")
    result = client.embed(source(file, image), with_feature_map=feature_map, gallery=named_gallery(context))
    if json:
        documents.print_document(documents.embedding(str(file or image), result))
    else:
        print(f"{len(result.embedding)} values of the model {result.model}; --json prints them")


@app.command()
@with_client
def layers(client: "Client", json: Json = False) -> None:
    """List the layers of the server's network, from the image upward.

    `explain interactive` accepts all of them, `units` those with rows and columns.
    """
    from whymatch.client.apps import documents

    model = client.model()
    if json:
        documents.print_document(documents.layers(model))
        return
    for layer in model.layers:
        words = [f"{layer.channels} channels", *layer.aliases, *([] if layer.has_units else ["(no rows and columns)"])]
        print(f"{layer.name}\t{words[0]}\t{' '.join(words[1:])}")
    if not model.layers:
        print(f"{model.backbone} has no layers with a ReLU", file=sys.stderr)


@app.command("list")
@with_client
def list_images(client: "Client", json: Json = False) -> None:
    """List the images of a gallery."""
    from whymatch.client.apps import documents

    if json:
        documents.print_document({"images": [documents.image(image) for image in client.list()]})
        return
    for image in client.list():
        print(f"{image.name}\t{image.label}\t{image.width_px} x {image.height_px}\t{image.size_bytes} bytes")


@app.command()
@with_client
def show(
    client: "Client",
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name of the image.")],
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


@app.command()
@with_client
def delete(
    client: "Client",
    names: Annotated[list[str], typer.Argument(metavar="NAME", help="The names of the images.")],
) -> None:
    """Delete images."""
    for name in names:
        client.delete(name)
        print(f"deleted {name}", file=sys.stderr)


@app.command()
def demo(
    output: Annotated[Path, typer.Option(file_okay=False, metavar="DIR", help="Where to write the report.")] = Path(
        "demo-output"
    ),
    keep: Annotated[bool, typer.Option("--keep", help="Also keep the gallery's data and the queries in DIR.")] = False,
    samples: Annotated[
        Path | None,
        typer.Option(
            file_okay=False, metavar="DIR", help="Only write some of the photographs to DIR, to try the commands on."
        ),
    ] = None,
) -> None:
    """Try everything on real photographs that are already on this machine, and write a report."""
    require_server()
    from whymatch.client import WhymatchError
    from whymatch.client.apps.demo.run import DemoFailed, run, write_samples
    from whymatch.client.apps.local_server import ServerNotStarted

    try:
        if samples:
            write_samples(samples)
        else:
            run(output, keep=keep)
    except (DemoFailed, ServerNotStarted, WhymatchError) as error:
        print(f"whymatch: {error}", file=sys.stderr)
        raise typer.Exit(1) from None


app.command()(compare.compare)
app.add_typer(explain.app, name="explain")
app.add_typer(gallery.app, name="gallery")
app.add_typer(units.app, name="units")
