"""Requests from arguments: together with `convert` the only place of the client that knows the fields of messages."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from whymatch.client.inputs import (
    ImageInput,
    Mask,
    NewImage,
    Point,
    Polygon,
    Query,
    Region,
    RegionInput,
    Stored,
    image_bytes,
    image_name,
)
from whymatch.client.results import Box
from whymatch.v1 import (
    embed_service_pb2,
    explain_service_pb2,
    gallery_service_pb2,
    search_service_pb2,
    similarity_pb2,
)


def gallery_path(gallery: str) -> str:
    """Return the name that the API gives a gallery."""
    return f"galleries/{gallery}"


def image_path(gallery: str, name: str) -> str:
    """Return the name that the API gives an image."""
    return f"galleries/{gallery}/images/{name}"


def search(
    query: Query,
    gallery: str,
    *,
    limit: int,
    labels: Sequence[str],
    regions: Sequence[RegionInput],
    best_per_label: bool,
    with_maps: bool,
    overlays: bool,
    overlay_size_px: int,
    box_share: float,
) -> search_service_pb2.SearchRequest:
    """Ask for the matches of `query`."""
    request = search_service_pb2.SearchRequest(
        parent=gallery_path(gallery),
        limit=limit,
        labels=_several("labels", labels),
        regions=_regions("regions", regions),
        best_per_label=best_per_label,
        with_maps=with_maps,
        overlays=_overlay_options(overlays, overlay_size_px),
        box_share=box_share,
    )
    if isinstance(query, np.ndarray):
        request.embedding.values.extend(_vector(query))
    else:
        request.image.CopyFrom(image_source(query, gallery))
    return request


def rerank(
    query: ImageInput | Stored,
    gallery: str,
    *,
    query_regions: Sequence[RegionInput],
    match_regions: Sequence[RegionInput],
    candidates: Sequence[str],
    candidate_limit: int,
    limit: int,
    labels: Sequence[str],
    with_maps: bool,
    overlays: bool,
    overlay_size_px: int,
    box_share: float,
) -> search_service_pb2.RerankRequest:
    """Ask to order candidates by parts of their similarity to `query`."""
    return search_service_pb2.RerankRequest(
        parent=gallery_path(gallery),
        query=image_source(query, gallery),
        query_regions=_regions("query_regions", query_regions),
        match_regions=_regions("match_regions", match_regions),
        candidates=[image_path(gallery, name) for name in _several("candidates", candidates)],
        candidate_limit=None if candidates else candidate_limit,
        limit=limit,
        labels=_several("labels", labels),
        with_maps=with_maps,
        overlays=_overlay_options(overlays, overlay_size_px),
        box_share=box_share,
    )


def explain_match(
    query: ImageInput | Stored,
    match: ImageInput | Stored,
    gallery: str,
    *,
    query_regions: Sequence[RegionInput],
    match_regions: Sequence[RegionInput],
    channel_limit: int,
    correspondence_limit: int,
    overlays: bool,
    overlay_size_px: int,
    box_share: float,
) -> explain_service_pb2.ExplainMatchRequest:
    """Ask why two images match."""
    return explain_service_pb2.ExplainMatchRequest(
        query=image_source(query, gallery),
        match=image_source(match, gallery),
        query_regions=_regions("query_regions", query_regions),
        match_regions=_regions("match_regions", match_regions),
        channel_limit=channel_limit,
        correspondence_limit=correspondence_limit,
        overlays=_overlay_options(overlays, overlay_size_px),
        box_share=box_share,
    )


def explain_label(
    query: ImageInput | Stored, label: str, gallery: str, *, overlays: bool, overlay_size_px: int, box_share: float
) -> explain_service_pb2.ExplainLabelRequest:
    """Ask why an image is similar to the images of a label."""
    return explain_service_pb2.ExplainLabelRequest(
        parent=gallery_path(gallery),
        query=image_source(query, gallery),
        label=label,
        overlays=_overlay_options(overlays, overlay_size_px),
        box_share=box_share,
    )


def explain_components(gallery: str, *, pair_count: int, seed: int) -> explain_service_pb2.ExplainComponentsRequest:
    """Ask how few channels carry a similarity."""
    return explain_service_pb2.ExplainComponentsRequest(parent=gallery_path(gallery), pair_count=pair_count, seed=seed)


def embed(image: ImageInput | Stored, gallery: str, *, with_feature_map: bool) -> embed_service_pb2.EmbedImageRequest:
    """Ask for the embedding of an image."""
    return embed_service_pb2.EmbedImageRequest(source=image_source(image, gallery), with_feature_map=with_feature_map)


def add(new: NewImage | ImageInput, gallery: str) -> gallery_service_pb2.AddImagesRequest:
    """Ask to add one image, which is read now."""
    new = new if isinstance(new, NewImage) else NewImage(new)
    return gallery_service_pb2.AddImagesRequest(
        parent=gallery_path(gallery),
        image_id=image_name(new),
        content=image_bytes(new.content),
        label=new.label,
        metadata=dict(new.metadata),
    )


def create_gallery(
    name: str, *, index_factory: str, omit_feature_maps: bool
) -> gallery_service_pb2.CreateGalleryRequest:
    """Ask for a new gallery."""
    settings = gallery_service_pb2.Gallery(index_factory=index_factory, omit_feature_maps=omit_feature_maps)
    return gallery_service_pb2.CreateGalleryRequest(gallery_id=name, gallery=settings)


def image_source(image: ImageInput | Stored, gallery: str) -> similarity_pb2.ImageSource:
    """Name a stored image, or carry the bytes of any other."""
    if isinstance(image, Stored):
        return similarity_pb2.ImageSource(image=image_path(image.gallery or gallery, image.name))
    return similarity_pb2.ImageSource(content=image_bytes(image))


def region(given: RegionInput) -> similarity_pb2.Region:
    """Carry a region; a bare shape has weight 1 and is in pixels."""
    region = given if isinstance(given, Region) else Region(given)
    message = similarity_pb2.Region(weight=region.weight, relative=region.relative)
    match region.shape:
        case Box(left_px, top_px, right_px, bottom_px):
            box = similarity_pb2.PixelBox(left_px=left_px, top_px=top_px, right_px=right_px, bottom_px=bottom_px)
            message.box.CopyFrom(box)
        case Polygon(points):
            message.polygon.points.extend(similarity_pb2.PixelPoint(x_px=x_px, y_px=y_px) for x_px, y_px in points)
            message.polygon.SetInParent()
        case Mask(image):
            message.mask = image_bytes(image)
        case Point(x_px, y_px):
            message.point.CopyFrom(similarity_pb2.PixelPoint(x_px=x_px, y_px=y_px))
        case shape:
            raise TypeError(f"a region is a Box, Polygon, Mask, Point or Region, not {type(shape).__name__}")
    return message


def _regions(argument: str, regions: Sequence[RegionInput]) -> list[similarity_pb2.Region]:
    if isinstance(regions, (Region, Box, Polygon, Mask, Point)):
        raise TypeError(f"{argument} is a sequence of regions, not one; write {argument}=[{regions!r}]")
    return [region(one) for one in regions]


def _several(argument: str, words: Sequence[str]) -> Sequence[str]:
    if isinstance(words, str):
        raise TypeError(f"{argument} is a sequence of {argument}, not one string; write {argument}=[{words!r}]")
    return words


def _overlay_options(overlays: bool, size_px: int) -> similarity_pb2.OverlayOptions | None:
    return similarity_pb2.OverlayOptions(size_px=size_px) if overlays else None


def _vector(embedding: np.ndarray) -> list[float]:
    if embedding.ndim != 1:
        raise ValueError(
            f"an embedding is one vector, not an array of shape {embedding.shape}; "
            "turn an array of pixels into an image with PIL.Image.fromarray"
        )
    return embedding.tolist()  # type: ignore[no-any-return]
