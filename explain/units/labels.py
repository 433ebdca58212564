"""What labels a unit prefers: a unit as a detector of what the images of a gallery are labeled with."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from whymatch.explain.units.tops import UnitTops
from whymatch.index import StoredImage

LABEL_IMAGES, FEWEST_LABEL_IMAGES = 60, 9
"""Of how many top images the labels are counted by default, at most, as in the paper, and at least."""


@dataclass(frozen=True)
class LabelShare:
    """How many of the images that a unit responds to most have a label."""

    label: str
    image_count: int
    precision: float
    """Their share of the images that were counted."""


def usual_label_images(images: Sequence[StoredImage]) -> int:
    """Return of how many top images the labels are counted by default: as many as the most frequent label has.

    More would keep every unit from being precise in a small gallery. Of too few a share says little, and 60 are counted
    where no image has a label.
    """
    counts = Counter(image.label for image in images if image.label)
    most = max(counts.values(), default=LABEL_IMAGES)
    return min(LABEL_IMAGES, max(FEWEST_LABEL_IMAGES, most))


def label_shares(tops: UnitTops, count: int = LABEL_IMAGES) -> tuple[LabelShare, ...]:
    """Return the labels of a unit's leading images, most frequent first, of equals the one of the stronger response.

    count: of how many images; those that the unit responds to, if there are fewer. Images without a label count for no
        label, but in the precision of all.
    """
    leading = tops.images[:count]
    counts = Counter(one.image.label for one in leading if one.image.label)
    return tuple(LabelShare(label, number, number / len(leading)) for label, number in counts.most_common())
