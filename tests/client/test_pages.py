"""Whatever a page shows is escaped, in each kind of page, and every page is whole."""

import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import sample_results as sample
from markupsafe import Markup

from whymatch.client import Box, ColorScale, results
from whymatch.client.apps import documents, pages
from whymatch.client.apps.add import Failure
from whymatch.client.apps.audit.pages import index_page, layer_page, unit_page
from whymatch.client.apps.compare.comparison import Comparison, Found, Query, Side
from whymatch.client.apps.compare.report import report as compare_report
from whymatch.client.apps.demo import differences, interactive, labels, points, regions, report, units
from whymatch.client.apps.demo.photos import View
from whymatch.client.draw.unit_words import UnitCard
from whymatch.client.unit_results import DecodedFilter, EmpiricalField, TopImage

CLIENT = Path(__file__).parents[2] / "client"
HOSTILE = "<script>alert(1)</script>"
ESCAPED = "&lt;script&gt;alert(1)&lt;/script&gt;"
ATTRIBUTE = '" onerror="alert(1)'
SCALE = ColorScale(0.0, 0.5, HOSTILE)


def png() -> bytes:
    file = io.BytesIO()
    PIL.Image.new("RGB", (8, 4), "red").save(file, "PNG")
    return file.getvalue()


PNG = png()
QUERY = View(HOSTILE, HOSTILE, PNG)
MAP = results.SimilarityMap(np.ones((1, 2), np.float32), 2.0, 8, 4, Box(0, 0, 8, 4), Box(0, 0, 4, 4), PNG)
MATCH = results.Match(results.Image(HOSTILE, HOSTILE, {}, 8, 4, 1, "", sample.TIME, sample.TIME), 0.5, 0.75, MAP, MAP)
PAIR = results.MatchExplanation(0.5, 0.75, MAP, MAP, 0.0, (), (), "f", SCALE)


def unit(*, dead: bool = False) -> UnitCard:
    """Return a card whose every word is hostile."""
    top = TopImage(HOSTILE, HOSTILE, 1.5, (0, 0), sample.BOX, PNG)
    described = sample.unit(1, dead=dead, label=HOSTILE)
    described = type(described)(**{**vars(described), "layer": HOSTILE, "top_images": () if dead else (top,)})
    decoded = DecodedFilter("f", HOSTILE, 1, 8, 4, None, 0.5, PNG, sample.FILTER_COLOR)
    return UnitCard(described, None, HOSTILE) if dead else UnitCard(described, decoded)


def demo_headline() -> Markup:
    return report.headline(found=1, queries=2, photos=3, images=4, facts={HOSTILE: HOSTILE})


def demo_matches() -> Markup:
    return report.matches_with_maps([(QUERY, results.SearchResult((MATCH,), "f", SCALE))])


def demo_misses() -> Markup:
    return report.misses([(QUERY, results.SearchResult((MATCH,), "f", None))], {HOSTILE: PNG})


def demo_regions() -> Markup:
    return regions.introduction([regions.Half(HOSTILE, HOSTILE, "cat")])


def demo_region_card() -> Markup:
    row = regions.Row(HOSTILE, [regions.LEFT], [HOSTILE], [MATCH], [PAIR])
    return regions.card(HOSTILE, PNG, [row], {HOSTILE: PNG})


def demo_labels() -> Markup:
    one = results.LabelExplanation(0.5, 5, MAP, "f", None)
    return labels.report(QUERY, [(MATCH, one)], {HOSTILE: PNG})


def demo_interactive() -> Markup:
    setting = results.InterActiveSetting(HOSTILE, HOSTILE)
    one = results.Activeness(setting, results.WeightMap(np.ones((2, 3), np.float32), 8, 4, PNG), None, SCALE)
    return interactive.report(QUERY, results.InterActiveExplanation((one, one), 64, 32, "f"))


def demo_differences() -> Markup:
    values = np.ones((2, 3), np.float32)
    one = results.DifferenceMap(f"class:{HOSTILE}", 0.5, HOSTILE, values, None, None, 8, 4, sample.BOX, PNG, SCALE)
    done = results.Progress("evaluations", 1, 1)
    found = results.PredictionDifferenceExplanation("x", "f", (one,) * 3, done, 1.0, 0.0, True, None, None, 0.0, ())
    return differences.report(QUERY, PNG, HOSTILE, found)


def demo_units() -> Markup:
    share = results.ChannelShare(1, 0.25, 0.5, (HOSTILE, 1))
    return units.report(QUERY, HOSTILE, [share, share], [unit(), unit(dead=True)])


def compare_page() -> str:
    model = results.Model(HOSTILE, HOSTILE, "conv", HOSTILE, "float32", 3, {})
    path = Path(HOSTILE)
    known, unknown = (
        Found(path, HOSTILE, HOSTILE, 0.5, right, MAP, MAP, moved) for right, moved in ((False, 0.25), (None, None))
    )
    sides = [Side(name, model, [[known, unknown]]) for name in (HOSTILE, "other")]
    failures = [Failure(HOSTILE, HOSTILE, "NOT_AN_IMAGE", HOSTILE)]
    comparison = Comparison(10, [Query(path, HOSTILE, HOSTILE, "")], sides, failures)
    return compare_report(comparison, {path: PIL.Image.open(io.BytesIO(PNG))})


def audited_layer() -> dict[str, object]:
    units = [documents.card(unit()), documents.card(unit(dead=True))]
    field = EmpiricalField(**{**vars(sample.field(sample.BOX)), "layer": HOSTILE})
    colors = documents.layer_colors(sample.layer_colors(whole=True)) | {"no_axes": HOSTILE}
    counts = {"unit_count": 2, "wanted_count": 2, "complete": True}
    fields = {1: documents.field(field)}
    return {"layer": HOSTILE, "folder": "l", "colors": colors, "units": units, "fields": fields, **counts}


def audit_index() -> str:
    subject = {"network": HOSTILE, "gallery": HOSTILE, "model": HOSTILE, "image_count": 10, "field_images": 5}
    return index_page(subject, [audited_layer()], [HOSTILE])


def audit_layer() -> str:
    return layer_page(audited_layer(), has_filters=True)


def audit_unit() -> str:
    layer = audited_layer()
    return unit_page(layer["units"][0], layer["fields"][1])


def audit_dead_unit() -> str:
    return unit_page(documents.card(unit(dead=True)), None)


PARTS = [demo_headline, demo_matches, demo_misses, demo_regions, demo_region_card]
PARTS += [demo_labels, demo_interactive, demo_differences, demo_units]
PAGES = [compare_page, audit_index, audit_layer, audit_unit, audit_dead_unit]


class Elements(HTMLParser):
    """Collects the elements of a page, and checks that each is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.attributes: set[str] = set()
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.names.append(tag)
        self.attributes |= {name for name, _ in attributes}
        if tag not in ("img", "meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.mark.parametrize("make", [*PARTS, *PAGES])
def test_a_hostile_label_is_escaped(make):
    page = str(make())
    assert ESCAPED in page
    assert HOSTILE not in page
    elements = Elements(page)
    assert elements.open == []
    assert "script" not in elements.names


@pytest.mark.parametrize("make", PAGES)
def test_a_page_has_a_title_and_the_style_sheet(make):
    page = make()
    assert page.startswith("<!doctype html>")
    assert re.search("<title>.+</title>", page)
    assert (CLIENT / "apps" / "templates" / "style.css").read_text().strip() in page


def test_a_hostile_name_stays_inside_its_attribute(monkeypatch):
    monkeypatch.setattr(f"{__name__}.HOSTILE", ATTRIBUTE)
    assert "onerror" not in Elements(str(demo_units())).attributes
    assert 'alt="&#34; onerror=&#34;alert(1)"' in demo_units()


def test_the_parts_of_a_page_are_escaped_once():
    page = pages.page([demo_headline(), demo_matches()], title=HOSTILE)
    assert f"<title>{ESCAPED}</title>" in page
    assert "&amp;lt;" not in page
    assert "<h1>" in page


def test_a_demo_without_misses_says_so():
    assert "None: every query found its photo first." in report.misses([], {})


def test_a_point_needs_no_names():
    assert Elements(str(points.report(QUERY, QUERY, PAIR, PAIR))).names.count("img") == 4


def test_nothing_is_escaped_by_hand_and_no_html_is_written_in_python():
    for path in CLIENT.rglob("*.py"):
        text = path.read_text()
        assert "html.escape" not in text, path
        assert not re.search(r"</(p|div|td|tr|b|h[1-3]|span|figure)>", text), path
