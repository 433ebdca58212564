"""The progress bar that long commands show on stderr."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text


class ProgressBar:
    """A progress bar on stderr, with rate and time left."""

    def __init__(self, progress: Progress, task: "Task") -> None:
        self._progress = progress
        self._task = task

    def advance(self) -> None:
        """One more image is done."""
        self._progress.advance(self._task.id)

    def reach(self, count: int, total: int) -> None:
        """So many of so many are done; a total of 0 is not known."""
        self._progress.update(self._task.id, completed=count, total=total or None)

    def turn(self, what: str, unit: str) -> None:
        """Something else is counted from now on."""
        self._progress.update(self._task.id, description=what, unit=unit)

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def progress_bar(total: int | None, what: str, unit: str = "images") -> Iterator[ProgressBar]:
    """Show how far `what` is while the block runs; without a total only that it goes on."""
    name = TextColumn("{task.description}", markup=False)
    columns = (name, BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task_id = progress.add_task(what, total=total, unit=unit)
        yield ProgressBar(progress, progress.tasks[task_id])


class _Rate(ProgressColumn):
    """What is counted, a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f} {task.fields['unit']}/s" if speed else "")
