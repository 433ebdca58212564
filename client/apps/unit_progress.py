"""How far calls about units are, on stderr; imports what it draws with when it begins."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from whymatch.client.unit_results import UnitProgress


@contextmanager
def bars() -> "Iterator[Callable[[str], Callable[[UnitProgress], None]]]":
    """Show one call after another: yields what takes the name of a call and returns what to tell of it."""
    from whymatch.client.apps.progress import progress_bar

    with progress_bar(None, "units", "images") as shown:

        def call(what: str) -> "Callable[[UnitProgress], None]":
            def tell(progress: "UnitProgress") -> None:
                if progress.total:
                    shown.turn(what, progress.counted)
                    shown.reach(progress.done, progress.total)

            return tell

        yield call


@contextmanager
def bar(what: str) -> "Iterator[Callable[[UnitProgress], None]]":
    """Show one call."""
    with bars() as call:
        yield call(what)
