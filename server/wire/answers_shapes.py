"""What answers of several services hold: boxes, maps and the scale of their colors."""

from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from whymatch.embed import Progress
from whymatch.explain import Bounds, ColorScale
from whymatch.server.logs import request_id
from whymatch.server.match_maps import ShownMap
from whymatch.server.provenance import Provenance
from whymatch.v1 import shapes_pb2

SERVER_VERSION = version("whymatch")


def provenance(one: Provenance) -> shapes_pb2.Provenance:
    """Return where an answer of the call that is running here comes from."""
    facts = asdict(one) | {"gallery": f"galleries/{one.gallery}" if one.gallery else ""}
    return shapes_pb2.Provenance(**facts, server_version=SERVER_VERSION, request_id=request_id.get())


def progress(one: Progress[Any]) -> shapes_pb2.Progress:
    """Return how far a call is."""
    return shapes_pb2.Progress(counted=one.counted, done=one.done, total=one.total)


def image_name(gallery: str, image: str) -> str:
    """Return the name of a stored image."""
    return f"galleries/{gallery}/images/{image}"


def color_scale(scale: ColorScale | None) -> shapes_pb2.ColorScale | None:
    """Return the scale of an answer's pictures."""
    if scale is None:
        return None
    return shapes_pb2.ColorScale(low=scale.low, high=scale.high, color_map=scale.color_map)


def similarity_map(shown: ShownMap) -> shapes_pb2.SimilarityMap:
    """Return a map with its picture and its best box."""
    values, placement = shown.map.values, shown.map.placement
    rows, columns = values.shape
    return shapes_pb2.SimilarityMap(
        rows=rows,
        columns=columns,
        values=values.ravel().tolist(),
        total=shown.map.total,
        width_px=placement.width_px,
        height_px=placement.height_px,
        area=box(placement.area),
        overlay_png=shown.picture,
        best_box=box(shown.best_box) if shown.best_box else None,
    )


def box(bounds: Bounds) -> shapes_pb2.PixelBox:
    """Return a rectangle of pixels of the original."""
    left, top, right, bottom = bounds
    return shapes_pb2.PixelBox(left_px=left, top_px=top, right_px=right, bottom_px=bottom)
