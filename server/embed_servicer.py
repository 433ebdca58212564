"""EmbedService: what the model makes of an image."""

import asyncio
import functools

import grpc

from whymatch.embed import Model
from whymatch.explain.units import unit_layers
from whymatch.server.interceptor import Context
from whymatch.server.sources import Images, gallery_of
from whymatch.server.wire import answers_embed, requests_shapes
from whymatch.v1 import embed_service_pb2 as pb
from whymatch.v1.embed_service_pb2_grpc import EmbedServiceServicer, add_EmbedServiceServicer_to_server


class EmbedServicer(EmbedServiceServicer):
    """Runs the model."""

    name = pb.DESCRIPTOR.services_by_name["EmbedService"].full_name

    def __init__(self, model: Model, images: Images) -> None:
        self._model = model
        self._images = images

    def add_to(self, server: grpc.aio.Server) -> None:
        """Let a server answer these calls."""
        add_EmbedServiceServicer_to_server(self, server)

    async def EmbedImage(self, request: pb.EmbedImageRequest, context: Context) -> pb.EmbedImageResponse:
        """Return the embedding of an image and, on request, its feature map."""
        source, parent = requests_shapes.source(request.image, "image"), requests_shapes.parent(request.parent)
        head, version = await self._images.head(gallery_of(parent, source))
        origin = await self._images.provenance(version, source)
        if isinstance(source, bytes) or request.with_feature_map:
            features = await self._images.features(source, head)
            return await asyncio.to_thread(
                answers_embed.embed_response, origin, features, with_feature_map=request.with_feature_map
            )
        return answers_embed.stored_embed_response(origin, *await self._images.stored(source, head))

    async def GetModel(self, request: pb.GetModelRequest, context: Context) -> pb.Model:
        """Describe the model."""
        return await asyncio.to_thread(lambda: self.description)  # the first time it looks through all layers

    @functools.cached_property
    def description(self) -> pb.Model:
        """The model as the API shows it."""
        return answers_embed.model(self._model, unit_layers(self._model))
