"""Requests of ExplainService; those of prediction difference have a file of their own."""

from __future__ import annotations

from collections.abc import Sequence

from whymatch.client.inputs import ImageInput, Label, RegionInput, Stored
from whymatch.client.results import InterActiveSetting
from whymatch.client.wire import requests_shapes
from whymatch.v1 import explain_service_pb2


def explain_match(
    query: ImageInput | Stored,
    match: ImageInput | Stored,
    gallery: str,
    *,
    head_of: str | None,
    query_regions: Sequence[RegionInput],
    match_regions: Sequence[RegionInput],
    channel_limit: int | None,
    correspondence_limit: int | None,
    overlays: bool | int,
    box_share: float | None,
    at_generation: int | None,
) -> explain_service_pb2.ExplainMatchRequest:
    """Ask why two images match."""
    return explain_service_pb2.ExplainMatchRequest(
        query=requests_shapes.image_source(query, gallery),
        match=requests_shapes.image_source(match, gallery),
        query_regions=requests_shapes.regions("query_regions", query_regions),
        match_regions=requests_shapes.regions("match_regions", match_regions),
        channel_limit=channel_limit,
        correspondence_limit=correspondence_limit,
        overlays=requests_shapes.overlay_options(overlays),
        box_share=box_share,
        parent=requests_shapes.parent(head_of),
        at_generation=at_generation,
    )


def explain_label(
    query: ImageInput | Stored,
    label: str,
    gallery: str,
    *,
    overlays: bool | int,
    box_share: float | None,
    filter: str,
    at_generation: int | None,
) -> explain_service_pb2.ExplainLabelRequest:
    """Ask why an image is similar to the images of a label."""
    return explain_service_pb2.ExplainLabelRequest(
        parent=requests_shapes.gallery_path(gallery),
        query=requests_shapes.image_source(query, gallery),
        label=label,
        overlays=requests_shapes.overlay_options(overlays),
        box_share=box_share,
        filter=filter,
        at_generation=at_generation,
    )


def explain_ranking(
    query: ImageInput | Stored,
    first: ImageInput | Stored | Label,
    second: ImageInput | Stored | Label,
    gallery: str,
    *,
    head_of: str | None,
    query_regions: Sequence[RegionInput],
    channel_limit: int | None,
    cell_limit: int | None,
    overlays: bool | int,
    box_share: float | None,
    at_generation: int | None,
) -> explain_service_pb2.ExplainRankingRequest:
    """Ask why a query is more similar to one thing than to another; labels are those of `gallery`."""
    labeled = isinstance(first, Label) or isinstance(second, Label)
    return explain_service_pb2.ExplainRankingRequest(
        parent=requests_shapes.gallery_path(gallery) if labeled else requests_shapes.parent(head_of),
        query=requests_shapes.image_source(query, gallery),
        first=_contender(first, gallery),
        second=_contender(second, gallery),
        query_regions=requests_shapes.regions("query_regions", query_regions),
        channel_limit=channel_limit,
        cell_limit=cell_limit,
        overlays=requests_shapes.overlay_options(overlays),
        box_share=box_share,
        at_generation=at_generation,
    )


def explain_rank(
    query: ImageInput | Stored,
    name: str,
    gallery: str,
    *,
    limit: int | None,
    query_regions: Sequence[RegionInput],
    exclude_itself: bool,
    at_generation: int | None,
) -> explain_service_pb2.ExplainRankRequest:
    """Ask where a stored image stands."""
    return explain_service_pb2.ExplainRankRequest(
        query=requests_shapes.image_source(query, gallery),
        image=requests_shapes.image_path(gallery, name),
        limit=limit,
        query_regions=requests_shapes.regions("query_regions", query_regions),
        exclude_itself=exclude_itself,
        at_generation=at_generation,
    )


def explain_neighbors(
    query: ImageInput | Stored,
    gallery: str,
    *,
    limit: int | None,
    label_limit: int | None,
    query_regions: Sequence[RegionInput],
    at_generation: int | None,
) -> explain_service_pb2.ExplainNeighborsRequest:
    """Ask for the labels around a query."""
    return explain_service_pb2.ExplainNeighborsRequest(
        parent=requests_shapes.gallery_path(gallery),
        query=requests_shapes.image_source(query, gallery),
        limit=limit,
        label_limit=label_limit,
        query_regions=requests_shapes.regions("query_regions", query_regions),
        at_generation=at_generation,
    )


def explain_components(
    gallery: str, *, pair_count: int | None, seed: int | None, filter: str, at_generation: int | None
) -> explain_service_pb2.ExplainComponentsRequest:
    """Ask how few channels carry a similarity."""
    return explain_service_pb2.ExplainComponentsRequest(
        parent=requests_shapes.gallery_path(gallery),
        pair_count=pair_count,
        seed=seed or 0,
        filter=filter,
        at_generation=at_generation,
    )


def explain_interactive(
    image: ImageInput | Stored,
    settings: Sequence[InterActiveSetting],
    gallery: str,
    *,
    size_px: int | None,
    warp: bool,
    descriptor: str | None,
    overlays: bool | int,
) -> explain_service_pb2.ExplainInterActiveRequest:
    """Ask how active the neurons of some layers are."""
    if isinstance(settings, InterActiveSetting):
        raise TypeError(f"settings is a sequence, not one setting; write settings=[{settings!r}]")
    return explain_service_pb2.ExplainInterActiveRequest(
        image=requests_shapes.image_source(image, gallery),
        settings=[
            explain_service_pb2.InterActiveSetting(layer=one.layer, supervision=one.supervision, norm=one.norm)
            for one in settings
        ],
        size_px=size_px,
        warp=warp,
        descriptor=descriptor or "",
        overlays=requests_shapes.overlay_options(overlays),
    )


def _contender(one: ImageInput | Stored | Label, gallery: str) -> explain_service_pb2.Contender:
    if isinstance(one, Label):
        return explain_service_pb2.Contender(label=one.name)
    return explain_service_pb2.Contender(image=requests_shapes.image_source(one, gallery))
