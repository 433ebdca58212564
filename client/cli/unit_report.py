"""The command `units report`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whymatch.client.apps.progress import unit_bars
from whymatch.client.apps.talk import note
from whymatch.client.cli.connection import with_client

if TYPE_CHECKING:
    from whymatch.client import Client


@with_client
def report(
    client: "Client",
    folder: Annotated[Path, typer.Argument(file_okay=False, metavar="DIR", help="Where to write the report.")],
    layers: Annotated[
        list[str] | None,
        typer.Option(
            "--layer",
            metavar="LAYER",
            help="A layer to look at; may be given repeatedly.",
            show_default="five, evenly up to the pooled one",
        ),
    ] = None,
    units: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="How many units of each layer to look at, evenly.", show_default="all"),
    ] = None,
    fields: Annotated[
        int, typer.Option(min=0, max=100, metavar="N", help="How many of these units to find the receptive field of.")
    ] = 3,
    field_images: Annotated[
        int, typer.Option(min=1, max=100, metavar="K", help="How many of their top images to occlude.")
    ] = 5,
    labels_of: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1000,
            metavar="N",
            help="How many top images of a unit to count labels over.",
            show_default="60, or as many as the most frequent label has",
        ),
    ] = None,
) -> None:
    """Write an audit of the network as pages to browse: layers, colors, detectors, a card of each unit.

    A layer takes minutes, a layer of a large network an hour. A stopped run continues where it was; only the color axes
    and the selectivity of the current layer start again.
    """
    from whymatch.client.apps.audit.report import ReportMismatch, ReportSetting, choose_layers, write_report

    chosen = choose_layers(client, layers or ())
    with unit_bars() as call:
        try:
            page = write_report(client, folder, chosen, ReportSetting(units, fields, field_images, labels_of), call)
        except ReportMismatch as error:
            raise typer.BadParameter(str(error)) from None
        except KeyboardInterrupt:
            note("stopped early; the same command continues from here")
            raise
    print(page)
