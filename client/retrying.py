"""Which failed calls are tried again, and when: those that only read, after a short and growing pause."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from typing import Any

from whymatch.client import errors

RETRIES = 4
"""Together they wait for a second and a half at most; an outage that lasts longer is the caller's to bridge."""
FIRST_PAUSE_S = 0.1
READING = (
    "Get",
    "BatchGet",
    "List",
    "Search",
    "BatchSearch",
    "Rerank",
    "Explain",
    "Embed",
    "Describe",
    "Decode",
    "Find",
    "Segment",
)
"""How the requests of calls begin that change nothing, the server's own list."""
_BUSY = ("", "TOO_MANY_CALLS", "TOO_MANY_FILES")
"""Why a server may be exhausted that is not for long; empty where something on the way said so."""


class Deadline:
    """What is left of the time for one call and all its tries."""

    def __init__(self, timeout_s: float | None) -> None:
        self._end = None if timeout_s is None else time.monotonic() + timeout_s

    def left_s(self) -> float | None:
        """Return how many seconds are left, at least a little; None for ever."""
        return None if self._end is None else max(0.001, self._end - time.monotonic())


def pauses(request: Any, retries: int, deadline: Deadline) -> Iterator[float]:
    """Yield how many seconds to wait before each further try of a call; nothing if it may change something."""
    if not request.DESCRIPTOR.name.startswith(READING):
        return
    for number in range(retries):
        pause_s = FIRST_PAUSE_S * 2**number * random.uniform(0.5, 1)
        left_s = deadline.left_s()
        if left_s is not None and pause_s >= left_s:
            return
        yield pause_s


def may_pass(error: errors.WhymatchError) -> bool:
    """Return whether the same call may succeed a little later."""
    if isinstance(error, errors.ResourceExhausted):
        return error.reason in _BUSY and not isinstance(error, errors.MessageTooLarge)
    return isinstance(error, errors.Unavailable)


def check_retries(retries: int) -> int:
    """Require a number from 0."""
    if retries < 0:
        raise ValueError(f"retries is {retries}; 0 tries every call once")
    return retries
