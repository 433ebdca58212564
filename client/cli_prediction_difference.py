"""The command `explain prediction-difference`."""

import itertools
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from whymatch.client.connection import MAX_TIMEOUT_S, with_client
from whymatch.client.options import Json, Maps, either_source

if TYPE_CHECKING:
    import PIL.Image

    from whymatch.client import Client, PredictionDifferenceExplanation, Stored
    from whymatch.client.difference_runs import DifferenceRun, DifferenceSetting
    from whymatch.client.progress import ProgressBar
    from whymatch.client.targets import PredictionTarget

MAX_WINDOW_PX = 32
CONTEXT_MARGIN_PX = 4
"""How much larger than its window a context is where nobody says it."""
ANY = ("resume", "maps", "live", "deadline_s", "json")
"""What --resume goes together with, apart from the connection; the rest is as it was asked for first."""


def above_zero(value: float | None) -> float | None:
    """Refuse what bounds nothing; NaN passes every `min`."""
    if value is not None and not 0 < value <= MAX_TIMEOUT_S:
        raise typer.BadParameter(f"{value:g}; take more than 0 and at most {MAX_TIMEOUT_S:g}")
    return value


def png(file: Path | None) -> Path | None:
    """Refuse a file of another kind."""
    if file and file.suffix.lower() != ".png":
        raise typer.BadParameter(f"{str(file)!r}: write the name of a PNG file, for example live.png")
    return file


@with_client
def explain_prediction_difference(
    client: "Client",
    context: typer.Context,
    images: Annotated[
        list[str] | None,
        typer.Argument(metavar="IMAGE", help="Files, or image:NAME for stored images.", show_default=False),
    ] = None,
    targets: Annotated[
        list[str] | None,
        typer.Option(
            "--target",
            metavar="TARGET",
            help="What to explain; may be given repeatedly: class:NAME, a class's probability; score:NAME, its score "
            "before softmax; unit:LAYER/CHANNEL, a feature map, or unit:LAYER/CHANNEL@ROW,COLUMN, one unit of it; "
            "similarity:IMAGE; evidence:LABEL or evidence-image:NAME, what the neighbors say. The NAME of a class may "
            "be top1, top2 and so on.",
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
            help="k: a window of k x k pixels of the network's input is unknown at a time; may be given repeatedly.",
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
            help="l: a window is told from the rest of the l x l pixels around it.",
            show_default="window + 4",
        ),
    ] = None,
    samples: Annotated[
        int, typer.Option(min=1, max=1000, metavar="N", help="S: how many samples replace each window.")
    ] = 20,
    stride_px: Annotated[
        int,
        typer.Option(
            "--stride",
            min=1,
            max=MAX_WINDOW_PX,
            metavar="PX",
            help="Pixels from one window to the next, at most k.",
        ),
    ] = 4,
    samplers: Annotated[
        list[Literal["conditional", "marginal", "mean"]] | None,
        typer.Option(
            "--sampler",
            help="What replaces a window: draws from a normal distribution of the gallery's patches, given the pixels "
            "around; what other images have there; or the conditional mean, for a preview. May be given repeatedly.",
            show_default="conditional",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, metavar="N", help="Another seed draws others.")] = 0,
    max_standard_error: Annotated[
        float | None,
        typer.Option(
            callback=above_zero, metavar="ERROR", help="Stop sooner if no pixel's standard error is larger."
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            min=1, max=1000, metavar="N", help="Altered images at once.", show_default="the server chooses"
        ),
    ] = None,
    training_images: Annotated[
        int | None,
        typer.Option(
            min=1, max=2**53, metavar="N", help="How many images the classifier learned from.", show_default="ImageNet"
        ),
    ] = None,
    refit: Annotated[bool, typer.Option("--refit", help="Fit the distribution of patches anew.")] = False,
    sensitivity: Annotated[
        bool, typer.Option("--sensitivity", help="Return the sensitivity map, the gradient's size, too.")
    ] = False,
    maps: Maps = None,
    live: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False, callback=png, metavar="FILE.png", help="Draw each partial map into this file meanwhile."
        ),
    ] = None,
    deadline_s: Annotated[
        float | None,
        typer.Option(
            "--deadline",
            callback=above_zero,
            metavar="SECONDS",
            help="How long each image, window and sampler may take in all.",
            show_default="no limit",
        ),
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Go on with an explanation that was stopped, as it was asked for."),
    ] = None,
    json: Json = False,
) -> None:
    """Say what each part of an image is worth for what the model makes of it, by taking the part as unknown.

    Several images, windows and samplers are all combined, each in a call of its own with all targets. A call that is
    stopped prints and draws what it has come to, and --resume goes on there.
    """
    require_either(context, images, targets, resume)
    runs: list[DifferenceRun] = []
    overlays = maps is not None or live is not None
    try:
        if resume:
            watch = Watch(resume, None, None, setting(None, None, None, None), live)
            with watch.into(runs):
                client.resume_prediction_difference(
                    resume, overlays=overlays, deadline_s=deadline_s, progress=watch
                )
            return
        ...
    finally:
        if runs:
            show(runs, maps, json)
