"""The receptive field of a unit, found on the images of a gallery that it responds to most."""

from collections.abc import Iterator
from dataclasses import dataclass

from whymatch.embed import DecodeLimits, Model, Progress
from whymatch.explain.units.empirical_field import EmpiricalField, find_empirical_field
from whymatch.explain.units.gallery_units import UnitsOfGallery
from whymatch.explain.units.occluders import OccluderSetting
from whymatch.explain.units.receptive_field import ReceptiveField
from whymatch.explain.units.tops import TopTable
from whymatch.index import Gallery

FIELD_IMAGES = 10
"""K by default."""


@dataclass(frozen=True, eq=False)
class UnitField:
    """What a unit sees, by the geometry of the network and really."""

    theoretical: ReceptiveField
    """For a square input."""
    empirical: EmpiricalField | None
    """None for a dead unit, which no image makes respond."""


def field_in_gallery(
    gallery: Gallery,
    model: Model,
    layer: str,
    unit: int,
    image_count: int | None,
    setting: OccluderSetting,
    limits: DecodeLimits,
) -> Iterator[Progress[UnitField]]:
    """Occlude the top images of a unit; yields how far the pass and then the occluding is, and last the field.

    image_count: K; None for `FIELD_IMAGES`, or as many as the gallery has. Fewer, where the unit responds to fewer.

    Raises:
        BadLayer, BadTarget, BadWindow: as `find_empirical_field` does.
        TooFewImages: the gallery is empty, or has fewer different images than were asked for.
        StorageFull, ReadOnlyStorage: the peaks cannot be kept.
    """
    setting.check()
    found = UnitsOfGallery(gallery, model, layer, limits)
    found.check([unit])
    table: TopTable | None = None
    for progress in found.tops([unit], image_count or FIELD_IMAGES, at_least=image_count or 1):
        table = progress.result
        yield Progress(progress.counted, progress.done, progress.total)
    assert table
    tops = [(found.pixels(top), top.cell) for top in table.of(0).images]
    images = [(pixels, cell) for pixels, cell in tops if pixels is not None]
    empirical: EmpiricalField | None = None
    done = total = 0
    for occluding in find_empirical_field(model, layer, unit, images, setting) if images else ():
        empirical, done, total = occluding.result, occluding.done, occluding.total
        yield Progress("evaluations", done, total)
    yield Progress("evaluations", done, total, UnitField(found.field, empirical))
