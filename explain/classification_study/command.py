"""`whymatch study classification`: classify the images, weigh, classify again, print."""

import json as json_text
import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from whymatch.embed import BadModel, LeftOut, Model, WhymatchError, find_images, load_named_model
from whymatch.embed.model import Precision
from whymatch.embed.terminal import MODEL_HELP, exit_on, plot_file, progress_bar, provenance
from whymatch.explain.classification_study.classes import classes_of
from whymatch.explain.classification_study.crops import Crops
from whymatch.explain.classification_study.experiment import measure
from whymatch.explain.classification_study.report import document, notes, save_errors, table
from whymatch.explain.interactive import scores_by_norm
from whymatch.explain.interactive_study.inputs import with_inputs
from whymatch.explain.interactive_study.options import names, norms


def scales(text: str) -> tuple[int, ...]:
    """Read `256,384`."""
    found = names(text)
    if not found or not all(word.isascii() and word.isdecimal() and 0 < int(word) <= 4096 for word in found):
        raise typer.BadParameter(f"{text!r} is not a list of sizes such as 256,384, up to 4096", param_hint="--scales")
    return tuple(map(int, found))


def classification(
    context: typer.Context,
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER",
            exists=True,
            file_okay=False,
            help="Images; each folder has the name or the number of its class, or there is one for each class, in "
            "alphabetical order.",
        ),
    ],
    model: Annotated[
        list[str],
        typer.Option(
            metavar="MODEL",
            help=f"[BACKBONE=]MODEL; {MODEL_HELP}. It has class scores. If repeated, the models are also combined.",
        ),
    ],
    include: Annotated[str, typer.Option(metavar="PATTERN", help="Only files whose names match: val__*")] = "*",
    norms_: Annotated[str, typer.Option("--norms", metavar="P,...", help="Norms of the weighing.")] = "1,2",
    size_px: Annotated[
        int | None,
        typer.Option(
            min=32,
            max=4096,
            help="Inputs have about this number squared of pixels; crops are squares of that side.",
            show_default="that of the network",
        ),
    ] = None,
    crops: Annotated[
        int, typer.Option(min=0, max=10, metavar="N", help="Take N x N crops of each scale; 0 takes the whole image.")
    ] = 0,
    scales_: Annotated[
        str, typer.Option("--scales", metavar="PX,...", help="Shorter sides of the image that crops are taken of.")
    ] = "256",
    mirror: Annotated[bool, typer.Option("--mirror", help="Take everything mirrored, too.")] = False,
    precision: Annotated[Precision, typer.Option(help="Precision of the network's arithmetic.")] = "float32",
    device: Annotated[str, typer.Option(metavar="NAME", help="cpu, cuda or cuda:N.")] = "cpu",
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", dir_okay=False, callback=plot_file, help="Draw the errors (.png, .svg, .pdf)."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Measure whether InterActive makes better class scores (Xie et al., section 4.4).

    The last layer below the class scores, fc-7 of VGG, is weighed and goes through the classifier again. The errors of
    the first class and of the first five are printed before and after. The paper's crops are --crops 5
    --scales 256,384,512 --mirror.
    """
    weighing = norms(norms_)
    parts = Crops(crops, scales(scales_), mirror)
    folder = folder.resolve()
    with exit_on(WhymatchError, OSError, FloatingPointError, stopped="stopped"):
        left_out = LeftOut()
        found = find_images([folder], include=include, left_out=left_out)
        if left_out.skipped:
            print(left_out.text(), file=sys.stderr)
        models = {}
        for name in dict.fromkeys(model):
            loaded = load_named_model(name, device=device, precision=precision, size_px=size_px)
            models[name] = with_inputs(loaded, "warped" if crops else "unwarped", loaded.geometry.size_px)
        _check(models, parts)
        made = provenance(context) | {"models": {name: one.fingerprint for name, one in models.items()}}
        numbers = classes_of([image.label for image in found], next(iter(models.values())).classes)
        with progress_bar(len(found), "classifying") as bar:
            images = {image.path: numbers[image.label] for image in found}
            results = measure(models, images, weighing, parts, bar.advance)
        results.unreadable.update({Path(path): reason for path, reason in left_out.unreadable.items()})
        written = document(results) | {"provenance": made}
        print(json_text.dumps(written, allow_nan=False) if json else table(results))
        for note in notes(results):
            print(note, file=sys.stderr)
        if plot:
            save_errors(results, plot, title=folder.name, made=made)


def _check(models: dict[str, Model], crops: Crops) -> None:
    """Refuse what cannot be measured, before the work."""
    first, *others = models.values()
    for model in models.values():
        side = model.geometry.size_px
        if crops.side and side > min(crops.scales_px):
            raise BadModel(f"crops of {side} px do not fit into {min(crops.scales_px)} px; raise --scales")
        scores_by_norm(model, _blank(model), [2.0])
    for other in others:
        if other.classes != first.classes:
            raise BadModel(f"{first.backbone} and {other.backbone} score different classes; combine models of the same")


def _blank(model: Model) -> NDArray[np.uint8]:
    width, height = model.geometry.input_size(1, 1)
    return np.zeros((1, height, width, 3), np.uint8)
