"""`whymatch compare`: the same queries under several models, each behind a server of its own, and how the maps move.

The first model's server stays: it explains the pairs that the other models found, so that each of their maps can be
compared with the first model's map of the same two images.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from whymatch.client import Client, InvalidArgument, Match, MessageTooLarge, Stored
from whymatch.client.adding import FoundImage, find_images
from whymatch.client.apps.add import Failure, Summary, add_images
from whymatch.client.apps.compare import report, sheet
from whymatch.client.apps.compare.comparison import Comparison, Found, Query, Side
from whymatch.client.apps.compare.measures import map_distance
from whymatch.client.apps.local_server import ServerNotStarted, local_server
from whymatch.client.apps.progress import progress_bar
from whymatch.client.apps.talk import note
from whymatch.client.draw.maps import SMALL_PX, fitted_down
from whymatch.client.draw.saving import save_png
from whymatch.client.results import SimilarityMap

Named = TypeVar("Named", Query, FoundImage)
SAMPLE = 6
"""How many queries are taken from a folder by default."""


class CompareFailed(Exception):
    """These models cannot be compared with these images."""


def find_queries(
    gallery: Sequence[FoundImage], paths: Sequence[Path], *, include: str = "*", count: int | None = None
) -> list[Query]:
    """Return images of `paths` to search `gallery` with: `count`, evenly spread, or all if every path is a file.

    include: only files whose name matches this pattern.

    Raises:
        UnusablePaths: nothing in `paths` matches.
    """
    found = find_images(paths, labels_from_folders=True, include=include)
    if count is None and any(path.is_dir() for path in paths):
        count = SAMPLE
    names = {image.path.resolve(): image.name for image in gallery}
    return [
        Query(image.path, image.name, _known_label(image.label, own, gallery), own)
        for image in _spread(found, count or len(found))
        for own in [names.get(image.path.resolve(), "")]
    ]


def run(
    images: Sequence[FoundImage],
    queries: Sequence[Query],
    models: Sequence[str],
    output: Path,
    *,
    limit: int,
    matches: Sequence[FoundImage] = (),
) -> Comparison:
    """Compare `models`; write `output/report.html`, and a picture `output/query-NN.png` for each query.

    matches: what each query is compared with under every model; empty for the `limit` best of `images` under each.
    """
    output.mkdir(parents=True, exist_ok=True)
    comparison = compare_pairs(queries, matches, models) if matches else compare(images, queries, models, limit=limit)
    paths = {found.path for side in comparison.sides for answer in side.answers for found in answer}
    paths |= {query.path for query in comparison.queries}
    pictures = {path: fitted_down(path.read_bytes(), SMALL_PX) for path in paths}
    for number in range(len(comparison.queries)):
        save_png(sheet.sheet(comparison, number, pictures), output / f"query-{number + 1:02}.png", None)
    page = report.report(comparison, pictures)
    (output / "report.html").write_text(page, encoding="utf-8", errors="backslashreplace")  # names may not be UTF-8
    return comparison


def compare(images: Sequence[FoundImage], queries: Sequence[Query], models: Sequence[str], *, limit: int) -> Comparison:
    """Search a gallery of `images` with `queries` under each of `models`; unreadable images are left out.

    Raises:
        CompareFailed: a model cannot be served, or nothing is left.
        WhymatchError: a call failed.
    """
    left_out: dict[str, Failure] = {}
    with _serving(models[0], 1, len(models)) as first:
        images = _add(first, images, left_out)
        queries = _readable(first, queries, left_out)
        _require_matches(images, queries)
        paths = {image.name: image.path for image in images}
        sides = [_search(models[0], first, None, queries, paths, limit)]
        for number, name in enumerate(models[1:], start=2):
            with _serving(name, number, len(models)) as client:
                _add(client, images, left_out)
                sides.append(_search(name, client, first, queries, paths, limit))
    return Comparison(len(images), queries, sides, list(left_out.values()))


def compare_pairs(queries: Sequence[Query], matches: Sequence[FoundImage], models: Sequence[str]) -> Comparison:
    """Compare each of `queries` with each of `matches` under each of `models`; unreadable images are left out.

    Raises:
        CompareFailed: a model cannot be served, or nothing is left.
        WhymatchError: a call failed.
    """
    left_out: dict[str, Failure] = {}
    sides: list[Side] = []
    for number, name in enumerate(models, start=1):
        with _serving(name, number, len(models)) as client:
            if not sides:
                queries, matches = _readable(client, queries, left_out), _readable(client, matches, left_out)
                _require_pairs(queries, matches)
            sides.append(_explain(name, client, sides[0] if sides else None, queries, matches))
    return Comparison(len(matches), queries, sides, list(left_out.values()), pairs_given=True)


@contextmanager
def _serving(name: str, number: int, count: int) -> Iterator[Client]:
    """Serve the model `name` with an empty gallery, and delete it at the end."""
    note(f"model {number} of {count}: {name}")
    try:
        with (
            tempfile.TemporaryDirectory(prefix="whymatch-compare-") as data,
            local_server(Path(data), "--model", name) as address,
            Client(address, gallery="compare") as client,
        ):
            client.create_gallery(client.gallery)
            yield client
    except ServerNotStarted as error:
        raise CompareFailed(f"the model {name!r}: {error}") from None


def _add(client: Client, images: Sequence[FoundImage], left_out: dict[str, Failure]) -> list[FoundImage]:
    """Add `images`, put failures into `left_out`, and return the others."""
    summary = Summary(client.gallery)
    add_images(client, images, summary)
    left_out |= {failure.path: failure for failure in summary.failures}
    return [image for image in images if str(image.path) not in left_out]


def _readable(client: Client, images: Sequence[Named], left_out: dict[str, Failure]) -> list[Named]:
    """Return the images that the server can embed, and put the others into `left_out`."""
    readable = []
    for image in images:
        try:
            client.embed(image.path)
            readable.append(image)
        except (InvalidArgument, MessageTooLarge, OSError) as error:
            reason = getattr(error, "reason", "")
            left_out[str(image.path)] = Failure(str(image.path), image.name, reason, str(error))
    return readable


def _require_matches(images: Sequence[FoundImage], queries: Sequence[Query]) -> None:
    if not images:
        raise CompareFailed("no image of the gallery could be read; the lines above say why")
    if not queries:
        raise CompareFailed("no query could be read; choose others with --queries or --include-queries")


def _require_pairs(queries: Sequence[Query], matches: Sequence[FoundImage]) -> None:
    if not queries:
        raise CompareFailed("no query could be read; choose others with --queries or --include-queries")
    if not matches:
        raise CompareFailed("no match could be read; choose others with --match")


def _search(
    name: str, client: Client, first: Client | None, queries: Sequence[Query], paths: Mapping[str, Path], limit: int
) -> Side:
    """Search with all queries, and compare their maps with those of the model behind `first`, if there is one."""
    answers = []
    with progress_bar(len(queries), "searching") as progress:
        for query in queries:
            result = client.search(query.path, limit=limit, with_maps=True, exclude_itself=True)
            if not len(result):
                raise CompareFailed("a query is searched for without itself, and the gallery holds no other image")
            answers.append([_found(first, query, match, paths[match.name]) for match in result])
            progress.advance()
    return Side(name, client.model(), answers)


def _found(first: Client | None, query: Query, match: Match, path: Path) -> Found:
    assert match.query_map
    assert match.match_map
    right = match.label == query.label if query.label else None
    moved = _moved(first, query, match.name, match.query_map) if first else None
    return Found(path, match.name, match.label, match.score, right, match.query_map, match.match_map, moved)


def _moved(first: Client, query: Query, match: str, query_map: SimilarityMap) -> float | None:
    before = first.explain_match(query.path, Stored(match), channel_limit=0, correspondence_limit=0)
    return map_distance(before.query_map, query_map)


def _explain(
    name: str, client: Client, first: Side | None, queries: Sequence[Query], matches: Sequence[FoundImage]
) -> Side:
    """Explain all pairs, and compare their maps with those of the first model, if there is one."""
    answers: list[list[Found]] = []
    with progress_bar(len(queries), "comparing") as progress:
        for number, query in enumerate(queries):
            before = first.answers[number] if first else [None] * len(matches)
            answers.append([_pair(client, query, *pair) for pair in zip(matches, before, strict=True)])
            progress.advance()
    return Side(name, client.model(), answers)


def _pair(client: Client, query: Query, match: FoundImage, before: Found | None) -> Found:
    found = client.explain_match(query.path, match.path, channel_limit=0, correspondence_limit=0)
    moved = map_distance(before.query_map, found.query_map) if before else None
    return Found(match.path, match.name, match.label, found.score, None, found.query_map, found.match_map, moved)


def _known_label(label: str, own: str, gallery: Sequence[FoundImage]) -> str:
    """Return `label` if another image of the gallery has it and yet another has not, else nothing."""
    others = [image.label == label for image in gallery if image.name != own]
    return label if any(others) and not all(others) else ""


def _spread(images: Sequence[FoundImage], count: int) -> list[FoundImage]:
    """Return the middle images of `count` stretches of equal length, or all if there are fewer."""
    count = min(count, len(images))
    return [images[(2 * number + 1) * len(images) // (2 * count)] for number in range(count)]
