"""`whymatch train`: flags to a recipe, and its progress. What takes long to import waits until the flags are right."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from whymatch.embed.pictures.printing import escape_unprintable
from whymatch.embed.terminal import MODEL_HELP, exit_on, progress_bar

if TYPE_CHECKING:
    from whymatch.embed import Progress
    from whymatch.embed.training.run import Pace, Run

Loss = Literal["triplet", "proxy", "contrastive", "distillation", "stages"]
PoolingKind = Literal["average", "max", "gem"]

app = typer.Typer(
    add_completion=False, pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]}
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; by default with the arguments of the process."""
    escape_unprintable()
    app(arguments, prog_name="whymatch train")


@app.command()
def train(
    context: typer.Context,
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="FOLDER...", exists=True, file_okay=False, help="Images; each folder is a label."),
    ],
    output: Annotated[Path, typer.Option(metavar="DIR", file_okay=False, help="Folder of the run.")] = Path("run"),
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --output, if there is one.")] = False,
    include: Annotated[str, typer.Option(metavar="PATTERN", help="Only files whose names match: train__*")] = "*",
    loss: Annotated[
        Loss,
        typer.Option(help="What to learn: labels, or the responses of a --teacher, at its end or in each --stage."),
    ] = "proxy",
    model: Annotated[
        str, typer.Option(metavar="MODEL", help=f"Where to begin: [BACKBONE=]MODEL[:POOLING]; {MODEL_HELP}.")
    ] = "bundled",
    scratch: Annotated[str, typer.Option(metavar="NETWORK", help="Begin with random weights of this network.")] = "",
    pooling: Annotated[
        PoolingKind | None, typer.Option(help="Pooling of the trained model; by default that of --model.")
    ] = None,
    size_px: Annotated[int, typer.Option(min=0, help="Side of the views to train on; 0: the model's size.")] = 0,
    model_size_px: Annotated[int, typer.Option(min=0, help="Input size to use the trained model with.")] = 0,
    steps: Annotated[int, typer.Option(min=1, help="Number of batches.")] = 1000,
    batch_size: Annotated[int, typer.Option(min=2, help="Images in a batch.")] = 64,
    images_per_label: Annotated[int, typer.Option(min=2, help="Images of each label in a batch.")] = 4,
    learning_rate: Annotated[
        float, typer.Option(min=0, help="Its peak; the triplet and contrastive losses require a lower one, 3e-5.")
    ] = 2e-4,
    warmup_steps: Annotated[int, typer.Option(min=0, help="Steps until the learning rate is at its peak.")] = 50,
    weight_decay: Annotated[float, typer.Option(min=0, help="Weight decay of AdamW.")] = 0.05,
    margin: Annotated[float, typer.Option(min=0, help="Margin between labels, in units of the cosine.")] = 0.2,
    smallest_part: Annotated[float, typer.Option(min=0.01, max=1, help="Least share of an image in a view.")] = 0.25,
    light: Annotated[float, typer.Option(min=0, max=0.9, help="How much brightness and colors vary.")] = 0.1,
    teacher: Annotated[str, typer.Option(metavar="MODEL", help="The model to learn from.")] = "",
    teacher_size_px: Annotated[int, typer.Option(min=32, help="Side of the teacher's views.")] = 160,
    teacher_padding: Annotated[
        Literal["torchvision", "tensorflow"], typer.Option(help="The padding that the teacher's weights require.")
    ] = "torchvision",
    class_names: Annotated[
        str,
        typer.Option(
            metavar="FILE", help="The teacher's classes, one per line; the student also learns their probabilities."
        ),
    ] = "",
    compact_classifier: Annotated[
        bool, typer.Option("--compact-classifier", help="Store each of the classifier's weights in a byte.")
    ] = False,
    mix: Annotated[float, typer.Option(min=0, max=1, help="Share of images mixed with another one.")] = 0.5,
    stages: Annotated[
        list[str],
        typer.Option(
            "--stage", metavar="STUDENT=TEACHER", help="The last modules of a stage; repeat it for each stage."
        ),
    ] = [],  # noqa: B006
    stages_read: Annotated[
        Literal["teacher", "student"], typer.Option(help="Whose output a stage reads during training.")
    ] = "teacher",
    checkpoint: Annotated[
        list[int], typer.Option(metavar="STEP", help="Also write a model file after this step.")
    ] = [],  # noqa: B006
    save_every: Annotated[
        int, typer.Option(min=1, help="Steps between saved states; a killed run loses at most these.")
    ] = 200,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all random numbers.")] = 0,
    precision: Annotated[Literal["float32", "bfloat16"], typer.Option(help="Precision of the arithmetic.")] = "float32",
    device: Annotated[str, typer.Option(metavar="NAME", help="cpu, cuda or cuda:N.")] = "cpu",
) -> None:
    """Train an embedding network on a folder of labeled images, or from a teacher on any images.

    Writes DIR/model.safetensors, one file with all that `whymatch serve --model`, `evaluate` and `compare` need. A
    killed run goes on with --resume as if nothing had happened.
    """
    if (loss in ("distillation", "stages")) != bool(teacher):
        raise typer.BadParameter("--loss distillation or stages and --teacher belong together")
    if (loss == "stages") != bool(stages):
        raise typer.BadParameter("--loss stages and --stage belong together")
    chosen = dict(context.params)
    where = {name: chosen.pop(name) for name in ("output", "resume", "save_every", "checkpoint")}
    chosen["stages"] = tuple(stages)
    chosen["folders"] = tuple(str(folder.resolve()) for folder in folders)
    print(_train(chosen, **where))


def _train(chosen: dict[str, object], *, output: Path, resume: bool, checkpoint: list[int], **how: object) -> Path:
    """Train; exit with 1 and one line on stderr if that fails."""
    from whymatch.embed import LeftOut, WhymatchError
    from whymatch.embed.training.recipe import Recipe, prepare
    from whymatch.embed.training.run import STATE

    def stopped() -> str:
        saved = (output / STATE).exists()
        return f"stopped; go on with --resume --output {output}" if saved else "stopped; nothing was saved yet"

    with exit_on(WhymatchError, OSError, stopped=stopped):
        left_out = LeftOut()
        recipe = Recipe(**chosen)  # type: ignore[arg-type]
        run = prepare(recipe, output, checkpoints=checkpoint, left_out=left_out, **how)  # type: ignore[arg-type]
        for line in left_out.lines():
            print(line, file=sys.stderr)
        return _with_progress(run, resume)


def _with_progress(run: "Run", resume: bool) -> Path:
    console = Console(stderr=True)
    with _bar(run, console) if console.is_terminal else nullcontext(_line) as show:
        model = run.train(show, resume=resume)
    for path, reason in run.batches.unreadable.items():
        print(f"{path} was left out: {reason}", file=sys.stderr)
    return model


@contextmanager
def _bar(run: "Run", console: Console) -> Iterator[Callable[["Progress[Pace]"], None]]:
    with progress_bar(run.schedule.steps, "training", console=console) as bar:

        def show(progress: "Progress[Pace]") -> None:
            assert progress.result
            pace = progress.result
            bar.reach(progress.done, f"loss {pace.loss:.3f}, {pace.images_per_s:.0f} images/s")

        yield show


def _line(progress: "Progress[Pace]") -> None:
    """Print how far a run is, for a log."""
    assert progress.result
    pace = progress.result
    print(
        f"step {progress.done} of {progress.total}, loss {pace.loss:.3f}, {pace.images_per_s:.0f} images/s, "
        f"{pace.left_s / 60:.1f} minutes left",
        file=sys.stderr,
        flush=True,
    )
