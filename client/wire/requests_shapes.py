"""What requests of several services hold: names, images, regions and how to draw."""

from __future__ import annotations

from collections.abc import Sequence

from whymatch.client.inputs import ImageInput, Mask, Point, Polygon, Region, RegionInput, Stored, image_bytes
from whymatch.client.results import Box
from whymatch.v1 import shapes_pb2


def gallery_path(gallery: str) -> str:
    """Return the name that the API gives a gallery. Raises TypeError or ValueError for what is no plain name."""
    return f"galleries/{_plain_name('gallery', gallery)}"


def image_path(gallery: str, name: str) -> str:
    """Return the name that the API gives an image. Raises TypeError or ValueError for what is no plain name."""
    return f"{gallery_path(gallery)}/images/{_plain_name('image', name)}"


def image_source(image: ImageInput | Stored, gallery: str) -> shapes_pb2.ImageSource:
    """Name a stored image, or carry the bytes of any other."""
    if isinstance(image, Stored):
        return shapes_pb2.ImageSource(image=image_path(image.gallery or gallery, image.name))
    return shapes_pb2.ImageSource(content=image_bytes(image))


def region(given: RegionInput) -> shapes_pb2.Region:
    """Carry a region; a bare shape has weight 1 and is in pixels."""
    region = given if isinstance(given, Region) else Region(given)
    message = shapes_pb2.Region(weight=region.weight, relative=region.relative)
    match region.shape:
        case Box(left_px, top_px, right_px, bottom_px):
            box = shapes_pb2.PixelBox(left_px=left_px, top_px=top_px, right_px=right_px, bottom_px=bottom_px)
            message.box.CopyFrom(box)
        case Polygon(points):
            message.polygon.points.extend(shapes_pb2.PixelPoint(x_px=x_px, y_px=y_px) for x_px, y_px in points)
            message.polygon.SetInParent()
        case Mask(image):
            message.mask = image_bytes(image)
        case Point(x_px, y_px):
            message.point.CopyFrom(shapes_pb2.PixelPoint(x_px=x_px, y_px=y_px))
        case shape:
            raise TypeError(f"a region is a Box, Polygon, Mask, Point or Region, not {type(shape).__name__}")
    return message


def regions(argument: str, regions: Sequence[RegionInput]) -> list[shapes_pb2.Region]:
    """Carry the regions of an argument; raise TypeError for one alone."""
    if isinstance(regions, (Region, Box, Polygon, Mask, Point)):
        raise TypeError(f"{argument} is a sequence of regions, not one; write {argument}=[{regions!r}]")
    return [region(one) for one in regions]


def left_out(argument: str, ignored: Sequence[RegionInput]) -> list[shapes_pb2.Region]:
    """Carry regions as parts that do not count; raise TypeError for one alone."""
    messages = regions(argument, ignored)
    for message in messages:
        message.weight = 0
    return messages


def several(argument: str, words: Sequence[str]) -> Sequence[str]:
    """Return the words of an argument; raise TypeError for one string."""
    if isinstance(words, str):
        raise TypeError(f"{argument} is a sequence of {argument}, not one string; write {argument}=[{words!r}]")
    return words


def parent(head_of: str | None) -> str:
    """Name the gallery whose head counts; empty leaves that to the images."""
    return gallery_path(head_of) if head_of else ""


def overlay_options(overlays: bool | int) -> shapes_pb2.OverlayOptions | None:
    """Ask for pictures of some size in pixels, or of the server's default if `overlays` is True; or for none."""
    if overlays is False:
        return None
    if not isinstance(overlays, int) or overlays < 1:
        raise ValueError(f"overlays is {overlays!r}; take True, or the longer side of the pictures in pixels")
    return shapes_pb2.OverlayOptions(size_px=0 if overlays is True else overlays)


def _plain_name(what: str, name: str) -> str:
    if not isinstance(name, str):
        raise TypeError(f"the name of one {what} is a text, not {name!r}; call once for each {what}, by its name")
    if name.startswith("galleries/"):
        gallery, _, image = name.removeprefix("galleries/").partition("/images/")
        short = f"{image!r} with gallery={gallery!r}" if image else repr(gallery)
        raise ValueError(f"{name!r} is a name of the API for other languages; here it is {short}")
    return name
