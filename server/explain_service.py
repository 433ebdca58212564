"""ExplainService: where and why images match."""

from whymatch.explain import explain_match
from whymatch.server import convert
from whymatch.server.backend import Backend
from whymatch.server.calls import Context
from whymatch.server.maps import with_pictures
from whymatch.v1 import explain_service_pb2 as pb
from whymatch.v1.explain_service_pb2_grpc import ExplainServiceServicer


class ExplainService(ExplainServiceServicer):
    """Explains matches."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def ExplainMatch(self, request: pb.ExplainMatchRequest, context: Context) -> pb.ExplainMatchResponse:
        """Return the similarity maps of two images."""
        query = convert.source(request.query, "query")
        match = convert.source(request.match, "match")
        explained = await self._backend.run(
            explain_match, await self._backend.features(query), await self._backend.features(match)
        )
        response = pb.ExplainMatchResponse(
            model=self._backend.embedder.model.fingerprint,
            score=explained.score,
            query_map=convert.similarity_map(explained.query_map),
            match_map=convert.similarity_map(explained.match_map),
            residual=explained.residual,
        )
        if request.HasField("overlays"):
            maps = [(explained.query_map, query), (explained.match_map, match)]
            (query_map, match_map), scale = await with_pictures(self._backend, maps, request.overlays)
            response.query_map.CopyFrom(query_map)
            response.match_map.CopyFrom(match_map)
            response.color_scale.CopyFrom(scale)
        return response
