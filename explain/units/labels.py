"""What labels a unit prefers: a unit as a detector of what the images of a gallery are labeled with."""

from collections import Counter
from dataclasses import dataclass

from whymatch.explain.units.tops import UnitTops

LABEL_IMAGES = 60
"""Of how many top images the labels are counted by default, as in the paper."""


@dataclass(frozen=True)
class LabelShare:
    """How many of the images that a unit responds to most have a label."""

    label: str
    image_count: int
    precision: float
    """Their share of the images that were counted."""


def label_shares(tops: UnitTops, count: int = LABEL_IMAGES) -> tuple[LabelShare, ...]:
    """Return the labels of a unit's leading images, most frequent first, of equals the one of the stronger response.

    count: of how many images; those that the unit responds to, if there are fewer. Images without a label count for no
        label, but in the precision of all.
    """
    leading = tops.images[:count]
    counts = Counter(one.image.label for one in leading if one.image.label)
    return tuple(LabelShare(label, number, number / len(leading)) for label, number in counts.most_common())
