"""The `whymatch` command: parse, call the client, print. Data goes to stdout, talk to stderr.

Slow packages are imported by the command that needs them, so that `whymatch --help` answers at once.
"""

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whymatch.client.apps.talk import note
from whymatch.client.cli import completion, images
from whymatch.client.cli.compare import compare
from whymatch.client.cli.connection import with_client
from whymatch.client.cli.duplicates import duplicates
from whymatch.client.cli.explain import app as explain
from whymatch.client.cli.failures import EXIT_CODES, fail
from whymatch.client.cli.gallery import app as gallery
from whymatch.client.cli.groups import Group
from whymatch.client.cli.options import (
    Json,
    Quiet,
    file_or_stdin,
    named_gallery,
    source,
)
from whymatch.client.cli.origin import note_command
from whymatch.client.cli.rooms import require_server, run_room
from whymatch.client.cli.search import rerank, search
from whymatch.client.cli.units import app as units

if TYPE_CHECKING:
    from whymatch.client import Client

app = typer.Typer(
    name="whymatch",
    cls=Group,
    help="Image search that shows its reasons.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)
IMAGES, WHY, MODELS = "Images and galleries", "Search and reasons", "Server and models"
"""The panels of the help."""


def main() -> None:
    """Run the command line."""
    from whymatch.embed.pictures.printing import escape_unprintable

    escape_unprintable()
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # our own line says what went wrong, and what to do
    app()


def print_version(wanted: bool) -> None:
    """Print the version and exit, if `wanted`."""
    if wanted:
        from whymatch.client import __version__

        print(f"whymatch {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options of `whymatch` itself."""


on_images = partial(app.command, rich_help_panel=IMAGES)
on_images()(images.add)
on_images()(images.update)
on_images("list")(images.list_images)
on_images()(images.labels)
on_images()(images.show)
on_images()(images.content)
on_images()(images.delete)
on_images()(images.erase)
app.add_typer(gallery, name="gallery", rich_help_panel=IMAGES)

app.command(rich_help_panel=WHY)(search)
app.command(rich_help_panel=WHY)(rerank)
app.command(rich_help_panel=WHY)(duplicates)
app.add_typer(explain, name="explain", rich_help_panel=WHY)
app.add_typer(units, name="units", rich_help_panel=WHY)


@app.command(rich_help_panel=WHY)
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
        note(f"{model.backbone} has no layers with a ReLU")


@app.command(rich_help_panel=WHY)
@with_client
def embed(
    client: "Client",
    context: typer.Context,
    file: Annotated[
        Path | None,
        typer.Argument(callback=file_or_stdin, metavar="FILE", help="The image; - reads it from stdin."),
    ] = None,
    image: Annotated[
        str | None, typer.Option(metavar="NAME", autocompletion=completion.images, help="Embed a stored image.")
    ] = None,
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
        found = documents.embedding(str(file or image), result)
        documents.print_document(found | documents.origin(result.provenance))
    else:
        print(f"{len(result.embedding)} values of the model {result.model}; --json prints them")


@app.command(rich_help_panel=MODELS)
@with_client
def info(client: "Client", json: Json = False) -> None:
    """Show what a server is: versions, model, limits, free disk and number of galleries."""
    from whymatch.client.apps import documents

    document = documents.info(client.server_info())
    if not json:
        for part in ("model", "limits", "disk"):
            document |= document.pop(part)
    documents.print_facts(document, json)


@app.command(rich_help_panel=MODELS)
def demo(
    context: typer.Context,
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
    quiet: Quiet = False,
) -> None:
    """Try everything on real photographs that are already on this machine, and write a report."""
    require_server()
    note_command(context)
    from whymatch.client import WhymatchError
    from whymatch.client.apps.demo.run import DemoFailed, run, write_samples
    from whymatch.client.apps.local_server import ServerNotStarted

    try:
        if samples:
            write_samples(samples)
        else:
            run(output, keep=keep)
    except (DemoFailed, ServerNotStarted, WhymatchError) as error:
        raise fail(error) from None


passed_on = partial(
    app.command,
    rich_help_panel=MODELS,
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
app.command(rich_help_panel=MODELS)(compare)
