"""The demo: its parts with known answers, and the whole of it against the real server."""

import io
import re
from html.parser import HTMLParser

import numpy as np
import PIL.Image
import pytest

from whymatch.client import Box, ColorScale, Match, MatchExplanation, SearchResult, SimilarityMap
from whymatch.client.apps import pages
from whymatch.client.apps.demo import photos as demo_photos
from whymatch.client.apps.demo import report as demo_report
from whymatch.client.apps.demo import run as demo
from whymatch.client.apps.demo.photos import View
from whymatch.client.apps.local_server import ServerNotStarted, local_server
from whymatch.client.results import Image


@pytest.fixture(scope="module")
def photos():
    pytest.importorskip("skimage")
    pytest.importorskip("sklearn")
    return demo_photos.find_photos()


class Pictures(HTMLParser):
    """Collects what a page loads, and checks that every element is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.sources += [value for name, value in attributes if name in ("src", "href")]
        if tag not in ("img", "meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def similarity_map(values, png: bytes) -> SimilarityMap:
    return SimilarityMap(np.array(values, np.float32), float(np.sum(values)), 4, 2, Box(0, 0, 4, 2), None, png)


def match(name: str, label: str, png: bytes) -> Match:
    image = Image(name, label, {}, 4, 2, len(png), "", None)
    return Match(image, 0.75, 0.75, similarity_map([[0.25, 0.5]], png), similarity_map([[0.75]], png))


def test_the_photographs_are_here_already(photos):
    assert len(photos) == 20
    assert {"astronaut", "motorcycle_left", "china"} <= set(photos)


def test_the_gallery_and_the_queries_are_the_same_every_time_and_never_the_same_bytes(photos):
    some = {name: photos[name] for name in ("coffee", "motorcycle_left")}
    gallery, queries = list(demo_photos.gallery_views(some)), list(demo_photos.queries(some))
    assert (len(gallery), len(queries)) == (10, 7)
    assert gallery == list(demo_photos.gallery_views(some))
    assert queries == list(demo_photos.queries(some))
    assert len({view.content for view in gallery + queries}) == 17
    assert {view.photo for view in gallery} == {view.photo for view in queries} == {"coffee", "motorcycle"}


def test_a_query_is_changed_as_its_name_says(photos):
    [brighter, mirrored, darker] = demo_photos.queries({"coffee": photos["coffee"]})
    sizes = [max(PIL.Image.open(io.BytesIO(query.content)).size) for query in (brighter, mirrored, darker)]
    lights = [np.asarray(PIL.Image.open(io.BytesIO(query.content))).mean() for query in (brighter, mirrored, darker)]
    assert sizes == [400, 320, 224]
    assert lights[0] > lights[1] > lights[2]


def test_the_report_is_one_file_with_its_pictures_inside(picture):
    png = picture("red")
    query = View("<query> & co", "cat", png)
    scale = ColorScale(0, 0.5, "inferno")
    result = SearchResult((match("cat.jpg", "cat", png), match("dog.jpg", "dog", png)), "m", scale)
    pair = similarity_map([[0.25, 0.5]], png)
    page = pages.page(
        [
            demo_report.headline(found=1, queries=2, photos=3, images=4, facts={"model": "<m>"}),
            demo_report.matches_with_maps([(query, result)]),
            demo_report.instance_pair(MatchExplanation(0.75, 0.75, pair, pair, 0.0, (), (), "m", scale)),
            demo_report.misses([(query, result)], {"cat.jpg": png}),
        ],
        title="whymatch demo",
    )
    pictures = Pictures(page)
    assert pictures.open == []
    assert len(pictures.sources) == 1 + 4 + 2 + 2
    assert all(source.startswith("data:image/webp;base64,") for source in pictures.sources)
    assert "1 of 2 queries found their photo first." in page
    assert "&lt;query&gt; &amp; co" in page
    assert "linear-gradient(90deg, #000004" in page
    assert 'class="good">right' in page
    assert 'class="bad">wrong' in page


@pytest.mark.timeout(180)  # all of it: 61 queries, and a few seconds of every explanation
def test_the_whole_demo_finds_the_photographs_and_cleans_up(photos, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "temporary").mkdir()
    report = demo.run(tmp_path / "output")
    lines = capfd.readouterr().out.splitlines()
    assert lines[-1] == str(report)
    found, total = (int(word) for word in lines[-2].split()[:3:2])
    assert total == 61
    assert found >= 58
    assert [path.name for path in report.parent.iterdir()] == ["report.html"]
    assert list((tmp_path / "temporary").glob("whymatch*")) == []
    page = report.read_text()
    assert len(Pictures(page).sources) >= 6 * 7 + 6 * 4 + 2 + 2 * 2 + 7
    assert report.stat().st_size < 1_500_000
    [halves_found] = re.findall(r"(\d+) of 40 halves found their photo", page)
    assert int(halves_found) >= 36


def test_a_server_that_does_not_start_shows_its_words(tmp_path):
    with pytest.raises(ServerNotStarted, match="no-such-option"), local_server(tmp_path, "--no-such-option"):
        raise AssertionError
