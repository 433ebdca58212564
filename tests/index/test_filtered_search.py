"""A search among the images that a filter holds for finds what comparing them one by one does."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whymatch.index import Galleries, Selection, parse_filter

LABELS = ("", "cat", "dog")
SHOPS = (None, "x", "y")
YEARS = (None, 2019, 2020, 2021.5)
COUNT = 40


@pytest.fixture(scope="module")
def gallery(tmp_path_factory, model, new_image):
    with Galleries(tmp_path_factory.mktemp("data"), model) as galleries:
        gallery = galleries.create("default")
        gallery.add([new_image(seed % 30, str(seed), LABELS[seed % 3], **facts(seed)) for seed in range(COUNT)])
        yield gallery


def facts(seed):
    told = {"shop": SHOPS[seed // 3 % 3], "year": YEARS[seed // 7 % 4]}
    return {key: value for key, value in told.items() if value is not None}


def compared(key, sign, value):
    """A comparison in the filter language, and the same in Python."""
    meaning = {"=": lambda one: one == value, "<": lambda one: one < value, ">=": lambda one: one >= value}[sign]
    shown = f'"{value}"' if isinstance(value, str) else value

    def holds(image):
        found = image.label if key == "label" else image.metadata.get(key)
        return found is not None and meaning(found)

    return f"{key if key == 'label' else f'metadata.{key}'} {sign} {shown}", holds


comparisons = st.one_of(
    st.sampled_from(LABELS).map(lambda label: compared("label", "=", label)),
    st.sampled_from(SHOPS[1:]).map(lambda shop: compared("shop", "=", shop)),
    st.tuples(st.sampled_from(["=", "<", ">="]), st.sampled_from(YEARS[1:])).map(lambda one: compared("year", *one)),
)
filters = st.recursive(
    comparisons,
    lambda inner: st.one_of(
        inner.map(lambda one: (f"NOT ({one[0]})", lambda image: not one[1](image))),
        st.tuples(inner, inner).map(
            lambda two: (f"({two[0][0]}) AND ({two[1][0]})", lambda image: two[0][1](image) and two[1][1](image))
        ),
        st.tuples(inner, inner).map(
            lambda two: (f"({two[0][0]}) OR ({two[1][0]})", lambda image: two[0][1](image) or two[1][1](image))
        ),
    ),
    max_leaves=5,
)
nothing = st.just(("", lambda image: True))


@settings(max_examples=200, deadline=None)
@given(
    filters | nothing,
    st.sets(st.sampled_from(LABELS[1:])),
    st.sets(st.integers(0, COUNT - 1).map(str), max_size=5),
    st.integers(1, COUNT),
    st.booleans(),
)
def test_a_filtered_search_is_the_brute_force_one(gallery, new_image, filtered, labels, excluded, limit, past):
    text, holds = filtered
    version = gallery.at(gallery.generation()).version if past else gallery.version
    query = new_image(77).features.embedding
    selection = Selection(
        frozenset(labels),
        where=parse_filter(text).where() if text else Selection().where,
        without_names=frozenset(excluded),
    )
    [found] = version.search(query[None], limit, selection)
    left = [
        image
        for image in gallery.list_images(limit=COUNT)
        if holds(image) and (not labels or image.label in labels) and image.name not in excluded
    ]
    scores = np.sort(version.embeddings([image.name for image in left]) @ query)[::-1][:limit]
    assert {match.image.name for match in found} <= {image.name for image in left}
    assert len({match.image.name for match in found}) == len(found)
    np.testing.assert_allclose([match.score for match in found], scores, atol=1e-6)
