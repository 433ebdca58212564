"""ServerService: what runs, what it accepts, and how full its disk is."""

import asyncio
import time
from collections.abc import Callable

import grpc

from whymatch.index import Galleries
from whymatch.server.config import ServerConfig
from whymatch.server.interceptor import Context
from whymatch.server.wire import answers_server
from whymatch.v1 import embed_service_pb2
from whymatch.v1 import server_service_pb2 as pb
from whymatch.v1.server_service_pb2_grpc import ServerServiceServicer, add_ServerServiceServicer_to_server


class ServerServicer(ServerServiceServicer):
    """Describes the server."""

    name = pb.DESCRIPTOR.services_by_name["ServerService"].full_name

    def __init__(
        self, config: ServerConfig, galleries: Galleries, describe_model: Callable[[], embed_service_pb2.Model]
    ) -> None:
        self._config = config
        self._galleries = galleries
        self._describe_model = describe_model
        self._started = time.monotonic()

    def add_to(self, server: grpc.aio.Server) -> None:
        """Let a server answer these calls."""
        add_ServerServiceServicer_to_server(self, server)

    async def GetServerInfo(self, request: pb.GetServerInfoRequest, context: Context) -> pb.ServerInfo:
        """Describe the server."""
        return await asyncio.to_thread(self._info)

    def _info(self) -> pb.ServerInfo:
        return answers_server.info(
            self._config,
            uptime_s=time.monotonic() - self._started,
            model=self._describe_model(),
            gallery_count=len(self._galleries.list_galleries()),
        )
