"""The commands `units show`, `labels`, `filters`, `colors`, `receptive-field`, `segment` and `minimal-image`."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from whymatch.client.apps.progress import unit_bar
from whymatch.client.apps.talk import note
from whymatch.client.cli import unit_report
from whymatch.client.cli.connection import connect_to, with_client
from whymatch.client.cli.groups import Group
from whymatch.client.cli.options import Json, OneImage, content_of, either_source, whole_number
from whymatch.client.cli.unit_options import axis_setting, color_thresholds, selectivity_setting, with_settings

if TYPE_CHECKING:
    from PIL.Image import Image

    from whymatch.client import AxisSetting, Client, ColorThresholds, SelectivitySetting
    from whymatch.client.apps.unit_labels import NetworkLabels

CLASSES = 5
"""How many classes come with detectors."""
app = typer.Typer(
    cls=Group, help="Show what the network's units, the channels of its layers, respond to.", no_args_is_help=True
)


def share_of_maximum(value: float | None) -> float | None:
    """Require a share: above 0 and at most 1; NaN passes every `min`."""
    if value is not None and not 0 < value <= 1:
        raise typer.BadParameter(f"{value:g}; take more than 0 and at most 1")
    return value


def below_one(value: float | None) -> float | None:
    """Require 0 or more and less than 1; NaN passes every `min`."""
    if value is not None and not 0 <= value < 1:
        raise typer.BadParameter(f"{value:g}; take 0 or more and less than 1")
    return value


Layer = Annotated[str, typer.Argument(metavar="LAYER", help="A layer by name; `whymatch layers` lists them.")]
Unit = Annotated[int, typer.Argument(min=0, metavar="UNIT", help="A channel of the layer, from 0.")]
SomeUnits = Annotated[
    list[int] | None,
    typer.Argument(min=0, metavar="UNIT", help="Channels of the layer, from 0; all if none are given."),
]
Pictures = Annotated[Path | None, typer.Option(file_okay=False, metavar="DIR", help="Write pictures into this folder.")]
LabelsOf = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=1000,
        metavar="N",
        help="How many top images of a unit to count labels over.",
        show_default="60, or as many as the most frequent label has",
    ),
]
Seed = Annotated[
    int | None,
    typer.Option(
        min=0, callback=whole_number(33), metavar="N", help="Another seed draws other values.", show_default="0"
    ),
]


@app.command("show")
@with_client
def show(
    client: "Client",
    layer: Layer,
    unit: Unit,
    top: Annotated[
        int | None,
        typer.Option(
            min=1, max=100, metavar="N", help="How many top images.", show_default="9, or as many as there are"
        ),
    ] = None,
    labels_of: LabelsOf = None,
    quantile: Annotated[
        float | None,
        typer.Option(
            callback=below_one,
            metavar="SHARE",
            help="Segments begin at this quantile of the unit's responses over all cells of the gallery's images.",
            show_default="0.995",
        ),
    ] = None,
    pictures: Pictures = None,
    json: Json = False,
) -> None:
    """Show what a unit responds to: top images, labels, colors, decoded filter, theoretical receptive field.

    The first call reads all images of the gallery, later calls only new ones. --pictures writes a card, with the top
    images segmented by the unit.
    """
    from whymatch.client.apps import documents
    from whymatch.client.apps.unit_cards import fetch_cards

    with unit_bar(layer) as progress:
        [card] = fetch_cards(
            client,
            layer,
            [unit],
            top_count=top,
            label_image_count=labels_of,
            segment_quantile=quantile,
            progress=progress,
        )
    file = None
    if pictures:
        from whymatch.client.draw.folder import clear_pictures
        from whymatch.client.draw.units import write_cards

        clear_pictures(pictures)
        [file] = write_cards([card], pictures)
    if json:
        documents.print_document(documents.card(card, file) | documents.origin(card.unit.provenance))
        return
    print("\n".join(card.lines()))
    if file:
        print(file)


@app.command("labels")
@with_client
def labels(
    client: "Client",
    context: typer.Context,
    layer: Layer,
    top: LabelsOf = None,
    precision: Annotated[
        float,
        typer.Option(
            callback=share_of_maximum,
            metavar="SHARE",
            help="A unit detects a label if at least this share of them have it.",
        ),
    ] = 0.5,
    also: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST:PORT[=LAYER]",
            help="Also ask this server, which runs another network; it requires a gallery of the same name. May be "
            "given repeatedly.",
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(dir_okay=False, metavar="FILE", help="Draw the number of units that detect each label as bars."),
    ] = None,
    json: Json = False,
) -> None:
    """List the labels that units of a layer detect, with the units; several networks stand side by side."""
    from whymatch.client.apps import documents
    from whymatch.client.apps.unit_labels import side_by_side

    networks = [labels_of_layer(client, layer, top, precision)]
    for other in also or ():
        address, _, other_layer = other.partition("=")
        with connect_to(address, context) as other_client:
            networks.append(labels_of_layer(other_client, other_layer or layer, top, precision))
    if plot:
        from whymatch.client.draw.detector_bars import detector_bars
        from whymatch.client.draw.saving import save_png

        counts = [{label: len(units) for label, units in one.detectors.items()} for one in networks]
        words = [one.text() for one in networks]
        save_png(detector_bars([*zip(words, counts, strict=True)]), plot, None)
        note(plot)
    if json:
        documents.print_document(documents.labels(networks, precision) | documents.origin(None))
        return
    print("\t".join(["label", *(f"{one.network} {one.layer}" for one in networks)]))
    for line in side_by_side(networks):
        print(line)
    for one in networks:
        print(one.text())


@app.command("filters")
@with_client
@with_settings(thresholds=color_thresholds)
def filters(
    client: "Client",
    layer: Layer,
    thresholds: "ColorThresholds",
    units: SomeUnits = None,
    values: Annotated[bool, typer.Option("--values", help="Also return the numbers (requires --json).")] = False,
    pictures: Pictures = None,
    json: Json = False,
) -> None:
    """Decode the filters of units: the pattern in image space that each looks for, and the class of its colors."""
    from whymatch.client.apps import documents
    from whymatch.client.draw.unit_words import filter_words

    if values and not json:
        raise typer.BadParameter("--values requires --json, which prints them")
    with unit_bar(layer) as progress:
        found = list(
            client.units.filters(layer, units or [], with_values=values, thresholds=thresholds, progress=progress)
        )
    files: list[Path | None] = [None] * len(found)
    if pictures:
        from whymatch.client.draw.units import write_filters

        files = [*write_filters(found, pictures)]
        note(pictures / "sheet.png")
    if json:
        rows = [documents.decoded_filter(one, file) for one, file in zip(found, files, strict=True)]
        origin = found[0].provenance if found else None
        documents.print_document({"layer": layer, "filters": rows} | documents.origin(origin))
        return
    for one in found:
        print(f"{one.channel}\t{filter_words(one)}")
    print(f"{len(found)} filters of {found[0].width_px} x {found[0].height_px} px")


@app.command("colors")
@with_client
@with_settings(thresholds=color_thresholds, axis=axis_setting, patches=selectivity_setting)
def colors(
    client: "Client",
    layers: Annotated[list[str], typer.Argument(metavar="LAYER", help="Layers by name; `whymatch layers` lists them.")],
    thresholds: "ColorThresholds",
    axis: "AxisSetting",
    patches: "SelectivitySetting",
    axes: Annotated[bool, typer.Option("--axes/--no-axes", help="Decode all filters, and look for color axes.")] = True,
    selectivity: Annotated[
        bool, typer.Option("--selectivity/--no-selectivity", help="Measure the selectivity of all units.")
    ] = True,
    top: Annotated[
        int | None,
        typer.Option(min=1, max=100, metavar="N", help="How many top images of a unit to measure.", show_default="9"),
    ] = None,
    seed: Seed = None,
    pictures: Pictures = None,
    json: Json = False,
) -> None:
    """Show the colors of layers: classes of their filters, color axes, and the selectivity of their units."""
    from whymatch.client.apps import documents
    from whymatch.client.draw.unit_words import color_lines

    if not (axes or selectivity):
        raise typer.BadParameter("--no-axes and --no-selectivity leave nothing to measure")
    found = []
    for layer in layers:
        with unit_bar(layer) as progress:
            found.append(
                client.units.layer_colors(
                    layer,
                    with_axes=axes,
                    with_selectivity=selectivity,
                    top_count=top,
                    thresholds=thresholds,
                    axes=replace(axis, seed=seed),
                    selectivity=replace(patches, seed=seed),
                    progress=progress,
                )
            )
    if pictures:
        from whymatch.client.apps.unit_classes import write_class_sheets
        from whymatch.client.draw.unit_plots import write_plots

        for file in [*write_plots(found, pictures), *write_class_sheets(client, found, pictures)]:
            note(file)
    if json:
        rows = [documents.layer_colors(one) for one in found]
        documents.print_document({"layers": rows} | documents.origin(found[0].provenance))
        return
    for one in found:
        print("\n".join(color_lines(one)))


@app.command("receptive-field")
@with_client
def receptive_field(
    client: "Client",
    layer: Layer,
    unit: Unit,
    images: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=100,
            metavar="K",
            help="How many top images of the unit to occlude.",
            show_default="10, or as many as there are",
        ),
    ] = None,
    side_px: Annotated[
        int | None,
        typer.Option("--occluder", min=1, max=64, metavar="PX", help="Side of an occluder.", show_default="11"),
    ] = None,
    stride_px: Annotated[
        int | None,
        typer.Option(
            "--stride", min=1, max=64, metavar="PX", help="Pixels from one occluder to the next.", show_default="3"
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            callback=below_one,
            metavar="SHARE",
            help="The field is above this share of the largest change.",
            show_default="0.5",
        ),
    ] = None,
    seed: Seed = None,
    pictures: Pictures = None,
    json: Json = False,
) -> None:
    """Find the pixels that a unit responds to, by occluding parts of its top images with random values."""
    from whymatch.client import OccluderSetting
    from whymatch.client.apps import documents
    from whymatch.client.draw.units import field_lines, field_sheet, write_sheet

    occluder = OccluderSetting(side_px, stride_px, threshold, seed)
    with unit_bar(f"{layer}/{unit}") as progress:
        found = client.units.receptive_field(layer, unit, image_count=images, occluder=occluder, progress=progress)
    if pictures:
        note(write_sheet(field_sheet(found), pictures, found.provenance))
    if json:
        documents.print_document(documents.field(found) | documents.origin(found.provenance))
        return
    print("; ".join(field_lines(found)))


@app.command("segment")
@with_client
def segment(
    client: "Client",
    image: OneImage,
    layer: Layer,
    units: Annotated[
        list[int] | None,
        typer.Argument(
            min=0, metavar="UNIT", help="Channels of the layer, from 0; without any, those that respond most."
        ),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=100,
            metavar="N",
            help="Without units: how many to choose at most.",
            show_default="6, with --detectors 100",
        ),
    ] = None,
    detectors: Annotated[
        bool,
        typer.Option(
            "--detectors",
            help="Choose the units that detect a label and respond here; adds classes and, with --pictures, "
            "detectors.png, which names the labels.",
        ),
    ] = False,
    precision: Annotated[
        float,
        typer.Option(
            callback=share_of_maximum,
            metavar="SHARE",
            help="With --detectors: a unit detects a label if at least this share of its top images have it.",
        ),
    ] = 0.5,
    share: Annotated[
        float | None,
        typer.Option(
            callback=share_of_maximum,
            metavar="SHARE",
            help="Threshold of a segment: this share of the unit's largest response over the gallery.",
            show_default="0.5",
        ),
    ] = None,
    quantile: Annotated[
        float | None,
        typer.Option(
            callback=below_one,
            metavar="SHARE",
            help="Or this quantile of the unit's responses over all cells of the gallery's images: 0.995.",
        ),
    ] = None,
    limit: Annotated[
        int,
        typer.Option(min=0, callback=whole_number(32), metavar="N", help="Also return this many matches of the image."),
    ] = 0,
    pictures: Pictures = None,
    json: Json = False,
) -> None:
    """Segment an image by the responses of units: of those named, or of those that respond to it most.

    --detectors shows the objects in an image: where units respond that detect a label, and which.
    """
    from whymatch.client.apps import documents
    from whymatch.client.draw.units import segmentation_lines, write_segments

    if units and (detectors or count is not None):
        raise typer.BadParameter("--detectors and --count choose units; leave out those that are named")
    if share is not None and quantile is not None:
        raise typer.BadParameter("--share and --quantile exclude each other")
    with unit_bar(layer) as progress:
        found = client.units.segment(
            either_source(image),
            layer,
            units or [],
            unit_limit=count or (100 if detectors else None),
            detector_precision=precision if detectors else None,
            share=share,
            quantile=quantile,
            match_limit=limit,
            class_limit=CLASSES if detectors else 0,
            overlays=pictures is not None,
            progress=progress,
        )
    files: list[Path | None] = [None] * len(found.segments)
    if pictures:
        files = [*write_segments(found.segments, pictures, found.provenance)]
        note(pictures / ("detectors.png" if detectors else "sheet.png"))
    if pictures and detectors:
        from whymatch.client.draw.detectors import write_detectors

        write_detectors(picture_of(client, image), found, pictures)
    if json:
        documents.print_document(documents.segmentation(image, found, files) | documents.origin(found.provenance))
        return
    print("\n".join(segmentation_lines(found)))
    if not any(one.area_share for one in found.segments):
        note(
            "none of these units reaches its threshold in the image; leave them out for those that respond most, or "
            "ask for --detectors, the units that detect a label"
            if units
            else "no unit that detects a label responds to this image"
        )


@app.command("minimal-image")
@with_client
def minimal_image(
    client: "Client",
    image: OneImage,
    target: Annotated[
        str,
        typer.Option(
            metavar="match|class[:NAME]",
            help="The prediction that must hold: the best match of the image in the gallery, or its likeliest class.",
        ),
    ] = "match",
    segments: Annotated[
        int | None,
        typer.Option(
            min=2,
            max=200,
            metavar="N",
            help="About how many parts; the network runs about N * N / 2 times.",
            show_default="40",
        ),
    ] = None,
    segmentation: Annotated[
        Literal["slic", "felzenszwalb"],
        typer.Option(
            help="How to divide the image: into parts of about the same size, or along edges.",
        ),
    ] = "slic",
    fill: Annotated[
        Literal["gray", "blur"],
        typer.Option(
            help="What replaces a part: the mean color of the training images, or the image blurred.",
        ),
    ] = "gray",
    pictures: Pictures = None,
    json: Json = False,
) -> None:
    """Remove parts of an image, each time the one that costs least, as long as its prediction holds.

    --pictures writes each step, a sheet, and animation.gif.
    """
    from whymatch.client.apps import documents
    from whymatch.client.draw.units import write_minimal_image

    kind, _, name = target.partition(":")
    if kind not in ("match", "class") or (kind == "match" and name):
        raise typer.BadParameter(f"--target {target!r}: write match, class or class:NAME")
    with unit_bar(Path(image).name) as progress:
        steps = list(
            client.units.minimal_image(
                either_source(image),
                class_name=(name or "top1") if kind == "class" else None,
                segmentation=segmentation,
                segment_count=segments,
                fill=fill,
                overlays=pictures is not None,
                progress=progress,
            )
        )
    sheet = write_minimal_image(steps, pictures, of_class=kind == "class") if pictures else None
    if sheet:
        note(sheet)
    if json:
        document = documents.minimal_image(image, steps, sheet)
        documents.print_document(document | documents.origin(steps[-1].provenance))
        return
    for step in steps[:-1]:
        print(f"{step.segments_left} parts, {step.area_share:.1%} of the image: {step.value:.4f}")
    last = steps[-1]
    held = "the match" if kind == "match" else "the class"
    value = "similarity" if kind == "match" else "probability"
    print(
        f"minimal: {last.area_share:.1%} of the image is enough for {held} {last.prediction} ({value} {last.value:.4f})"
    )


app.command("report")(unit_report.report)


def picture_of(client: "Client", image: str) -> "Image":
    """Return the picture of a file, or of a stored image."""
    from whymatch.client.draw.decode import decode

    return decode(content_of(client, either_source(image)))


def labels_of_layer(client: "Client", layer: str, top: int | None, precision: float) -> "NetworkLabels":
    """Ask a server which labels the units of a layer prefer."""
    from whymatch.client.apps.unit_labels import NetworkLabels

    model = client.model()
    with unit_bar(f"{model.backbone} {layer}") as progress:
        units = list(client.units.describe(layer, top_count=1, label_image_count=top, progress=progress))
    contents = {image.content_sha256: image.label for image in reversed([*client.list()])}  # of equals the first
    counts = Counter(label for label in contents.values() if label)
    return NetworkLabels(model.backbone, layer, model.fingerprint, units, precision, counts)
