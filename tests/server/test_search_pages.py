"""Pages of a search: together they are one long search, whatever the gallery becomes meanwhile."""

import base64
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_pictures import png
from server_harness import failure

from whymatch.index import Match
from whymatch.server.search_pages import DEEPEST, Cursor, Page
from whymatch.v1.gallery_service_pb2 import DeleteImagesRequest, GetGalleryRequest, PurgeGalleryRequest
from whymatch.v1.search_service_pb2 import SearchRequest


def names(answer):
    return [match.image.name.rpartition("/")[2] for match in answer.matches]


def facts(answer):
    return [(match.image.name, match.score) for match in answer.matches]


def query(parent, seed=50, **options):
    return SearchRequest(parent=parent, image={"content": png(seed)}, **options)


def pages(api, request):
    """Yield the pages of a search."""
    while True:
        answer = api.search(request)
        yield answer
        if not answer.next_page_token:
            return
        request.page_token = answer.next_page_token


@pytest.fixture
def copies(api, parent):
    """Twelve pictures, of which the first and the second are stored four times each."""
    api.add(parent, {f"{n}.png": png(n) for n in range(12)}, label="one")
    for seed in (0, 1):
        api.add(parent, {f"{seed}, {copy}.png": png(seed) for copy in range(3)}, label="other")
    return parent


@pytest.mark.parametrize("size", [1, 2, 5, 7, 18, 50])
@pytest.mark.parametrize("options", [{}, {"regions": [{"box": {"right_px": 40, "bottom_px": 30}}]}])
def test_pages_are_one_long_search(api, copies, size, options):
    whole = api.search(query(copies, limit=50, **options))
    apart = [match for page in pages(api, query(copies, limit=size, **options)) for match in page.matches]
    assert sorted(match.image.name for match in apart) == sorted(match.image.name for match in whole.matches)
    np.testing.assert_array_equal([one.score for one in apart], [one.score for one in whole.matches])


def test_pages_go_on_as_the_gallery_was(api, copies):
    whole = api.search(query(copies, seed=0, limit=50))
    first = api.search(query(copies, seed=0, limit=3))
    api.add(copies, {"new.png": png(0)})
    gone = [f"{copies}/images/{name}" for name in ("0.png", "7.png")]
    api.galleries.DeleteImages(DeleteImagesRequest(parent=copies, names=gone))
    rest = list(pages(api, query(copies, seed=0, limit=6, page_token=first.next_page_token)))
    assert sorted(names(first) + [name for page in rest for name in names(page)]) == sorted(names(whole))
    assert {page.provenance.generation for page in rest} == {first.provenance.generation}
    assert "new.png" in names(api.search(query(copies, seed=0)))


def test_labels_come_once_on_all_pages(api, copies):
    found = [
        match.image.label for page in pages(api, query(copies, limit=1, best_per_label=True)) for match in page.matches
    ]
    assert sorted(found) == ["one", "other"]


def test_pages_end_at_the_least_score(api, copies):
    whole = api.search(query(copies, limit=50))
    least = whole.matches[6].score
    found = [fact for page in pages(api, query(copies, limit=4, min_score=least)) for fact in facts(page)]
    assert [score for _, score in found] == [match.score for match in whole.matches if match.score >= least]


def test_the_last_page_has_no_token(api, copies):
    assert not api.search(query(copies, limit=50)).next_page_token
    assert not api.search(query(copies, limit=3, min_score=2)).next_page_token


def test_a_token_of_another_request_or_gallery_is_refused(api, copies, photos):
    token = api.search(query(copies, limit=3)).next_page_token
    others = [
        query(copies, seed=51, page_token=token),
        query(copies, page_token=token, exclude_itself=True),
        query(copies, page_token=token, at_generation=1),
        query(photos, page_token=token),
    ]
    for other in others:
        assert failure(lambda other=other: api.search(other)) == ("INVALID_ARGUMENT", "BAD_PAGE_TOKEN")
    assert names(api.search(query(copies, limit=2, page_token=token))) == names(api.search(query(copies, limit=5)))[3:]


def test_a_token_of_a_generation_that_was_purged_is_refused(api, copies):
    token = api.search(query(copies, limit=3)).next_page_token
    api.add(copies, {"new.png": png(20)})
    newest = api.galleries.GetGallery(GetGalleryRequest(name=copies)).generation
    api.galleries.PurgeGallery(PurgeGalleryRequest(name=copies, before_generation=newest))
    assert failure(lambda: api.search(query(copies, page_token=token))) == ("NOT_FOUND", "UNKNOWN_GENERATION")


def encoded(facts):
    return base64.urlsafe_b64encode(json.dumps(facts).encode()).decode()


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (1, -1),
        (1, 2**63),
        (1, True),
        (1, "1"),
        (2, 0),
        (2, DEEPEST),
        (2, 3.5),
        (3, float("nan")),
        (3, 1),
        (3, None),
        (4, "near"),
        (4, [1]),
        (4, None),
    ],
)
def test_forged_tokens_are_refused(api, photos, place, value):
    facts = json.loads(base64.urlsafe_b64decode(api.search(query(photos, limit=3)).next_page_token))
    api.search(query(photos, page_token=encoded(facts)))
    facts[place] = value
    assert failure(lambda: api.search(query(photos, page_token=encoded(facts)))) == (
        "INVALID_ARGUMENT",
        "BAD_PAGE_TOKEN",
    )


@pytest.mark.parametrize(
    "token", ["x", "é", "====", encoded(None), encoded([]), encoded({}), encoded(7), encoded("abcde"), "W1tb" * 50_000]
)
def test_what_is_no_token_is_refused(api, photos, token):
    assert failure(lambda: api.search(query(photos, page_token=token))) == ("INVALID_ARGUMENT", "BAD_PAGE_TOKEN")


class Named:
    """An image of which only the name counts."""

    def __init__(self, name):
        self.name = name


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=30), st.integers(1, 6), st.randoms(use_true_random=False))
def test_no_match_is_lost_or_repeated_though_scores_differ_in_their_last_bits(scores, size, random):
    vector = np.array([1, 0], np.float32)

    def search(depth):
        """Return the best matches by scores of which each is a little off, another time otherwise."""
        noisy = [Match(Named(str(n)), score / 4 + random.uniform(-5e-6, 5e-6)) for n, score in enumerate(scores)]
        return sorted(noisy, key=lambda match: -match.score)[:depth]

    came, cursor = [], None
    while True:
        page = Page(cursor, size, lambda match: match.image.name)
        found = search(page.depth)
        matches = page.matches(found, vector)
        came += [match.image.name for match in matches]
        cursor = page.next("request", 1, matches, vector) if len(found) == page.depth else None
        if cursor is None:
            break
    assert sorted(came, key=int) == [str(n) for n in range(len(scores))]


def test_pages_have_ten_thousand_matches_at_most():
    vector = np.array([1, 0], np.float32)
    cursor = Cursor("request", 1, DEEPEST - 2, 0.5, ())
    page = Page(cursor, 5, lambda match: match.image.name)
    matches = page.matches([Match(Named(str(n)), 0.4) for n in range(page.depth)], vector)
    assert (page.depth, len(matches), page.next("request", 1, matches, vector)) == (DEEPEST, 2, None)
