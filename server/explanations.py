"""Explanations that take long: kept under a name for a while, so that what was done is not lost with a call."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from whymatch.server.errors import UnknownExplanation
from whymatch.server.running_difference import RunningDifference

KEPT_S = 15 * 60
"""How long an explanation is kept after its last use."""
KEPT_COUNT = 16
"""How many finished ones are kept at most; those that are being used do not count."""
KEPT_UNFINISHED = 4
"""How many others are: they hold what the network makes of their images, 150 MB for resnet50."""


@dataclass(eq=False)
class _Kept:
    explanation: RunningDifference
    users: int = 0
    """Calls that use it."""
    used: float = 0.0
    """When the last call ended, by the monotonic clock."""


class Explanations:
    """Keeps explanations. Belongs to one event loop."""

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}

    def find(self, name: str) -> RunningDifference:
        """Return an explanation by name. Raises UnknownExplanation."""
        self._forget()
        if name not in self._kept:
            raise UnknownExplanation(name)
        return self._kept[name].explanation

    def keep(self, explanation: RunningDifference) -> RunningDifference:
        """Keep an explanation, and return the one that is to be used: another of the same name if there is one."""
        self._forget()
        return self._kept.setdefault(explanation.name, _Kept(explanation)).explanation

    @asynccontextmanager
    async def using(self, explanation: RunningDifference) -> AsyncIterator[None]:
        """Do not forget an explanation within the block; one of which nothing came is forgotten after it."""
        kept = self._kept[explanation.name]
        kept.users += 1
        try:
            yield
        finally:
            kept.users -= 1
            kept.used = time.monotonic()
            if not kept.users and not explanation.is_prepared:
                self._kept.pop(explanation.name, None)
            self._forget()
            asyncio.get_running_loop().call_later(KEPT_S + 1, self._forget)

    def _forget(self) -> None:
        idle = sorted((one for one in self._kept.values() if not one.users), key=lambda one: -one.used)
        oldest = time.monotonic() - KEPT_S
        for finished, most in ((True, KEPT_COUNT), (False, KEPT_UNFINISHED)):
            alike = [one for one in idle if one.explanation.is_finished == finished]
            for number, one in enumerate(alike):
                if one.used < oldest or number >= most:
                    del self._kept[one.explanation.name]
