"""`whymatch evaluate`: embed the images with each model, measure, print. Data goes to stdout, talk to stderr."""

import json as json_text
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from whymatch.embed import Array, LeftOut, WhymatchError, load_named_model
from whymatch.embed.model import Precision
from whymatch.embed.pictures.printing import escape_unprintable
from whymatch.embed.terminal import MODEL_HELP, exit_on, plot_file, progress_bar, provenance, short
from whymatch.index.evaluation import histogram
from whymatch.index.evaluation.embedding import Advance, Unreadable, embed_images
from whymatch.index.evaluation.metrics import RECALL_AT, retrieval_quality
from whymatch.index.evaluation.plot import save_plot
from whymatch.index.evaluation.report import Row, document, table
from whymatch.index.evaluation.trial import Trial, find_trial

app = typer.Typer(
    add_completion=False, pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]}
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; by default with the arguments of the process."""
    escape_unprintable()
    app(arguments, prog_name="whymatch evaluate")


@dataclass(frozen=True, eq=False)
class Candidate:
    """A model, or the baseline: a function from image files to vectors."""

    name: str
    fingerprint: str | None
    embed: Callable[[Sequence[Path], Advance], tuple[Array, Unreadable]]


def ranks(text: str) -> tuple[int, ...]:
    """Read `1,5,10`."""
    try:
        numbers = sorted({int(number) for number in text.split(",")})
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is not a list of numbers such as 1,5,10", param_hint="--recall-at"
        ) from None
    if numbers[0] < 1:
        raise typer.BadParameter(f"{numbers[0]} is no rank; ranks begin at 1", param_hint="--recall-at")
    return tuple(numbers)


@app.command()
def evaluate(
    context: typer.Context,
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", exists=True, file_okay=False, help="Images; each folder is a label.")
    ],
    model: Annotated[
        list[str],
        typer.Option(
            metavar="MODEL",
            help=f"[BACKBONE=]MODEL[:POOLING][@LAYERS]; {MODEL_HELP}. LAYERS are pooled instead of the last layer: "
            "layer3 as it is, or layer3,last,2 weighed by InterActive. May be repeated.",
        ),
    ] = ["bundled"],  # noqa: B006
    queries: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            exists=True,
            file_okay=False,
            help="Images that search FOLDER.",
            show_default="each image of FOLDER searches the others",
        ),
    ] = None,
    include: Annotated[str, typer.Option(metavar="PATTERN", help="Only files whose names match: train__*")] = "*",
    include_queries: Annotated[
        str | None,
        typer.Option(metavar="PATTERN", help="Only queries whose names match: val__*", show_default="as --include"),
    ] = None,
    recall_at: Annotated[
        str, typer.Option(metavar="K,...", help="Recall: how often one of the first K images has the query's label.")
    ] = ",".join(map(str, RECALL_AT)),
    baseline: Annotated[
        bool, typer.Option("--baseline/--no-baseline", help="Measure color histograms beside the models.")
    ] = True,
    precision: Annotated[Precision, typer.Option(help="Precision of the networks' arithmetic.")] = "float32",
    device: Annotated[str, typer.Option(metavar="NAME", help="cpu, cuda or cuda:N.")] = "cpu",
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", dir_okay=False, callback=plot_file, help="Draw a bar chart (.png, .svg, .pdf)."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Measure how well models find images of the same label.

    Every image searches all others. With --queries or --include-queries, some images search the others: no image finds
    itself. Unreadable images are left out, and listed at the end.
    """
    recall, made = ranks(recall_at), provenance(context)
    with exit_on(WhymatchError, OSError, FloatingPointError, stopped="stopped"):
        left_out = LeftOut()
        trial = find_trial(folder, queries, include=include, include_queries=include_queries, left_out=left_out)
        candidates = [_model(name, device, precision) for name in model]
        if baseline:
            candidates.append(Candidate(histogram.NAME, None, histogram.embed_by_color))
        rows, trial, unreadable = _measure(candidates, trial, recall)
        unreadable |= {Path(path): reason for path, reason in left_out.unreadable.items()}
        found = document(rows, trial.single, unreadable) | {"provenance": made}
        print(_json(found) if json else table(rows, trial.single))
        for path, reason in unreadable.items():
            print(f"{path} was left out: {reason}", file=sys.stderr)
        if left_out.skipped:
            print(left_out.text(), file=sys.stderr)
        if plot:
            save_plot(rows, plot, title=folder.resolve().name, made=made)


def _model(name: str, device: str, precision: Precision) -> Candidate:
    model = load_named_model(name, device=device, precision=precision)
    return Candidate(name, model.fingerprint, partial(embed_images, model))


def _measure(
    candidates: Sequence[Candidate], trial: Trial, recall_at: Sequence[int]
) -> tuple[list[Row], Trial, Unreadable]:
    """Return what was measured, the trial without the images that cannot be read, and these.

    The first candidate finds them; the others have the same images to embed.
    """
    rows: list[Row] = []
    unreadable: Unreadable = {}
    for candidate in candidates:
        started = time.perf_counter()
        with progress_bar(len(trial.images), f"embedding: {short(candidate.name)}") as bar:
            vectors, bad = candidate.embed(trial.paths, bar.advance)
        unreadable |= bad
        trial = trial.without(bad)
        trial.check()
        with progress_bar(int(trial.asking.sum()), f"searching: {short(candidate.name)}") as bar:
            quality = retrieval_quality(
                vectors,
                trial.labels,
                queries=trial.queries,
                gallery=trial.gallery,
                recall_at=recall_at,
                advance=bar.advance,
            )
        seconds = time.perf_counter() - started
        rows.append(Row(candidate.name, candidate.fingerprint, vectors.shape[1], len(vectors), quality, seconds))
    return rows, trial, unreadable


def _json(found: dict[str, object]) -> str:
    """Return a document, with escapes of JSON for all but ASCII if stdout's encoding lacks a character."""
    text = json_text.dumps(found, ensure_ascii=False, allow_nan=False)
    try:
        text.encode(sys.stdout.encoding)
    except UnicodeEncodeError:  # or a path is not UTF-8
        return json_text.dumps(found, allow_nan=False)
    return text
