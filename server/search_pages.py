"""Pages of a search: where one ends, so that the next one goes on there, whatever the gallery has become meanwhile."""

import base64
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from whymatch.embed import Array
from whymatch.index import Match
from whymatch.server.errors import BadPageToken

DEEPEST = 10_000
"""Matches that the pages of one search have together."""
MARGIN = 1e-5
"""How far two searches may differ in a score, for a vector of length 1: the sums are in another order."""


@dataclass(frozen=True)
class Cursor:
    """Where a page ended."""

    request: str
    """A hash of what is asked for."""
    generation: int
    """Of the gallery."""
    place: int
    """How many matches came, on this page and before."""
    score: float
    """Of the last of them."""
    near: tuple[str, ...]
    """The names of those that came with about that score, so that they do not come again."""

    def token(self) -> str:
        """Return it as text, which a client sends back; there is nothing secret in it."""
        facts = [self.request, self.generation, self.place, self.score, self.near]
        return base64.urlsafe_b64encode(json.dumps(facts).encode()).decode()


def read_cursor(token: str, request: str) -> Cursor:
    """Return where a page ended. Raises BadPageToken for what is no token, or that of another request."""
    try:
        facts = json.loads(base64.b64decode(token.encode(), b"-_", validate=True))
        asked, generation, place, score, near = facts
    except (ValueError, TypeError, RecursionError) as err:
        raise BadPageToken from err
    numbers = type(generation) is int and type(place) is int and type(score) is float and math.isfinite(score)
    names = type(near) is list and all(type(name) is str for name in near)
    if not (numbers and names and 0 <= generation < 2**63 and 0 < place < DEEPEST):
        raise BadPageToken
    if asked != request:
        raise BadPageToken("is that of another request, or of another gallery")
    return Cursor(request, generation, place, score, tuple(near))


@dataclass(frozen=True)
class Page:
    """Which matches of a search come in one answer."""

    cursor: Cursor | None
    """Where the page before ended, None for the first one."""
    size: int
    """How many come at most."""
    name_of: Callable[[Match], str]
    """What two matches of one search never share."""

    @property
    def depth(self) -> int:
        """How many of the best images it takes to find the page's matches."""
        return self.size if self.cursor is None else min(DEEPEST, self.cursor.place + self.size)

    def matches(self, found: Sequence[Match], vector: Array) -> list[Match]:
        """Return the page's matches of the best `depth` images for a vector (C,)."""
        if self.cursor is None:
            return list(found)
        highest = self.cursor.score + 2 * _margin(vector)
        came = set(self.cursor.near)
        left = [match for match in found if match.score <= highest and self.name_of(match) not in came]
        return left[: self.depth - self.cursor.place]

    def next(self, request: str, generation: int, matches: Sequence[Match], vector: Array) -> Cursor | None:
        """Return where the page ended, None if no more may follow."""
        if not matches or self.depth >= DEEPEST:
            return None
        last = matches[-1].score
        near = [self.name_of(match) for match in matches if match.score <= last + 3 * _margin(vector)]
        if self.cursor and self.cursor.score <= last + 3 * _margin(vector):
            near = [*self.cursor.near, *near]
        return Cursor(request, generation, self.depth, last, tuple(near))


def _margin(vector: Array) -> float:
    return MARGIN * max(1.0, float(np.linalg.norm(vector)))
