"""Similarity maps on their way out: as messages, and as pictures when they are asked for."""

from collections.abc import Sequence

from whymatch.explain import ColorScale, SimilarityMap, render_overlay, shared_scale
from whymatch.server import convert
from whymatch.server.backend import Backend, Source
from whymatch.v1.similarity_pb2 import ColorScale as ColorScaleMessage
from whymatch.v1.similarity_pb2 import OverlayOptions
from whymatch.v1.similarity_pb2 import SimilarityMap as SimilarityMapMessage

MapOf = tuple[SimilarityMap, Source]
"""A map and the image that it is of."""


async def with_pictures(
    backend: Backend, maps: Sequence[MapOf], options: OverlayOptions
) -> tuple[list[SimilarityMapMessage], ColorScaleMessage | None]:
    """Return maps as messages with pictures on one scale, and that scale. Raises BadRequest."""
    size_px = convert.overlay_px(options)
    if not maps:
        return [], None
    scale = shared_scale(similarity for similarity, _ in maps)
    messages = [await _with_picture(backend, similarity, source, scale, size_px) for similarity, source in maps]
    return messages, convert.color_scale(scale)


async def _with_picture(
    backend: Backend, similarity: SimilarityMap, source: Source, scale: ColorScale, size_px: int
) -> SimilarityMapMessage:
    content = await backend.content(source)
    limits = backend.embedder.limits
    png = await backend.run(render_overlay, content, similarity, scale, size_px=size_px, limits=limits)
    return convert.similarity_map(similarity, png)
