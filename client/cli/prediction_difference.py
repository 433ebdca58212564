"""The command `explain prediction-difference`."""

import functools
import itertools
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer

from whymatch.client.apps.talk import note
from whymatch.client.cli import completion
from whymatch.client.cli.connection import MAX_TIMEOUT_S, connect_to, with_client
from whymatch.client.cli.options import Json, Maps, either_source, whole_number
from whymatch.client.cli.origin import say_who_answered

if TYPE_CHECKING:
    from whymatch.client import Client, DifferenceMap
    from whymatch.client.apps.difference_runs import PlannedRun
    from whymatch.client.draw.runs import DifferenceRun
    from whymatch.client.inputs import SamplerKind
    from whymatch.client.targets import PredictionTarget

MAX_WINDOW_PX = 32
MAX_TARGETS = 32
ASKED = (
    "images",
    "targets",
    "windows",
    "context_px",
    "samples",
    "stride_px",
    "samplers",
    "seed",
    "max_standard_error",
    "batch_size",
    "training_images",
    "refit",
    "sensitivity",
    "layer",
    "also",
)
"""The parameters that define an explanation, which --resume excludes."""


def above_zero(value: float | None) -> float | None:
    """Require a bound above 0; NaN passes every `min`."""
    if value is not None and not 0 < value <= MAX_TIMEOUT_S:
        raise typer.BadParameter(f"{value:g}; take more than 0 and at most {MAX_TIMEOUT_S:g}")
    return value


def known(samplers: list[str] | None) -> list[str] | None:
    """Require samplers that exist."""
    from whymatch.client.inputs import SamplerKind

    for sampler in samplers or ():
        if sampler not in get_args(SamplerKind):
            raise typer.BadParameter(f"{sampler!r}; take {', '.join(get_args(SamplerKind))}")
    return samplers


def above_zero_to_one(value: float | None) -> float | None:
    """Require a share."""
    if value is not None and not 0 < value <= 1:
        raise typer.BadParameter(f"{value:g}; take more than 0 and at most 1")
    return value


def png(file: Path | None) -> Path | None:
    """Require the name of a PNG file."""
    if file and file.suffix.lower() != ".png":
        raise typer.BadParameter(f"{str(file)!r}: write the name of a PNG file, for example live.png")
    return file


@with_client
def explain_prediction_difference(
    client: "Client",
    context: typer.Context,
    images: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="IMAGE",
            autocompletion=completion.sources,
            help="Files, or image:NAME for stored images.",
            show_default=False,
        ),
    ] = None,
    targets: Annotated[
        list[str] | None,
        typer.Option(
            "--target",
            metavar="TARGET",
            help="What to explain; may be given repeatedly: class:NAME, a class's probability; score:NAME, its score "
            "before softmax; unit:LAYER/CHANNEL, a feature map, unit:LAYER/FIRST-LAST, several, or "
            "unit:LAYER/CHANNEL@ROW,COLUMN, one unit of it; "
            "similarity:IMAGE; evidence:LABEL or evidence-image:NAME, its probability among the neighbors. The NAME of "
            "a class may be top1, top2 and so on.",
            show_default=False,
        ),
    ] = None,
    windows: Annotated[
        list[int] | None,
        typer.Option(
            "--window",
            min=1,
            max=MAX_WINDOW_PX,
            metavar="PX",
            help="k: windows of k x k pixels of the network's input are replaced in turn; may be given repeatedly.",
            show_default="10",
        ),
    ] = None,
    context_px: Annotated[
        int | None,
        typer.Option(
            "--context",
            min=1,
            max=MAX_WINDOW_PX,
            metavar="PX",
            help="l: a window is predicted from the rest of the l x l pixels around it.",
            show_default="window + 4",
        ),
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(min=1, max=1000, metavar="N", help="S: how many samples replace each window.", show_default="20"),
    ] = None,
    stride_px: Annotated[
        int | None,
        typer.Option(
            "--stride",
            min=1,
            max=MAX_WINDOW_PX,
            metavar="PX",
            help="Pixels from one window to the next, at most k.",
            show_default="4",
        ),
    ] = None,
    samplers: Annotated[
        list[str] | None,
        typer.Option(
            "--sampler",
            metavar="conditional|marginal|mean",
            callback=known,
            help="What replaces a window: samples of a normal distribution of the gallery's patches, given the pixels "
            "around it; windows of other images at the same place; or the conditional mean, for a preview. May be "
            "given repeatedly.",
            show_default="conditional",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0,
            callback=whole_number(64),
            metavar="N",
            help="Another seed draws other samples.",
            show_default="0",
        ),
    ] = None,
    max_standard_error: Annotated[
        float | None,
        typer.Option(callback=above_zero, metavar="ERROR", help="Stop as soon as no pixel's standard error is larger."),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            min=1, max=1000, metavar="N", help="Altered images in one batch.", show_default="the server chooses"
        ),
    ] = None,
    training_images: Annotated[
        int | None,
        typer.Option(
            min=1,
            callback=whole_number(54),
            metavar="N",
            help="How many images the classifier was trained on.",
            show_default="ImageNet",
        ),
    ] = None,
    refit: Annotated[bool, typer.Option("--refit", help="Fit the distribution of patches anew.")] = False,
    sensitivity: Annotated[
        bool, typer.Option("--sensitivity", help="Also return the sensitivity map, the size of the gradient.")
    ] = False,
    layer: Annotated[
        str | None,
        typer.Option(
            metavar="LAYER",
            help="Replace the cells of this layer, not the pixels of the image. Window, context and stride are then in "
            "cells: 1, window + 2 and 1, unless given. Every target must depend on the layer.",
        ),
    ] = None,
    maps: Maps = None,
    share: Annotated[
        float,
        typer.Option(callback=above_zero_to_one, metavar="SHARE", help="How much of a map the sheet's mask shows."),
    ] = 0.05,
    by_target: Annotated[
        bool, typer.Option("--by-target", help="Order the sheet by target, not by image: a feature map over images.")
    ] = False,
    live: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False, callback=png, metavar="FILE.png", help="Draw each partial map into this file while it runs."
        ),
    ] = None,
    deadline_s: Annotated[
        float | None,
        typer.Option(
            "--deadline",
            callback=above_zero,
            metavar="SECONDS",
            help="Time limit of each combination of image, window and sampler.",
            show_default="no limit",
        ),
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Continue a stopped explanation, with its own settings."),
    ] = None,
    also: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Also ask this server, which runs another network; it requires a gallery of the same name. May be "
            "given repeatedly.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Show what each part of an image contributes to a prediction, by replacing the part with samples.

    All combinations of images, windows, samplers and servers are computed, each in a call of its own with all targets.
    A call that is stopped prints and draws its partial maps, and --resume continues it.
    """
    from whymatch.client.apps.difference_runs import follow
    from whymatch.client.draw.differences import write_live

    require_what_to_do(context, images, targets, resume)
    options: dict[str, Any] = {"overlays": maps is not None or live is not None, "deadline_s": deadline_s}
    clients = {"": client}
    if resume is not None:
        calls = [resumed(client, resume, options)]
    else:
        options |= {
            "sample_count": samples,
            "stride_px": stride_px,
            "seed": seed,
            "max_standard_error": max_standard_error,
            "batch_size": batch_size,
            "training_image_count": training_images,
            "with_sensitivity": sensitivity,
            "layer": layer,
        }
        named = [target for word in targets or () for target in read(word)]
        kinds = cast("list[SamplerKind | None]", samplers or [None])
        sizes_px: list[int | None] = [*windows] if windows else [None]
        settings = list(itertools.product(kinds, sizes_px))
        if also:
            clients = by_network([client, *(connect_to(address, context) for address in also)])
        calls = planned(clients, images or [], named, settings, context_px, refit, options)
    runs: list[DifferenceRun] = []
    draw = functools.partial(write_live, file=live, share=share) if live else None
    try:
        for call in calls:
            follow(call, runs, draw)
    finally:
        for run in {run.network: run for run in runs}.values():
            say_who_answered(clients[run.network], run.explanation.provenance)
        if runs:
            show(runs, maps, json, several=len(calls) > 1, share=share, by_target=by_target)


def require_what_to_do(
    context: typer.Context, images: list[str] | None, targets: list[str] | None, resume: str | None
) -> None:
    """Require images and targets, or --resume without them."""
    if resume is None and not (images and targets):
        raise typer.BadParameter("give at least one IMAGE and one --target, or --resume NAME")
    sources = {name: context.get_parameter_source(name) for name in ASKED}
    if resume is not None and any(source and source.name == "COMMANDLINE" for source in sources.values()):
        raise typer.BadParameter(
            "--resume keeps the settings of the explanation; leave out images, targets and their settings"
        )


def read(word: str) -> "list[PredictionTarget]":
    """Parse the value of --target; unit:LAYER/FIRST-LAST names several."""
    from whymatch.client import read_target

    units = re.fullmatch(r"(unit:.+/)([0-9]{1,9})-([0-9]{1,9})", word)
    words = [word]
    if units:
        first, last = int(units[2]), int(units[3])
        if not first <= last < first + MAX_TARGETS:
            raise typer.BadParameter(f"--target {word!r}: give 1 to {MAX_TARGETS} channels, the first one first")
        words = [f"{units[1]}{channel}" for channel in range(first, last + 1)]
    try:
        return [read_target(each) for each in words]
    except ValueError as error:
        raise typer.BadParameter(f"--target {error}") from None


def resumed(client: "Client", name: str, options: dict[str, Any]) -> "PlannedRun":
    """Plan to continue an explanation."""
    from whymatch.client.apps.difference_runs import PlannedRun

    ask = functools.partial(client.resume_prediction_difference, name, **options)
    return PlannedRun(None, None, ask)


def by_network(clients: "list[Client]") -> "dict[str, Client]":
    """Return clients by the network of their server, with its address where several have the same."""
    names = [client.model().backbone for client in clients]
    return {
        name if names.count(name) == 1 else f"{name} at {client.address}": client
        for name, client in zip(names, clients, strict=True)
    }


def planned(
    clients: "dict[str, Client]",
    images: list[str],
    targets: "list[PredictionTarget]",
    settings: "list[tuple[SamplerKind | None, int | None]]",
    context_px: int | None,
    refit: bool,
    options: dict[str, Any],
) -> "list[PlannedRun]":
    """Plan a call for each image, network, sampler and window; only the first image's fit the sampler anew."""
    from whymatch.client.apps.difference_runs import PlannedRun
    from whymatch.client.apps.originals import original

    sources = [either_source(image) for image in images]
    calls: list[PlannedRun] = []
    for number, (image, source) in enumerate(zip(images, sources, strict=True)):
        picture = original(next(iter(clients.values())), source) if options["overlays"] else None
        for (network, client), (sampler, window_px) in itertools.product(clients.items(), settings):
            ask = functools.partial(
                client.explain_prediction_difference,
                source,
                targets,
                window_px=window_px,
                context_px=context_px,
                sampler=sampler,
                refit_sampler=refit and number == 0,
                **options,
            )
            calls.append(PlannedRun(image, picture, ask, network))
    return calls


def show(
    runs: "list[DifferenceRun]", folder: Path | None, json: bool, *, several: bool, share: float, by_target: bool
) -> None:
    """Write the pictures into `folder`, if given, and print the results, those of several calls as a list."""
    from whymatch.client.apps import documents
    from whymatch.client.draw.runs import each_map

    rows = each_map(runs)
    overlays: list[Path | None] = [None] * len(rows)
    if folder:
        from whymatch.client.draw.differences import write_maps

        overlays = write_maps(runs, folder, share=share, by_target=by_target)
        note(folder / "sheet.png")
    if json:
        found = [
            documents.prediction_difference(run, one, overlay) | documents.origin(run.explanation.provenance)
            for (run, one), overlay in zip(rows, overlays, strict=True)
        ]
        documents.print_document(found if several or len(found) > 1 else found[0])
        return
    for run in runs:
        print_run(run)
    for overlay in filter(None, overlays):
        print(overlay)


def print_run(run: "DifferenceRun") -> None:
    """Print the result of one call, a line for each map."""
    explanation = run.explanation
    print(f"{run.title}: {run}")
    for one in explanation.maps:
        span = f"{one.values.min():.4g} to {one.values.max():.4g} {one.measure}"
        print(f"{one.target} = {one.value:.6g}; map {span}{precision(one)}")
    share = f"{explanation.multiplied_share:.1%} of the multiplications of whole images"
    print(f"{run.progress} in {run.seconds:.1f} s, {share}")
    if explanation.computed_whole:
        print(f"computed whole: {', '.join(explanation.computed_whole)}")


def precision(one: "DifferenceMap") -> str:
    """Return the median standard error of a map in words, if known."""
    import numpy as np

    errors = one.standard_errors
    return "" if errors is None else f", median standard error {np.median(errors):.2g}"
