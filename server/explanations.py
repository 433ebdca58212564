"""Explanations that take long: kept under a name for a while, so that what was done is not lost with a call."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from whymatch.embed import Array
from whymatch.explain import DifferenceMap, PredictionDifference, SamplerKind
from whymatch.server.errors import UnknownExplanation
from whymatch.server.patch_samplers import Making
from whymatch.v1.explain_service_pb2 import PredictionTarget

KEPT_S = 15 * 60
"""How long an explanation is kept after its last use."""
KEPT_COUNT = 16
"""How many finished ones are kept at most; those that are being used do not count."""
KEPT_UNFINISHED = 4
"""How many others are: they hold what the network makes of their images, 150 MB for resnet50."""


@dataclass(eq=False)
class Explanation:
    """What was done of an explanation by prediction difference."""

    name: str
    """The {explanation} of `explanations/{explanation}`."""
    model: str
    """Fingerprint of the model and the gallery's head."""
    content: bytes
    """The image."""
    targets: tuple[PredictionTarget, ...]
    """As they were asked for."""
    sampler: SamplerKind
    seed: int
    making: Making | None = None
    """How its sampler was made."""
    difference: PredictionDifference | None = None
    """Its maps, as far as they are; None until there is a sampler."""
    maps: list[DifferenceMap] = field(default_factory=list)
    """The maps as they last were."""
    sensitivities: list[Array] = field(default_factory=list)
    """Of one that was asked for them."""
    is_finished: bool = False
    working: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by the call that works on it."""
    users: int = 0
    """Calls that use it."""
    used: float = 0.0
    """When the last call ended, by the monotonic clock."""


class Explanations:
    """Keeps explanations. Belongs to one event loop."""

    def __init__(self) -> None:
        self._kept: dict[str, Explanation] = {}

    def find(self, name: str) -> Explanation:
        """Return an explanation by name. Raises UnknownExplanation."""
        self._forget()
        if name not in self._kept:
            raise UnknownExplanation(name)
        return self._kept[name]

    def keep(self, explanation: Explanation) -> Explanation:
        """Keep an explanation, and return the one that is to be used: another of the same name if there is one."""
        self._forget()
        return self._kept.setdefault(explanation.name, explanation)

    @asynccontextmanager
    async def using(self, explanation: Explanation) -> AsyncIterator[None]:
        """Do not forget an explanation within the block; one of which nothing came is forgotten after it."""
        explanation.users += 1
        try:
            yield
        finally:
            explanation.users -= 1
            explanation.used = time.monotonic()
            if not explanation.users and explanation.difference is None:
                self._kept.pop(explanation.name, None)
            self._forget()
            asyncio.get_running_loop().call_later(KEPT_S + 1, self._forget)

    def _forget(self) -> None:
        idle = sorted((one for one in self._kept.values() if not one.users), key=lambda one: -one.used)
        oldest = time.monotonic() - KEPT_S
        for finished, most in ((True, KEPT_COUNT), (False, KEPT_UNFINISHED)):
            alike = [one for one in idle if one.is_finished == finished]
            for number, one in enumerate(alike):
                if one.used < oldest or number >= most:
                    del self._kept[one.name]
