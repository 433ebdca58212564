"""Answers of EmbedService."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np

from whymatch.client import results
from whymatch.client.wire import answers_shapes
from whymatch.v1 import embed_service_pb2


def embedding(message: embed_service_pb2.EmbedImageResponse) -> results.Embedding:
    """Read the embedding of an image."""
    feature_map = None
    if message.HasField("feature_map"):
        grid = message.feature_map
        feature_map = np.array(grid.values, np.float32).reshape(grid.rows, grid.columns, grid.channels)
    return results.Embedding(
        embedding=np.array(message.embedding, np.float32),
        feature_map=feature_map,
        model=message.model,
        width_px=message.width_px,
        height_px=message.height_px,
        provenance=answers_shapes.provenance(message),
    )


def model(message: embed_service_pb2.Model) -> results.Model:
    """Read the description of the model."""
    return results.Model(
        fingerprint=message.fingerprint,
        backbone=message.backbone,
        layer=message.layer,
        pooling=message.pooling,
        precision=message.precision,
        dimensions=message.dimensions,
        description=_description(message.description_json),
        layers=tuple(
            results.Layer(layer.name, tuple(layer.aliases), layer.channels, layer.has_units) for layer in message.layers
        ),
    )


def _description(text: str) -> Mapping[str, object]:
    value: Mapping[str, object] = json.loads(text or "{}")
    return value
