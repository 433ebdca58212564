"""`whymatch study interactive`: describe the images, classify, print. Data goes to stdout, talk to stderr."""

import json as json_text
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from whymatch.embed import Aggregation, Array, LeftOut, Model, WhymatchError, find_images, load_named_model
from whymatch.embed.model import Precision
from whymatch.embed.pictures.printing import escape_unprintable
from whymatch.embed.terminal import MODEL_HELP, exit_on, plot_file, progress_bar, provenance, short
from whymatch.explain.classification_study.command import classification
from whymatch.explain.interactive import INTERACTIVE_PX
from whymatch.explain.interactive_study.boxes import ObjectBox, fingerprint, read_boxes
from whymatch.explain.interactive_study.descriptors import Descriptor, Variant, default_layers, variants
from whymatch.explain.interactive_study.experiment import Plan, Results, measure, plan_of
from whymatch.explain.interactive_study.inputs import IN_BOX, InputKind, with_inputs
from whymatch.explain.interactive_study.options import names, norms
from whymatch.explain.interactive_study.plot import save_accuracies, save_histograms
from whymatch.explain.interactive_study.report import document, notes, tables
from whymatch.explain.interactive_study.settings import settings_of
from whymatch.explain.interactive_study.split import Split, draw_split
from whymatch.explain.interactive_study.store import Store, describe_images

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; by default with the arguments of the process."""
    escape_unprintable()
    app(arguments, prog_name="whymatch study")


@app.callback()
def study() -> None:
    """Repeat the experiments of a paper on your images."""


app.command()(classification)


@app.command()
def interactive(
    context: typer.Context,
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", exists=True, file_okay=False, help="Images; each folder is a class.")
    ],
    output: Annotated[
        Path,
        typer.Option(
            metavar="DIR", file_okay=False, help="Folder of the descriptors, from which a killed run resumes."
        ),
    ] = Path("study-output"),
    model: Annotated[
        str,
        typer.Option(
            metavar="MODEL",
            help=f"[BACKBONE=]MODEL; {MODEL_HELP}.",
        ),
    ] = "bundled",
    include: Annotated[str, typer.Option(metavar="PATTERN", help="Only files whose names match: train__*")] = "*",
    train_per_class: Annotated[int, typer.Option(min=1, help="Images of each class to learn from.")] = 30,
    test_per_class: Annotated[int, typer.Option(min=1, help="At most this many others of each class to test on.")] = 50,
    seed: Annotated[int, typer.Option(min=0, help="Seed of drawing the images.")] = 0,
    inputs: Annotated[
        Literal["unwarped", "warped", "both"],
        typer.Option("--input", help="Images in their own shape, or squeezed into a square."),
    ] = "unwarped",
    size_px: Annotated[
        int, typer.Option(min=32, max=4096, help="Un-warped inputs have about this number squared of pixels.")
    ] = INTERACTIVE_PX,
    warped_size_px: Annotated[int, typer.Option(min=32, max=4096, help="Side of warped inputs.")] = 224,
    boxes: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE|DIR",
            exists=True,
            help="Also measure images cropped to the object's box: a CSV file name,left,top,width,height in pixels, or "
            "a folder of YOLO's text files.",
        ),
    ] = None,
    layers: Annotated[
        str,
        typer.Option(metavar="LAYER,...", help="Names of layers.", show_default="the paper's for VGG, else about six"),
    ] = "",
    norms_: Annotated[str, typer.Option("--norms", metavar="P,...", help="Norms of the weighed descriptors.")] = "1,2",
    aggregation: Annotated[Aggregation, typer.Option(help="How weighed descriptors pool the cells.")] = "average",
    precision: Annotated[Precision, typer.Option(help="Precision of the network's arithmetic.")] = "float32",
    device: Annotated[str, typer.Option(metavar="NAME", help="cpu, cuda or cuda:N.")] = "cpu",
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", dir_okay=False, callback=plot_file, help="Draw accuracies (.png, .svg, .pdf)."),
    ] = None,
    histogram: Annotated[
        Path | None,
        typer.Option(metavar="FILE", dir_okay=False, callback=plot_file, help="Also draw the sizes of mean responses."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Measure whether InterActive makes better descriptors (Xie et al., tables 1 and 2, figure 2).

    A linear support vector machine learns the classes from each descriptor of each layer, original or weighed, and is
    tested on images that it did not see. Unreadable images are left out, and listed at the end.
    """
    compared = variants(norms(norms_), aggregation)
    sizes: dict[InputKind, int] = {"unwarped": size_px, "warped": warped_size_px}
    drawn = {"train_per_class": train_per_class, "test_per_class": test_per_class, "seed": seed}
    folder = folder.resolve()
    with exit_on(WhymatchError, OSError, FloatingPointError, stopped="stopped; run the same again to go on"):
        left_out = LeftOut()
        split = draw_split(find_images([folder], include=include, left_out=left_out), **drawn)
        if left_out.skipped:
            print(left_out.text(), file=sys.stderr)
        loaded = load_named_model(model, device=device, precision=precision)
        made = provenance(context) | {"model": loaded.fingerprint}
        plan = plan_of(loaded.layers, names(layers) or default_layers(loaded.layers), compared)
        images: dict[str, object] = {**drawn, "images": split.fingerprint(folder)}
        found = read_boxes(boxes, split.paths, folder) if boxes else {}
        in_box = {**images, "boxes": fingerprint(found, folder)}
        models: dict[InputKind, Model] = {}
        stores: dict[InputKind, Store] = {}
        for kind, size in sizes.items():
            if inputs not in (kind, "both"):
                continue
            takes = with_inputs(loaded, kind, size)
            for name, facts in [(kind, images)] + [(IN_BOX[kind], in_box)] * bool(boxes):
                models[name] = takes
                stores[name] = Store(output / name, settings_of(takes, plan, facts), split.paths)
        results = _run(models, stores, plan, split, found)
        unreadable = {Path(path): reason for path, reason in left_out.unreadable.items()} | results.unreadable
        results = replace(results, unreadable=dict(sorted(unreadable.items())))
        written = document(results) | {"provenance": made}
        print(json_text.dumps(written, allow_nan=False) if json else tables(results))
        for note in notes(results):
            print(note, file=sys.stderr)
        title = f"{folder.name}, {short(model)}"
        if plot:
            save_accuracies(results, plot, title=title, made=made)
        if histogram:
            save_histograms(_mean_responses(stores, plan), histogram, title=title, made=made)


def _run(
    models: Mapping[InputKind, Model],
    stores: Mapping[InputKind, Store],
    plan: Plan,
    split: Split,
    boxes: Mapping[Path, ObjectBox],
) -> Results:
    for store in stores.values():
        store.open()
    for kind, store in stores.items():
        missing = sum(len(store.chunk(number)) for number in store.missing)
        if missing:
            with progress_bar(missing, f"describing: {kind}") as bar:
                cropping = boxes if kind in IN_BOX.values() else None
                describe_images(models[kind], store, plan.descriptors, bar.advance, cropping)
    classified = int((~split.training).sum()) * plan.classifiers * len(stores)
    with progress_bar(classified, "classifying") as bar:
        return measure(stores, split, plan, bar.advance)


def _mean_responses(stores: Mapping[InputKind, Store], plan: Plan) -> dict[str, Array]:
    """Return x_T (n, C) of each layer, of the first kind of inputs."""
    store = next(iter(stores.values()))
    return {layer.name: store.read(Descriptor(layer.name, Variant("average")).name) for layer in plan.layers}
