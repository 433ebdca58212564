"""Answers of EmbedService."""

import json
from collections.abc import Collection

from whymatch.embed import Array, Features, Model
from whymatch.index import StoredImage
from whymatch.server.provenance import Provenance
from whymatch.server.wire import answers_shapes
from whymatch.v1 import embed_service_pb2


def embed_response(
    origin: Provenance, features: Features, *, with_feature_map: bool = False
) -> embed_service_pb2.EmbedImageResponse:
    """Return what the model makes of an image."""
    return embed_service_pb2.EmbedImageResponse(
        model=origin.model,
        provenance=answers_shapes.provenance(origin),
        embedding=features.embedding.tolist(),
        feature_map=_feature_map(features.feature_map) if with_feature_map else None,
        width_px=features.placement.width_px,
        height_px=features.placement.height_px,
    )


def stored_embed_response(
    origin: Provenance, stored: StoredImage, embedding: Array
) -> embed_service_pb2.EmbedImageResponse:
    """Return what the model made of a stored image."""
    return embed_service_pb2.EmbedImageResponse(
        model=origin.model,
        provenance=answers_shapes.provenance(origin),
        embedding=embedding.tolist(),
        width_px=stored.width_px,
        height_px=stored.height_px,
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


def _feature_map(values: Array) -> embed_service_pb2.FeatureMap:
    rows, columns, channels = values.shape
    return embed_service_pb2.FeatureMap(rows=rows, columns=columns, channels=channels, values=values.ravel().tolist())
