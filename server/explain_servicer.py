"""ExplainService: where and why two images match."""

import asyncio

from whymatch.explain import explain_match
from whymatch.server import convert
from whymatch.server.calls import Context
from whymatch.server.evidence import Evidence, draw
from whymatch.server.images import Images
from whymatch.v1 import explain_service_pb2 as pb
from whymatch.v1.explain_service_pb2_grpc import ExplainServiceServicer


class ExplainServicer(ExplainServiceServicer):
    """Compares images."""

    def __init__(self, model: str, images: Images) -> None:
        self._model = model
        self._images = images

    async def ExplainMatch(self, request: pb.ExplainMatchRequest, context: Context) -> pb.ExplainMatchResponse:
        """Return the similarity maps of both images."""
        query, match = convert.source(request.query, "query"), convert.source(request.match, "match")
        size_px = convert.overlay_px(request)
        features = await asyncio.gather(self._images.features(query), self._images.features(match))
        explanation = await asyncio.to_thread(explain_match, *features)
        evidence, scale = [Evidence(explanation.query_map, explanation.match_map)], None
        if size_px is not None:
            evidence, scale = await draw(self._images, query, [(evidence[0], match)], size_px)
        return convert.explain_response(self._model, explanation, evidence[0], scale)
