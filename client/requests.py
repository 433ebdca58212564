"""Requests from arguments: together with `convert` the only place of the client that knows the fields of messages."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from whymatch.client.inputs import (
    HeadKind,
    ImageInput,
    Mask,
    NewImage,
    Point,
    Polygon,
    Query,
    Region,
    RegionInput,
    SamplerKind,
    Stored,
    image_bytes,
    image_name,
)
from whymatch.client.results import Box, Embedding, InterActiveSetting
from whymatch.client.targets import (
    ClassProbability,
    ClassScore,
    Evidence,
    ImageEvidence,
    PredictionTarget,
    Similarity,
    Unit,
)
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
        overlays=overlay_options(overlays, overlay_size_px),
        box_share=box_share,
    )
    if isinstance(query, Embedding):
        request.embedding.values.extend(_vector(query.embedding))
        request.embedding.model = query.model
    elif isinstance(query, np.ndarray):
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
        overlays=overlay_options(overlays, overlay_size_px),
        box_share=box_share,
    )


def explain_match(
    query: ImageInput | Stored,
    match: ImageInput | Stored,
    gallery: str,
    *,
    head_of: str | None,
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
        overlays=overlay_options(overlays, overlay_size_px),
        box_share=box_share,
        parent=_parent(head_of),
    )


def explain_label(
    query: ImageInput | Stored, label: str, gallery: str, *, overlays: bool, overlay_size_px: int, box_share: float
) -> explain_service_pb2.ExplainLabelRequest:
    """Ask why an image is similar to the images of a label."""
    return explain_service_pb2.ExplainLabelRequest(
        parent=gallery_path(gallery),
        query=image_source(query, gallery),
        label=label,
        overlays=overlay_options(overlays, overlay_size_px),
        box_share=box_share,
    )


def explain_components(gallery: str, *, pair_count: int, seed: int) -> explain_service_pb2.ExplainComponentsRequest:
    """Ask how few channels carry a similarity."""
    return explain_service_pb2.ExplainComponentsRequest(parent=gallery_path(gallery), pair_count=pair_count, seed=seed)


def explain_interactive(
    image: ImageInput | Stored,
    settings: Sequence[InterActiveSetting],
    gallery: str,
    *,
    size_px: int | None,
    warp: bool,
    descriptor: str | None,
    overlays: bool,
    overlay_size_px: int,
) -> explain_service_pb2.ExplainInterActiveRequest:
    """Ask how active the neurons of some layers are."""
    if isinstance(settings, InterActiveSetting):
        raise TypeError(f"settings is a sequence, not one setting; write settings=[{settings!r}]")
    return explain_service_pb2.ExplainInterActiveRequest(
        source=image_source(image, gallery),
        settings=[
            explain_service_pb2.InterActiveSetting(layer=one.layer, supervision=one.supervision, norm=one.norm)
            for one in settings
        ],
        size_px=size_px,
        warp=warp,
        descriptor=descriptor or "",
        overlays=overlay_options(overlays, overlay_size_px),
    )


def prediction_difference(
    image: ImageInput | Stored,
    targets: Sequence[PredictionTarget],
    gallery: str,
    *,
    window_px: int,
    context_px: int | None,
    sample_count: int,
    stride_px: int,
    sampler: SamplerKind,
    seed: int,
    max_standard_error: float | None,
    batch_size: int | None,
    training_image_count: int | None,
    refit_sampler: bool,
    with_sensitivity: bool,
    overlays: bool,
    overlay_size_px: int,
) -> explain_service_pb2.ExplainPredictionDifferenceRequest:
    """Ask what each part of an image is worth."""
    if isinstance(targets, PredictionTarget):
        raise TypeError(f"targets is a sequence, not one target; write targets=[{targets!r}]")
    return explain_service_pb2.ExplainPredictionDifferenceRequest(
        parent=gallery_path(gallery),
        source=image_source(image, gallery),
        targets=[prediction_target(one, gallery) for one in targets],
        window_px=window_px,
        context_px=context_px,
        sample_count=sample_count,
        stride_px=stride_px,
        sampler=sampler,
        seed=seed,
        max_standard_error=max_standard_error,
        batch_size=batch_size,
        training_image_count=training_image_count,
        refit_sampler=refit_sampler,
        with_sensitivity=with_sensitivity,
        overlays=overlay_options(overlays, overlay_size_px),
    )


def resume_prediction_difference(
    name: str, *, overlays: bool, overlay_size_px: int
) -> explain_service_pb2.ExplainPredictionDifferenceRequest:
    """Ask to go on with an explanation."""
    return explain_service_pb2.ExplainPredictionDifferenceRequest(
        name=f"explanations/{name.removeprefix('explanations/')}", overlays=overlay_options(overlays, overlay_size_px)
    )


def prediction_target(target: PredictionTarget, gallery: str) -> explain_service_pb2.PredictionTarget:
    """Carry what is to be explained."""
    message = explain_service_pb2.PredictionTarget()
    match target:
        case ClassProbability(name):
            message.class_probability = name
        case ClassScore(name):
            message.class_score = name
        case Unit(layer, channel, cell):
            message.unit.CopyFrom(_unit(layer, channel, cell))
        case Similarity(image):
            message.similarity.CopyFrom(image_source(image, gallery))
        case Evidence(label):
            message.label_evidence = label
        case ImageEvidence(name, other):
            message.image_evidence = image_path(other or gallery, name)
        case _:
            raise TypeError(
                f"a target is for example ClassProbability('top1') or read_target('class:top1'), not {target!r}"
            )
    return message


def embed(
    image: ImageInput | Stored, gallery: str, *, head_of: str | None, with_feature_map: bool
) -> embed_service_pb2.EmbedImageRequest:
    """Ask for the embedding of an image."""
    return embed_service_pb2.EmbedImageRequest(
        source=image_source(image, gallery), with_feature_map=with_feature_map, parent=_parent(head_of)
    )


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


def set_head(
    gallery: str, kind: HeadKind, *, dimensions: int | None, weight: ArrayLike | None, bias: ArrayLike | None
) -> gallery_service_pb2.SetHeadRequest:
    """Ask for another head."""
    request = gallery_service_pb2.SetHeadRequest(name=gallery_path(gallery))
    match kind:
        case "none":
            request.none.SetInParent()
        case "centering":
            request.centering.SetInParent()
        case "whitening":
            request.whitening.CopyFrom(_whitening(dimensions))
        case "linear":
            matrix, vector = layer(weight, bias)
            request.linear.weight.extend(matrix.ravel().tolist())
            request.linear.bias.extend(vector.tolist())
        case _:
            raise ValueError(f"a head is 'none', 'centering', 'whitening' or 'linear', not {kind!r}")
    if dimensions is not None and kind != "whitening":
        raise ValueError(f"dimensions={dimensions!r} is for 'whitening' alone; leave it out for {kind!r}")
    if kind != "linear" and (weight is not None or bias is not None):
        raise ValueError(f"weight and bias are for 'linear' alone; leave them out for {kind!r}")
    return request


def layer(weight: ArrayLike | None, bias: ArrayLike | None) -> tuple[np.ndarray, np.ndarray]:
    """Return weight (D, C) and bias (D,) of a layer as float32; without a bias zeros.

    The bias is sent in any case: its length tells the server how many rows the weight has.
    """
    if weight is None:
        raise ValueError("a 'linear' head needs its weight=, with a row for each dimension of the embedding")
    matrix = _numbers("weight", weight, "two axes: a row for each dimension, a column for each channel", ndim=2)
    vector = _numbers("bias", np.zeros(len(matrix)) if bias is None else bias, "one axis", ndim=1)
    if len(vector) != len(matrix):
        raise ValueError(f"bias has {len(vector)} values, but weight {len(matrix)} rows; give a value for each row")
    return matrix, vector


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


def _parent(head_of: str | None) -> str:
    """Name the gallery whose head counts; empty leaves that to the images."""
    return gallery_path(head_of) if head_of else ""


def _unit(layer: str, channel: int, cell: tuple[int, int] | None) -> explain_service_pb2.Unit:
    where = explain_service_pb2.Cell(row=cell[0], column=cell[1]) if cell else None
    return explain_service_pb2.Unit(layer=layer, channel=channel, cell=where)


def overlay_options(overlays: bool, size_px: int) -> similarity_pb2.OverlayOptions | None:
    """Ask for pictures, or for none."""
    return similarity_pb2.OverlayOptions(size_px=size_px) if overlays else None


def _vector(embedding: np.ndarray) -> list[float]:
    if embedding.ndim != 1:
        raise ValueError(
            f"an embedding is one vector, not an array of shape {embedding.shape}; "
            "turn an array of pixels into an image with PIL.Image.fromarray"
        )
    return embedding.tolist()  # type: ignore[no-any-return]


def _whitening(dimensions: int | None) -> gallery_service_pb2.Whitening:
    if dimensions is not None and dimensions < 1:
        raise ValueError(f"dimensions={dimensions!r}: keep at least one, or leave it out to let the server choose")
    return gallery_service_pb2.Whitening(dimensions=dimensions or 0)


def _numbers(argument: str, values: ArrayLike, axes: str, *, ndim: int) -> np.ndarray:
    """Return finite float32 values."""
    try:
        given = np.asarray(values)
    except ValueError as error:  # rows of different lengths
        raise ValueError(f"{argument} is no array: {error}") from None
    if given.dtype.kind not in "iuf" or given.ndim != ndim or given.size == 0:
        raise ValueError(f"{argument} is an array of {given.dtype} of shape {given.shape}; give numbers with {axes}")
    with np.errstate(over="ignore"):
        numbers = given.astype(np.float32)
    if not np.isfinite(numbers).all():
        raise ValueError(f"{argument} holds NaN, infinity or numbers that are too large; was its training cut short?")
    return numbers
