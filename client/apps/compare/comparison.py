"""What a comparison of models found: for each model the matches of each query, with their maps."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from whymatch.client.apps.add import Failure
from whymatch.client.apps.compare.measures import half_share
from whymatch.client.apps.plain import Document, plain, record
from whymatch.client.draw.maps import common_scale
from whymatch.client.results import ColorScale, Model, SimilarityMap


@dataclass(frozen=True)
class Query:
    """An image to search with."""

    path: Path
    name: str
    label: str
    """Empty if it is unknown, or no other image has it: then no match is right or wrong."""
    own: str
    """The name of this very file in the gallery, which does not count as a match; empty if the gallery lacks it."""


@dataclass(frozen=True, eq=False)
class Found:
    """A match of a query under one model."""

    path: Path
    name: str
    label: str
    score: float
    """Cosine similarity in the model's own space, -1 to 1."""
    right: bool | None
    """Whether it has the query's label; None if that is unknown, or if the pair was given and not found."""
    query_map: SimilarityMap
    match_map: SimilarityMap
    moved: float | None
    """How far `query_map` lies from the first model's map of the same pair, 0 to 1, as `map_distance` says; None under
    the first model itself, and if a map has no positive value."""

    @property
    def verdict(self) -> str:
        """The word right or wrong, or nothing if that is unknown."""
        return "" if self.right is None else "right" if self.right else "wrong"


@dataclass(frozen=True, eq=False)
class Side:
    """The answers of one model to all queries."""

    name: str
    """As the command line named the model."""
    model: Model
    answers: Sequence[Sequence[Found]]
    """The matches of each query, best first; there is at least one."""

    def scale(self, number: int) -> ColorScale:
        """Return the one scale of this model's maps of a query, counted from 0: those of weak queries are not dim."""
        return common_scale(one for found in self.answers[number] for one in (found.query_map, found.match_map))

    @property
    def precision_at_1(self) -> float | None:
        """The share of the queries with a known label whose first match is right; None if there are none."""
        return _mean(answer[0].right for answer in self.answers)

    @property
    def map_moved(self) -> float | None:
        """The mean distance of the queries' maps from the first model's; None for the first model."""
        return _mean(found.moved for found in self._found())

    @property
    def half_share(self) -> float | None:
        """The mean share of the cells that hold half of a query's map."""
        return _mean(half_share(found.query_map) for found in self._found())

    def document(self) -> Document:
        """Return the model and its figures for `--json`."""
        return {
            "model": self.name,
            **record(self.model, "fingerprint", "backbone", "pooling", "dimensions"),
            **record(self, "precision_at_1", "map_moved", "half_share"),
        }

    def text(self) -> str:
        """Return the same as one line."""
        figures = {
            "precision at 1": self.precision_at_1,
            "half of a map in a share of": self.half_share,
            "maps moved by": self.map_moved,
        }
        known = [f"{name} {value:.2f}" for name, value in figures.items() if value is not None]
        return f"{self.name}: {', '.join([*known, f'model {self.model.fingerprint}'])}"

    def _found(self) -> list[Found]:
        return [found for answer in self.answers for found in answer]


@dataclass(frozen=True, eq=False)
class Comparison:
    """The same queries under several models."""

    image_count: int
    """Images in the gallery, or given as matches."""
    queries: Sequence[Query]
    sides: Sequence[Side]
    """One for each model; the maps of all are compared with those of the first."""
    failures: Sequence[Failure]
    """Images that could not be read, and are left out."""
    pairs_given: bool = False
    """Whether the matches were given, and every model compares the same pairs; else each shows what it found."""

    def document(self) -> Document:
        """Return the comparison for `--json`; these names are promises to other programs."""
        return {
            "images": self.image_count,
            "models": [side.document() for side in self.sides],
            "queries": [
                {
                    "query": query.name,
                    "label": query.label,
                    "answers": [
                        {"model": side.name, "matches": [_match(found) for found in side.answers[number]]}
                        for side in self.sides
                    ],
                }
                for number, query in enumerate(self.queries)
            ],
            "failures": plain(self.failures),
        }


def _match(found: Found) -> Document:
    return {
        **record(found, "name", "label", "score", "right"),
        "half_share": half_share(found.query_map),
        "map_moved": found.moved,
    }


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
