"""Which units say something of an image: those that respond to it most, or those that detect a label."""

from collections.abc import Sequence

from whymatch.embed import Array
from whymatch.explain.units.labels import LabelShare, label_shares
from whymatch.explain.units.tops import UnitTops


def strongest(tops: Sequence[UnitTops], peaks: Array, count: int) -> list[int]:
    """Return the units that respond to an image most, as shares of their largest responses over a gallery.

    tops: of all units. peaks: (units,), their largest responses to the image. Dead units and silent ones are left out.
    """
    shares = {one.unit: float(peaks[one.unit]) / one.maximum for one in tops if not one.is_dead and peaks[one.unit] > 0}
    return sorted(shares, key=lambda unit: -shares[unit])[:count]


def detected_labels(tops: Sequence[UnitTops], image_count: int, precision: float) -> dict[int, LabelShare]:
    """Return the label that each unit detects: that of most of its leading images, if their share is `precision`.

    image_count: how many leading images count.
    """
    firsts = {one.unit: label_shares(one, image_count)[:1] for one in tops}
    return {unit: label for unit, labels in firsts.items() for label in labels if label.precision >= precision}
