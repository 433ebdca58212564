"""EmbedService: the model itself."""

from whymatch.server import convert
from whymatch.server.backend import Backend
from whymatch.server.calls import Context
from whymatch.v1 import embed_service_pb2 as pb
from whymatch.v1.embed_service_pb2_grpc import EmbedServiceServicer


class EmbedService(EmbedServiceServicer):
    """Embeds images and describes the model."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def EmbedImage(self, request: pb.EmbedImageRequest, context: Context) -> pb.EmbedImageResponse:
        """Return the embedding of an image and, on request, its feature map."""
        features = await self._backend.features(convert.source(request.source, "source"))
        model = self._backend.embedder.model
        return await self._backend.run(convert.embedded, model, features, request.with_feature_map)

    async def GetModel(self, request: pb.GetModelRequest, context: Context) -> pb.Model:
        """Describe the model."""
        return convert.model(self._backend.embedder.model)
