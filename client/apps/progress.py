"""Progress bars on stderr; rich, which draws them, is imported when one begins."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from whymatch.client.apps.talk import QUIET

if TYPE_CHECKING:
    from rich.progress import Progress, Task, TaskID
    from rich.text import Text

    from whymatch.client import results

RATED_S = 1.0
"""What is done sooner has no rate that means anything."""


class ProgressBar:
    """A progress bar on stderr, with rate and time left. It is not seen before there is progress."""

    def __init__(self, progress: "Progress", task: "TaskID") -> None:
        self._progress = progress
        self._task = task

    def advance(self) -> None:
        """Count one more."""
        self._show()
        self._progress.advance(self._task)

    def reach(self, count: int, total: int) -> None:
        """Show `count` of `total`; a total of 0 is unknown."""
        self._show()
        self._progress.update(self._task, completed=count, total=total or None)

    def turn(self, what: str, counted: str) -> None:
        """Show the progress of `what` from now on; `counted` is what is counted, such as `images`."""
        self._progress.update(self._task, description=what, counted=counted)

    def finish(self) -> None:
        """Show that all is done that was to be done."""
        task = self._progress.tasks[self._task]
        self._progress.update(self._task, completed=task.total or task.completed)

    def _show(self) -> None:
        if not self._progress.live.is_started:
            self._progress.start()

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
            rated = speed and (task.finished_time or task.elapsed or 0) >= RATED_S
            return Text(f"{speed:.1f} {task.fields['counted']}/s" if rated else "")

    name = TextColumn("{task.description}", markup=False)
    columns = (name, BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
    progress = Progress(*columns, console=Console(stderr=True), disable=QUIET.get())
    bar = ProgressBar(progress, progress.add_task(what, total=total, counted=counted))
    try:
        yield bar
        bar.finish()
    finally:
        if progress.live.is_started:
            progress.stop()


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
