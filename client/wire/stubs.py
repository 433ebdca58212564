"""The services of a server, over the channel of each client."""

from __future__ import annotations

import grpc
import grpc.aio

from whymatch.v1.embed_service_pb2_grpc import EmbedServiceStub
from whymatch.v1.explain_service_pb2_grpc import ExplainServiceStub
from whymatch.v1.gallery_service_pb2_grpc import GalleryServiceStub
from whymatch.v1.search_service_pb2_grpc import SearchServiceStub
from whymatch.v1.server_service_pb2_grpc import ServerServiceStub
from whymatch.v1.unit_service_pb2_grpc import UnitServiceStub


class Stubs:
    """A stub of each service."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.embed = EmbedServiceStub(channel)
        self.explain = ExplainServiceStub(channel)
        self.galleries = GalleryServiceStub(channel)
        self.search = SearchServiceStub(channel)
        self.server = ServerServiceStub(channel)
        self.units = UnitServiceStub(channel)


class AsyncStubs:
    """A stub of each service, whose methods are awaited."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.embed = EmbedServiceStub(channel)
        self.explain = ExplainServiceStub(channel)
        self.galleries = GalleryServiceStub(channel)
        self.search = SearchServiceStub(channel)
        self.server = ServerServiceStub(channel)
        self.units = UnitServiceStub(channel)
