"""Requests of EmbedService."""

from __future__ import annotations

from whymatch.client.inputs import ImageInput, Stored
from whymatch.client.wire import requests_shapes
from whymatch.v1 import embed_service_pb2


def embed(
    image: ImageInput | Stored, gallery: str, *, head_of: str | None, with_feature_map: bool
) -> embed_service_pb2.EmbedImageRequest:
    """Ask for the embedding of an image."""
    return embed_service_pb2.EmbedImageRequest(
        image=requests_shapes.image_source(image, gallery),
        with_feature_map=with_feature_map,
        parent=requests_shapes.parent(head_of),
    )


def model() -> embed_service_pb2.GetModelRequest:
    """Ask for the model."""
    return embed_service_pb2.GetModelRequest()
