"""Many galleries under a small limit of open files: those that were idle for longest give back theirs."""

import sys
import threading
from collections import OrderedDict
from typing import Protocol

FILES_OF_A_GALLERY = 5
"""Two connections to the database and its log, and the log's index."""
SHARE = 2
"""Galleries take one part in so many of the limit; the others are for connections, pictures and libraries."""


class Resting(Protocol):
    """Something that can give back its files until it is used again."""

    def rest(self) -> bool:
        """Give back the files; False while they are in use."""


class OpenFiles:
    """Knows which galleries hold files; thread-safe."""

    def __init__(self, most: int | None = None) -> None:
        """most: how many galleries may hold files; by default what the limit of this process allows."""
        self._most = most_galleries() if most is None else most
        self._order: OrderedDict[Resting, None] = OrderedDict()
        self._lock = threading.Lock()

    def used(self, one: Resting) -> None:
        """Note that `one` holds files from now on; ask others to rest if these are too many."""
        with self._lock:
            self._order[one] = None
            self._order.move_to_end(one)
            for idle in list(self._order)[: max(0, len(self._order) - self._most)]:
                if idle is not one and idle.rest():  # never waits
                    del self._order[idle]

    def closed(self, one: Resting) -> None:
        """Note that `one` holds no files any more."""
        with self._lock:
            self._order.pop(one, None)


def most_galleries() -> int:
    """Return how many galleries may hold files at a time in this process."""
    if sys.platform == "win32":
        return 2**31
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2**31 if soft == resource.RLIM_INFINITY else max(1, soft // SHARE // FILES_OF_A_GALLERY)


def raise_file_limit() -> None:
    """Let this process open as many files as it may allow itself."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (hard, 10_240):  # macOS names no hard limit, and takes no more than this
        if soft == hard or (soft != resource.RLIM_INFINITY and wanted != resource.RLIM_INFINITY and wanted <= soft):
            return
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):
            continue
        return
