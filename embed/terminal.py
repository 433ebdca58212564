"""What the commands `train`, `evaluate` and `study` share at the terminal: progress, names in tables, errors, plots."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MODEL_HELP = "MODEL is bundled, a torchvision or timm network, or a weights file"
LONGEST_NAME = 40
"""Characters of a model's name in tables and pictures; JSON has all of it."""
INTERRUPTED = 130
"""The exit code of what Ctrl-C ended, as shells have it."""
PLOT_SUFFIXES = (".pdf", ".png", ".svg")


class ProgressBar:
    """A progress bar on stderr."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def advance(self, count: int) -> None:
        """Show that `count` more are done."""
        self._progress.advance(self._task, count)

    def reach(self, count: int, note: str) -> None:
        """Show that `count` are done in all, and a note in place of the rate."""
        self._progress.update(self._task, completed=count, note=note)


@contextmanager
def progress_bar(total: int, what: str, *, console: Console | None = None) -> Iterator[ProgressBar]:
    """Show how far `what` is while the block runs, with the images per second and the time left."""
    text = TextColumn("{task.description}", markup=False)
    columns = (text, BarColumn(), MofNCompleteColumn(), _RateOrNote(), TimeRemainingColumn())
    with Progress(*columns, console=console or Console(stderr=True)) as progress:
        yield ProgressBar(progress, progress.add_task(what, total=total, note=""))


class _RateOrNote(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(task.fields["note"] or (f"{speed:.1f} images/s" if speed else ""))


def short(name: str) -> str:
    """Return the end of a name that is too long for a table: paths differ there."""
    return name if len(name) <= LONGEST_NAME else "…" + name[-LONGEST_NAME + 1 :]


def plot_file(path: Path | None) -> Path | None:
    """Refuse a plot that could not be saved, before the work; a callback of an option."""
    if path and path.suffix not in PLOT_SUFFIXES:
        raise typer.BadParameter(f"{str(path)!r} must end in one of {', '.join(PLOT_SUFFIXES)}")
    if path and not path.parent.is_dir():
        raise typer.BadParameter(f"there is no folder {str(path.parent)!r}")
    return path


def provenance(context: typer.Context) -> dict[str, Any]:
    """Return which version runs which command, when, and with which options: for its JSON document and its plots."""
    names = {one.name: max(one.opts, key=len).lstrip("-").replace("-", "_") for one in context.command.params}
    return {
        "version": version("whymatch"),
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "command": context.command_path,
        "request": {
            names[name]: str(value) if isinstance(value, Path) else value
            for name, value in context.params.items()
            if value is not None and name not in ("json", "help")
        },
    }


def save_figure(draw: Callable[[], "Figure"], path: Path, made: Mapping[str, Any] | None) -> None:
    """Draw and save a plot as the suffix of `path` says; a PNG has `made`, its provenance, in its text `whymatch`.

    Raises:
        OSError: it cannot be written.
    """
    import matplotlib as mpl

    texts = {"Software": f"whymatch {version('whymatch')}", "whymatch": json.dumps(made)}
    with mpl.rc_context({"text.parse_math": False}):  # a $ in a path is a $
        draw().savefig(path, dpi=150, metadata=texts if made and path.suffix == ".png" else None)


@contextmanager
def exit_on(*errors: type[Exception], stopped: str | Callable[[], str]) -> Iterator[None]:
    """Exit with one line on stderr: with 1 if the block fails with one of these errors, with 130 if it is interrupted.

    stopped: the line after an interruption, or what returns it then.
    """
    try:
        yield
    except errors as err:
        print(f"whymatch: {err}", file=sys.stderr)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        print(stopped if isinstance(stopped, str) else stopped(), file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None
