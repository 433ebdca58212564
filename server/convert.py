"""From our own values to answers."""

import json
from collections.abc import Collection, Sequence
from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from whymatch.embed import Aggregation, Array, Features, Model
from whymatch.explain import (
    Bounds,
    ChannelShare,
    ColorScale,
    Correspondence,
    InterActiveExplanation,
    MatchExplanation,
    WeightMap,
)
from whymatch.index import (
    Added,
    GalleryFacts,
    HeadFacts,
    Match,
    StoredImage,
)
from whymatch.server.evidence import Evidence, ShownMap
from whymatch.server.parse import page_token
from whymatch.server.status import code_of, message_of, reason_of
from whymatch.v1 import (
    embed_service_pb2,
    errors_pb2,
    explain_service_pb2,
    gallery_service_pb2,
    search_service_pb2,
    similarity_pb2,
)


def gallery(facts: GalleryFacts) -> gallery_service_pb2.Gallery:
    """Return a gallery as the API shows it."""
    return gallery_service_pb2.Gallery(
        name=f"galleries/{facts.name}",
        model=facts.fingerprint,
        index_factory=facts.index_factory,
        omit_feature_maps=facts.omit_feature_maps,
        image_count=facts.image_count,
        create_time=_timestamp(facts.create_time),
        head=_head(facts.model, facts.head) if facts.head else None,
        generation=facts.generation,
    )


def galleries_page(facts: Sequence[GalleryFacts], size: int) -> gallery_service_pb2.ListGalleriesResponse:
    """Return the first `size` galleries, and a token if there are more."""
    return gallery_service_pb2.ListGalleriesResponse(
        galleries=[gallery(one) for one in facts[:size]],
        next_page_token=page_token(facts[size - 1].name) if len(facts) > size else "",
    )


def image(gallery: str, stored: StoredImage) -> gallery_service_pb2.Image:
    """Return an image as the API shows it."""
    return gallery_service_pb2.Image(
        name=f"galleries/{gallery}/images/{stored.name}",
        label=stored.label,
        metadata=stored.metadata or None,  # an empty map takes as long as all other fields together
        width_px=stored.width_px,
        height_px=stored.height_px,
        size_bytes=stored.size_bytes,
        content_sha256=stored.content_sha256,
        create_time=_timestamp(stored.create_time),
    )


def images_page(gallery: str, images: Sequence[StoredImage], size: int) -> gallery_service_pb2.ListImagesResponse:
    """Return the first `size` images, and a token if there are more."""
    return gallery_service_pb2.ListImagesResponse(
        images=[image(gallery, one) for one in images[:size]],
        next_page_token=page_token(images[size - 1].name) if len(images) > size else "",
    )


def added(gallery: str, image_id: str, result: Added | Exception) -> gallery_service_pb2.AddImagesResponse:
    """Return what became of one image of a stream."""
    if isinstance(result, Exception):
        return gallery_service_pb2.AddImagesResponse(image_id=image_id, error=error(result))
    return gallery_service_pb2.AddImagesResponse(
        image_id=image_id,
        image=image(gallery, result.image),
        unchanged=result.unchanged,
        duplicate_of=result.duplicate_of,
    )


def error(err: Exception) -> errors_pb2.Error:
    """Return the error of one image of a stream."""
    code: int = code_of(err).value[0]
    reason = errors_pb2.ErrorReason.Value(f"ERROR_REASON_{reason_of(err)}")
    return errors_pb2.Error(code=code, reason=reason, message=message_of(err))


def matches(
    gallery: str, found: Sequence[Match], image_scores: Sequence[float], evidence: Sequence[Evidence] = ()
) -> list[search_service_pb2.Match]:
    """Return the matches of a search, with their maps if there is evidence."""
    messages = [
        search_service_pb2.Match(image=image(gallery, one.image), score=one.score, image_score=image_score)
        for one, image_score in zip(found, image_scores, strict=True)
    ]
    for message, one in zip(messages, evidence, strict=bool(evidence)):
        if one.query:
            message.query_map.CopyFrom(_similarity_map(one.query))
        message.match_map.CopyFrom(_similarity_map(one.match))
    return messages


def explain_response(
    model: str,
    explanation: MatchExplanation,
    evidence: Evidence,
    scale: ColorScale | None,
    channels: Sequence[tuple[ChannelShare, tuple[str, int] | None]],
    pairs: Sequence[Correspondence],
) -> explain_service_pb2.ExplainMatchResponse:
    """Return why two images match; each channel comes with layer and channel of the unit that it is, if it is one."""
    return explain_service_pb2.ExplainMatchResponse(
        model=model,
        score=explanation.score,
        query_map=_similarity_map(evidence.query) if evidence.query else None,
        match_map=_similarity_map(evidence.match),
        residual=explanation.residual,
        color_scale=color_scale(scale),
        image_score=explanation.image_score,
        channels=[
            explain_service_pb2.ChannelShare(channel=one.channel, score=one.score, unit=_unit(unit))
            for one, unit in channels
        ],
        correspondences=[
            explain_service_pb2.Correspondence(
                query_box=box(one.query_cell), match_box=box(one.match_cell), score=one.score
            )
            for one in pairs
        ],
    )


def label_response(
    model: str, score: float, count: int, query_map: ShownMap, scale: ColorScale | None
) -> explain_service_pb2.ExplainLabelResponse:
    """Return why an image is similar to the images of a label."""
    return explain_service_pb2.ExplainLabelResponse(
        model=model,
        score=score,
        image_count=count,
        query_map=_similarity_map(query_map),
        color_scale=color_scale(scale),
    )


def interactive_response(
    model: str,
    explanation: InterActiveExplanation,
    descriptor: Aggregation | None,
    drawings: Sequence[tuple[bytes, ColorScale]],
) -> explain_service_pb2.ExplainInterActiveResponse:
    """Return how active the neurons of some layers are; `drawings` are empty or one for each map."""
    width, height = explanation.input_size
    response = explain_service_pb2.ExplainInterActiveResponse(model=model, input_width_px=width, input_height_px=height)
    parts = zip(explanation.settings, explanation.results, explanation.maps, strict=True)
    for number, (setting, result, weight_map) in enumerate(parts):
        picture, scale = drawings[number] if drawings else (b"", None)
        response.results.add(
            setting=explain_service_pb2.InterActiveSetting(
                layer=setting.layer, supervision=setting.supervision, norm=setting.norm
            ),
            map=_weight_map(weight_map, picture),
            descriptor=result.descriptor(descriptor).tolist() if descriptor else (),
            color_scale=color_scale(scale),
        )
    return response


def color_scale(scale: ColorScale | None) -> similarity_pb2.ColorScale | None:
    """Return the scale of an answer's pictures."""
    if scale is None:
        return None
    return similarity_pb2.ColorScale(low=scale.low, high=scale.high, color_map=scale.color_map)


def embed_response(
    model: str, features: Features, *, with_feature_map: bool = False
) -> embed_service_pb2.EmbedImageResponse:
    """Return what the model makes of an image."""
    return embed_service_pb2.EmbedImageResponse(
        model=model,
        embedding=features.embedding.tolist(),
        feature_map=_feature_map(features.feature_map) if with_feature_map else None,
        width_px=features.placement.width_px,
        height_px=features.placement.height_px,
    )


def stored_embed_response(model: str, stored: StoredImage, embedding: Array) -> embed_service_pb2.EmbedImageResponse:
    """Return what the model made of a stored image."""
    return embed_service_pb2.EmbedImageResponse(
        model=model, embedding=embedding.tolist(), width_px=stored.width_px, height_px=stored.height_px
    )


def model(description: Model, with_units: Collection[str]) -> embed_service_pb2.Model:
    """Return the model as the API shows it; `with_units` are the layers that have rows and columns."""
    return embed_service_pb2.Model(
        fingerprint=description.fingerprint,
        backbone=description.backbone,
        layer=description.layer,
        pooling=description.pooling.kind,
        precision=description.precision,
        dimensions=description.dimensions,
        description_json=json.dumps(description.description),
        layers=[
            embed_service_pb2.Layer(
                name=layer.name,
                aliases=layer.aliases,
                channels=layer.channels,
                has_units=layer.name in with_units,
            )
            for layer in description.layers.all
        ],
    )


def _head(model: str, stored: HeadFacts) -> gallery_service_pb2.Head:
    return gallery_service_pb2.Head(
        kind=stored.kind,
        dimensions=stored.dimensions,
        version=stored.version,
        image_count=stored.image_count,
        create_time=_timestamp(stored.create_time),
        model=model,
    )


def _similarity_map(shown: ShownMap) -> similarity_pb2.SimilarityMap:
    values, placement = shown.map.values, shown.map.placement
    rows, columns = values.shape
    return similarity_pb2.SimilarityMap(
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


def _weight_map(weight_map: WeightMap, picture: bytes) -> explain_service_pb2.WeightMap:
    rows, columns = weight_map.values.shape
    return explain_service_pb2.WeightMap(
        rows=rows,
        columns=columns,
        values=weight_map.values.ravel().tolist(),
        width_px=weight_map.placement.width_px,
        height_px=weight_map.placement.height_px,
        overlay_png=picture,
    )


def _unit(unit: tuple[str, int] | None) -> explain_service_pb2.Unit | None:
    return explain_service_pb2.Unit(layer=unit[0], channel=unit[1]) if unit else None


def box(bounds: Bounds) -> similarity_pb2.PixelBox:
    """Return a rectangle of pixels of the original."""
    left, top, right, bottom = bounds
    return similarity_pb2.PixelBox(left_px=left, top_px=top, right_px=right, bottom_px=bottom)


def _feature_map(values: Array) -> embed_service_pb2.FeatureMap:
    rows, columns, channels = values.shape
    return embed_service_pb2.FeatureMap(rows=rows, columns=columns, channels=channels, values=values.ravel().tolist())


def _timestamp(time: datetime) -> Timestamp:
    return Timestamp(seconds=int(time.timestamp()), nanos=time.microsecond * 1000)
