"""The filter language: what it means, against a Python evaluation, and what it refuses."""

import operator
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whymatch.index import Galleries
from whymatch.index.filters import MAX_BYTES, MAX_DEPTH, BadFilter, Both, Comparison, Either, Negation, parse_filter

OPERATORS = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    ":": operator.contains,
}


def kind(value):
    return "boolean" if isinstance(value, bool) else "text" if isinstance(value, str) else "number"


def holds(meant, image):
    """The slow, obvious evaluation."""
    if isinstance(meant, Both):
        return all(holds(part, image) for part in meant.parts)
    if isinstance(meant, Either):
        return any(holds(part, image) for part in meant.parts)
    if isinstance(meant, Negation):
        return not holds(meant.filter, image)
    stored = image.metadata.get(meant.key) if meant.field == "metadata" else getattr(image, meant.field)
    if isinstance(stored, datetime):
        stored = stored.timestamp()
    if meant.value is None:
        return stored not in (None, "") or (stored == "" and meant.field == "metadata")
    return stored is not None and kind(stored) == kind(meant.value) and OPERATORS[meant.comparator](stored, meant.value)


def quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


texts = st.text("aB' \"\\é*", max_size=3)
numbers = st.integers(-3, 3) | st.floats(-3, 3, width=16)
values = texts | numbers | st.booleans()
metadata = st.dictionaries(st.sampled_from(["k", 'odd "key\\']), values, max_size=2)


def shown(value):
    return quoted(value) if isinstance(value, str) else str(value).lower()


@st.composite
def comparisons(draw):
    field = draw(st.sampled_from(["label", "name", "width_px", "metadata.k", "metadata." + quoted('odd "key\\')]))
    if draw(st.integers(0, 5)) == 0:
        return f"{field} : *"
    value = draw(texts if field in ("label", "name") else st.integers(38, 42) if field == "width_px" else values)
    allowed = ["=", "!="] if isinstance(value, bool) else list(OPERATORS)
    return f"{field} {draw(st.sampled_from(allowed))} {shown(value)}"


filters = st.recursive(
    comparisons(),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda pair: f"({pair[0]} AND {pair[1]})"),
        st.tuples(inner, inner).map(lambda pair: f"({pair[0]} OR {pair[1]})"),
        inner.map(lambda one: f"NOT ({one})"),
    ),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def images(tmp_path_factory, model, new_image):
    with Galleries(tmp_path_factory.mktemp("data"), model) as galleries:
        gallery = galleries.create("default")
        labels = ["", "a", "B", "aB", "é*", 'a"', "a\\"]
        told = [{}, {"k": 1}, {"k": 2.5, 'odd "key\\': True}, {"k": "a"}, {"k": ""}, {"k": False}, {'odd "key\\': "aB"}]
        gallery.add([new_image(seed, label=label) for seed, label in enumerate(labels * 2)])
        for seed, facts in enumerate(told):
            gallery.update(f"{seed}.jpg", metadata=facts)
        yield gallery


@pytest.mark.hypothesis
@settings(max_examples=300, deadline=None)
@given(filters)
def test_a_filter_finds_what_it_means(images, text):
    meant = parse_filter(text)
    found = images.list_images(where=meant.where())
    assert found == [image for image in images.list_images() if holds(meant, image)]
    assert len(images._images.ids(meant.where())) == len(found)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ('label = "cat"', Comparison("label", "", "=", "cat")),
        ("label=cat", Comparison("label", "", "=", "cat")),
        ("metadata.year >= 2020", Comparison("metadata", "year", ">=", 2020)),
        ("metadata.'odd key' < -1.5", Comparison("metadata", "odd key", "<", -1.5)),
        ("metadata.draft : *", Comparison("metadata", "draft", ":", None)),
        ("metadata.year : 7", Comparison("metadata", "year", "=", 7)),
        ("NOT label = a", Negation(Comparison("label", "", "=", "a"))),
        ("-label = a", Negation(Comparison("label", "", "=", "a"))),
        ('create_time > "1970-01-01T00:00:10Z"', Comparison("create_time", "", ">", 10.0)),
    ],
)
def test_examples(text, meant):
    assert parse_filter(text) == meant


def test_or_binds_more_tightly_than_and():
    a, b, c = (Comparison("label", "", "=", label) for label in "abc")
    assert parse_filter("label = a AND label = b OR label = c") == Both((a, Either((b, c))))


def test_times_compare(images):
    now = datetime.now(UTC).isoformat()
    assert len(images.list_images(where=parse_filter(f'update_time < "{now}"').where())) == 14
    assert not images.list_images(where=parse_filter(f'create_time > "{now}"').where())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "at its end"),
        ("AND", "at its end"),
        ("label = ", "at its end"),
        ('label = "cat', r"character 9, '\"cat'"),
        ("label = cat dog", "character 13, 'dog'"),
        ("(label = cat", "at its end"),
        ("color = red", "no field 'color' at character 1"),
        ("label.x = red", "no field 'label.x'"),
        ("label = x AND metadata = 1", "`metadata` at character 15 lacks its key"),
        ("label = 5", 'text; compare it with "5" in quotes'),
        ("width_px > wide", "width_px at character 1 is a number, not 'wide'"),
        ("width_px = true", "is a number"),
        ("metadata.draft > true", "only equal or not"),
        ("metadata.year > 1e99", "beyond 2"),
        ("metadata.year = *", "metadata.year : "),
        ("create_time > yesterday", "a time such as"),
        ('create_time > "2026-01-01"', "a time such as"),
        ("label = x" + " OR label = x" * 700, f"more than the {MAX_BYTES}"),
        ("(" * 9 + "label = x" + ")" * 9, f"more than the {MAX_DEPTH} levels"),
        ("; DROP TABLE images", "character 1"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_place(text, said):
    with pytest.raises(BadFilter, match=said.replace("(", r"\(").replace(".", r"\.") if "\\" not in said else said):
        parse_filter(text)


def test_the_longest_and_the_deepest_filters_are_answered(images):
    for text in (
        " OR ".join(["label=q"] * (MAX_BYTES // 11)),
        " AND ".join(["label=q"] * (MAX_BYTES // 12)),
        "(" * MAX_DEPTH + "label = q" + ")" * MAX_DEPTH,
        "label=q AND label=q OR NOT (" * MAX_DEPTH + "NOT metadata.a = q" + ")" * MAX_DEPTH,
    ):
        assert len(images.list_images(where=parse_filter(text).where())) in (0, 14)
