"""`whymatch demo`: the main job on real photographs, from an empty folder to a report with pictures.

A new section is a function in `SECTIONS`, which gets the `Demo` with its live client, and a template of its own.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from whymatch.client import Client, NewImage, SearchResult
from whymatch.client.apps.demo import (
    differences,
    examples,
    interactive,
    labels,
    photos,
    points,
    rankings,
    regions,
    report,
    units,
)
from whymatch.client.apps.demo.photos import View
from whymatch.client.apps.local_server import local_server
from whymatch.client.apps.pages import page
from whymatch.client.apps.progress import progress_bar

LIMIT = 5
SHOWN = (
    "chelsea, brighter",
    "astronaut, mirrored",
    "coffee, darker, small",
    "china, brighter",
    "rocket, mirrored",
    "flower, darker, small",
)
"""The queries whose maps are shown."""


class DemoFailed(Exception):
    """The demo cannot run here, or did not do its job."""


@dataclass(frozen=True)
class Answer:
    """The answer to one query."""

    query: View
    result: SearchResult
    search_s: float

    @property
    def found(self) -> bool:
        """True if the first match shows the query's photograph."""
        return bool(self.result) and self.result[0].label == self.query.photo


@dataclass(frozen=True)
class Demo:
    """The input of the report's sections."""

    client: Client
    photos: dict[str, Path]
    gallery: list[View]
    answers: list[Answer]
    add_s: float

    @property
    def found(self) -> int:
        """How many queries found their photograph first."""
        return sum(answer.found for answer in self.answers)


def run(output: Path, *, keep: bool = False) -> Path:
    """Run the demo, write `output/report.html`, and print its path as the last line."""
    found = _find_photos()
    output.mkdir(parents=True, exist_ok=True)
    with _data_folder(output, keep) as data, local_server(data) as address, Client(address, gallery="demo") as client:
        print(f"a whymatch server listens on {address}")
        demo = _search_gallery(client, found)
        print(f"{demo.found} of {len(demo.answers)} queries found their photo first")
        path = output / "report.html"
        path.write_text(page([section(demo) for section in SECTIONS], title="whymatch demo"), encoding="utf-8")
        if keep:
            _keep_pictures(demo, output)
    print(path)
    return path


def write_samples(folder: Path) -> None:
    """Write `photos`, a few photographs in a folder for each, and `query.jpg` to search with."""
    files = photos.samples(_find_photos())
    for name, content in files.items():
        _write(folder / name, content)
    print(f"wrote {len(files)} pictures to {folder}")


def headline(demo: Demo) -> Markup:
    """Introduce the report with the counts and the times."""
    model = demo.client.model()
    milliseconds = 1000 * statistics.median(answer.search_s for answer in demo.answers)
    return report.headline(
        found=demo.found,
        queries=len(demo.answers),
        photos=len({view.photo for view in demo.gallery}),
        images=len(demo.gallery),
        facts={
            "model": f"{model.backbone}, {model.pooling} pooling, {model.dimensions} values, {model.precision}",
            "model fingerprint": model.fingerprint,
            "adding the gallery": f"{demo.add_s:.1f} s, {len(demo.gallery) / demo.add_s:.0f} images a second",
            "one search, image to matches": f"{milliseconds:.0f} ms at the median",
        },
    )


def matches_with_maps(demo: Demo) -> Markup:
    """Show some queries with their first three matches and both maps."""
    shown = [answer.query for answer in demo.answers if answer.query.name in SHOWN]
    results = [demo.client.search(query.content, limit=3, overlays=300) for query in shown]
    return report.matches_with_maps(list(zip(shown, results, strict=True)))


def instance_pair(demo: Demo) -> Markup:
    """Explain the match of the two views of the motorcycle."""
    if "motorcycle_left" not in demo.photos:
        return Markup()
    left, right = _cameras(demo)
    explanation = demo.client.explain_match(right.content, left.content, overlays=480)
    return report.instance_pair(explanation)


def corresponding_places(demo: Demo) -> Markup:
    """Show what in one view of the motorcycle corresponds to a point of the other."""
    return points.corresponding_places(demo.client, *_cameras(demo)) if "motorcycle_left" in demo.photos else Markup()


def region_search(demo: Demo) -> Markup:
    """Search by regions of the queries."""
    return regions.region_search(demo.client, demo.gallery, [answer.query for answer in demo.answers])


def example_search(demo: Demo) -> Markup:
    """Search for what is like two queries and unlike a third."""
    return examples.search_by_examples(demo.client, [answer.query for answer in demo.answers])


def class_maps(demo: Demo) -> Markup:
    """Show where one query is like each of its most similar labels."""
    shown = [answer.query for answer in demo.answers if answer.query.name == labels.SHOWN]
    return Markup().join(labels.class_maps(demo.client, demo.gallery, query) for query in shown)


def why_before(demo: Demo) -> Markup:
    """Show why one match of a query comes before the next."""
    shown = [answer.query for answer in demo.answers if answer.query.name == rankings.SHOWN]
    return Markup().join(rankings.why_before(demo.client, demo.gallery, query) for query in shown)


def active_neurons(demo: Demo) -> Markup:
    """Show where the neurons of some layers are active for one query."""
    shown = [answer.query for answer in demo.answers if answer.query.name == interactive.SHOWN]
    return Markup().join(interactive.active_neurons(demo.client, query) for query in shown)


def difference_maps(demo: Demo) -> Markup:
    """Show what each part of one query contributes to its best match, to the label and to the class."""
    shown = [answer.query for answer in demo.answers if answer.query.name == differences.SHOWN]
    return Markup().join(differences.difference_maps(demo.client, query) for query in shown)


def leading_units(demo: Demo) -> Markup:
    """Show what the leading channels of the score of one query and its best match respond to."""
    shown = [answer.query for answer in demo.answers if answer.query.name == units.SHOWN]
    return Markup().join(units.leading_units(demo.client, query) for query in shown)


def misses(demo: Demo) -> Markup:
    """Show every query that did not find its photograph first."""
    missed = [(answer.query, answer.result) for answer in demo.answers if not answer.found]
    pictures = {view.name: view.content for view in demo.gallery}
    return report.misses(missed, pictures)


SECTIONS: list[Callable[[Demo], Markup]] = [
    headline,
    matches_with_maps,
    region_search,
    example_search,
    instance_pair,
    corresponding_places,
    class_maps,
    why_before,
    active_neurons,
    difference_maps,
    leading_units,
    misses,
]
"""The report, part by part."""


def _cameras(demo: Demo) -> tuple[View, View]:
    """Return the motorcycle as the left camera saw it, which is in the gallery, and as the right one did."""
    left = next(view for view in demo.gallery if view.name == "motorcycle-whole.jpg")
    return left, photos.other_camera(demo.photos)


def _search_gallery(client: Client, found: dict[str, Path]) -> Demo:
    """Add the gallery and search it with every query."""
    gallery = list(photos.gallery_views(found))
    client.create_gallery(client.gallery)
    started = time.perf_counter()
    _add(client, gallery)
    add_s = time.perf_counter() - started
    queries = list(photos.queries(found))
    with progress_bar(len(queries), "searching") as progress:
        answers = []
        for query in queries:
            answers.append(_search(client, query))
            progress.advance()
    return Demo(client, found, gallery, answers, add_s)


def _add(client: Client, views: list[View]) -> None:
    images = (NewImage(view.content, view.name, view.photo) for view in views)
    with progress_bar(len(views), "adding") as progress:
        for added in client.add(images):
            if added.error:
                raise DemoFailed(f"{added.name} was not added: {added.error}")
            progress.advance()


def _search(client: Client, query: View) -> Answer:
    started = time.perf_counter()
    result = client.search(query.content, limit=LIMIT)
    return Answer(query, result, time.perf_counter() - started)


@contextmanager
def _data_folder(output: Path, keep: bool) -> Iterator[Path]:
    """Yield a folder for the server's data, and delete it at the end unless `keep`."""
    if keep:
        data = output / "data"
        if data.exists():
            raise DemoFailed(f"{data} is left from an earlier run; remove it, or choose another --output")
        yield data
    else:
        with tempfile.TemporaryDirectory(prefix="whymatch-demo-") as folder:
            yield Path(folder)


def _keep_pictures(demo: Demo, output: Path) -> None:
    """Write the gallery, a folder for each photograph, and the queries beside the report."""
    queries = [answer.query for answer in demo.answers]
    files = {f"gallery/{view.photo}/{view.name}": view.content for view in demo.gallery}
    files |= {f"queries/{query.name}.jpg": query.content for query in queries}
    for name, content in files.items():
        _write(output / name, content)


def _write(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


def _find_photos() -> dict[str, Path]:
    found = photos.find_photos()
    if not found:
        raise DemoFailed('the demo\'s photographs come with the server: pip install ".[server]" in a checkout')
    return found
