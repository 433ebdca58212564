"""Near duplicates, folding and diversity through a channel."""

import numpy as np
import pytest
from sample_pictures import png
from server_harness import failure

from whymatch.v1.search_service_pb2 import FindDuplicatesRequest, SearchRequest


@pytest.fixture
def doubled(api, parent):
    """Six pictures, three of which are stored twice."""
    api.add(parent, {f"{n}.png": png(n) for n in range(6)}, label="first")
    api.add(parent, {f"copy-{n}.png": png(n) for n in range(3)}, label="copy")
    return parent


def names(messages) -> list[str]:
    return [message.image.name.rpartition("/")[2] for message in messages]


def groups(api, parent: str, above: float, **options: str) -> list[list[str]]:
    answers = list(api.find_duplicates(FindDuplicatesRequest(parent=parent, above=above, **options)))
    assert answers[0].provenance.gallery == parent
    found = [answer.group for answer in answers if answer.HasField("group")]
    assert all(-1 <= group.least_score <= group.largest_score <= 1 for group in found)
    return [[name.rpartition("/")[2] for name in group.images] for group in found]


def test_copies_are_groups_in_the_order_of_adding(api, doubled):
    assert groups(api, doubled, 1) == [[f"{n}.png", f"copy-{n}.png"] for n in range(3)]
    assert len(groups(api, doubled, -1)[0]) == 9
    assert groups(api, doubled, 1, filter='label = "first"') == []


def test_progress_comes_first_and_reaches_the_end(api, doubled):
    answers = list(api.find_duplicates(FindDuplicatesRequest(parent=doubled, above=1)))
    steps = [answer.progress for answer in answers if answer.HasField("progress")]
    assert (steps[0].counted, steps[0].done, steps[0].total) == ("images", 0, 9)
    assert (steps[-1].done, steps[-1].total) == (9, 9)


def test_copies_are_folded_into_the_better_match(api, doubled):
    request = SearchRequest(parent=doubled, image={"content": png(1)}, fold_above=1)
    found = api.search(request).matches
    together = [sorted(names([match, *match.folded])) for match in found]
    assert sorted(together) == [[f"{n}.png", f"copy-{n}.png"] for n in range(3)] + [[f"{n}.png"] for n in (3, 4, 5)]
    first = found[0]
    assert first.folded[0].score == first.score
    assert first.folded[0].image_score == first.image_score


def test_folded_matches_of_a_region_search_know_the_whole_image(api, doubled):
    region = {"box": {"right_px": 0.5, "bottom_px": 1}, "relative": True}
    [first, *_] = api.search(
        SearchRequest(parent=doubled, image={"content": png(1)}, fold_above=1, regions=[region])
    ).matches
    assert first.folded[0].image_score == pytest.approx(first.image_score)
    assert first.folded[0].image_score != first.folded[0].score


def test_full_diversity_takes_what_is_least_alike(api, photos, embed):
    found = names(api.search(SearchRequest(parent=photos, image={"content": png(3)}, limit=3, diversity=1)).matches)
    vectors = {f"{n}.png": embed(png(n)).embedding for n in range(12)}
    alike = {name: float(vectors["3.png"] @ vector) for name, vector in vectors.items()}
    assert found[0] == "3.png"
    assert found[1] == min(alike, key=alike.__getitem__)
    plain = api.search(SearchRequest(parent=photos, image={"content": png(3)}, limit=3, diversity=0)).matches
    assert names(plain) == sorted(alike, key=lambda name: -alike[name])[:3]


@pytest.mark.parametrize(
    ("field", "value"),
    [("diversity", -0.1), ("diversity", 1.5), ("diversity", np.nan), ("fold_above", -1.5), ("fold_above", np.nan)],
)
def test_numbers_out_of_range_are_refused(api, photos, field, value):
    request = SearchRequest(parent=photos, image={"content": png(3)}, **{field: value})
    assert failure(lambda: api.search(request)) == ("INVALID_ARGUMENT", "BAD_REQUEST")


@pytest.mark.parametrize("options", [{}, {"above": 1.5}, {"above": np.nan}, {"above": 0.9, "filter": "label ="}])
def test_duplicates_of_what_cannot_be_are_refused(api, photos, options):
    request = FindDuplicatesRequest(parent=photos, **options)
    assert failure(lambda: list(api.find_duplicates(request)))[0] == "INVALID_ARGUMENT"
