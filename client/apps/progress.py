"""Progress bars on stderr; rich, which draws them, is imported when one begins."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, Task, TaskID
    from rich.text import Text

    from whymatch.client import results


class ProgressBar:
    """A progress bar on stderr, with rate and time left."""

    def __init__(self, progress: "Progress", task: "TaskID") -> None:
        self._progress = progress
        self._task = task

    def advance(self) -> None:
        """Count one more."""
        self._progress.advance(self._task)

    def reach(self, count: int, total: int) -> None:
        """Show `count` of `total`; a total of 0 is unknown."""
        self._progress.update(self._task, completed=count, total=total or None)

    def turn(self, what: str, counted: str) -> None:
        """Show the progress of `what` from now on; `counted` is what is counted, such as `images`."""
        self._progress.update(self._task, description=what, counted=counted)

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def progress_bar(total: int | None, what: str, counted: str = "images") -> Iterator[ProgressBar]:
    """Show the progress of `what` while the block runs; without a total only that it runs."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: "Task") -> "Text":
            speed = task.finished_speed or task.speed
            return Text(f"{speed:.1f} {task.fields['counted']}/s" if speed else "")

    name = TextColumn("{task.description}", markup=False)
    columns = (name, BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield ProgressBar(progress, progress.add_task(what, total=total, counted=counted))


@contextmanager
def unit_bars() -> "Iterator[Callable[[str], Callable[[results.Progress], None]]]":
    """Show one call about units after another: yields a function from a call's name to its `progress`."""
    with progress_bar(None, "units", "images") as shown:

        def begin(what: str) -> "Callable[[results.Progress], None]":
            def show(progress: "results.Progress") -> None:
                if progress.total:
                    shown.turn(what, progress.counted)
                    shown.reach(progress.done, progress.total)

            return show

        yield begin


@contextmanager
def unit_bar(what: str) -> "Iterator[Callable[[results.Progress], None]]":
    """Show one call about units: yields its `progress`."""
    with unit_bars() as begin:
        yield begin(what)
