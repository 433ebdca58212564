"""Groups of near duplicates, against pairs that are looked at one by one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whymatch.index import duplicates
from whymatch.index.duplicates import near_duplicates


def units(rows: list[list[float]]) -> np.ndarray:
    vectors = np.array(rows, np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def groups_of(vectors: np.ndarray, above: float) -> list[duplicates.DuplicateGroup]:
    *_, last = near_duplicates(vectors, above)
    return last.result


def by_hand(vectors: np.ndarray, above: float) -> list[list[int]]:
    """Join the groups of each pair, one after the other."""
    groups = [{place} for place in range(len(vectors))]
    for first in range(len(vectors)):
        for second in range(first):
            if float(vectors[first] @ vectors[second]) >= above - 1e-6:
                joined = groups[first] | groups[second]
                for place in joined:
                    groups[place] = joined
    several = {tuple(sorted(group)) for group in groups if len(group) > 1}
    return [list(group) for group in sorted(several, key=lambda group: (-len(group), group))]


@pytest.mark.hypothesis
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(0, 40), above=st.floats(-1, 1))
def test_groups_are_those_of_all_pairs_joined_one_by_one(seed, count, above):
    vectors = units(np.random.default_rng(seed).standard_normal((count, 3)).tolist()) if count else np.zeros((0, 3))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duplicates, "ROWS", 3)
        patch.setattr(duplicates, "COLUMNS", 5)
        groups = groups_of(vectors.astype(np.float32), above)
    assert [group.members.tolist() for group in groups] == by_hand(vectors, above)
    for group in groups:
        members = vectors[group.members]
        scores = (members @ members.T)[np.triu_indices(len(members), 1)]
        assert (group.least, group.largest) == pytest.approx((scores.min(), scores.max()), abs=1e-6)


def test_a_chain_is_one_group_and_says_how_far_its_ends_are_apart():
    angles = np.radians([0, 20, 40, 90, 91])
    [chain, pair] = groups_of(units(np.stack([np.cos(angles), np.sin(angles)], axis=1).tolist()), 0.9)
    assert (chain.members.tolist(), pair.members.tolist()) == ([0, 1, 2], [3, 4])
    assert chain.least == pytest.approx(np.cos(np.radians(40)))
    assert chain.largest == pytest.approx(np.cos(np.radians(20)))


def test_copies_are_near_duplicates_whatever_float32_rounds():
    vectors = units(np.repeat(np.random.default_rng(0).standard_normal((4, 512)), 2, axis=0).tolist())
    assert [(group.members.tolist(), group.largest) for group in groups_of(vectors, 1)] == [
        ([place, place + 1], pytest.approx(1)) for place in (0, 2, 4, 6)
    ]


def test_progress_grows_to_the_number_of_vectors():
    vectors = units(np.random.default_rng(0).standard_normal((2500, 8)).tolist())
    steps = list(near_duplicates(vectors, 0.999))
    assert [step.done for step in steps][:3] == [0, 1024, 2048]
    assert steps[-1].done == steps[-1].total == 2500
