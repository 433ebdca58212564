"""Puts the service together, starts it and stops it gracefully."""

import asyncio
import signal

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer
from grpc_reflection.v1alpha import reflection

from whymatch.embed import DecodeLimits, Embedder, Model
from whymatch.index import Galleries
from whymatch.server.backend import Backend
from whymatch.server.calls import CallGuard
from whymatch.server.config import ServerConfig
from whymatch.server.embed_service import EmbedService
from whymatch.server.errors import CannotStart
from whymatch.server.explain_service import ExplainService
from whymatch.server.gallery_service import GalleryService
from whymatch.server.log import LOGGER
from whymatch.server.metrics import Metrics
from whymatch.server.search_service import SearchService
from whymatch.server.tls import server_credentials
from whymatch.v1 import (
    embed_service_pb2_grpc,
    explain_service_pb2_grpc,
    gallery_service_pb2_grpc,
    search_service_pb2_grpc,
)

SERVICES = tuple(f"whymatch.v1.{name}Service" for name in ("Gallery", "Search", "Explain", "Embed"))


class Server:
    """One model and one data directory behind one port."""

    def __init__(self, config: ServerConfig, model: Model) -> None:
        """Take the data directory. Raises ReadOnlyStorage, StorageInUse."""
        self._config = config
        limits = DecodeLimits(config.max_image_bytes, config.max_image_pixels)
        galleries = Galleries(config.data, model)
        self._backend = Backend(config, galleries, Embedder(model, limits=limits, batch_size=config.batch_size))
        self._metrics = Metrics()
        self._guard = CallGuard(config, self._metrics)
        self._health = HealthServicer()

    async def start(self) -> int:
        """Open all galleries, listen, and return the port. Raises CannotStart."""
        await self._open_galleries()
        self._grpc = grpc.aio.server(interceptors=(self._guard,), options=_options(self._config))
        self._add_services()
        port = self._listen()
        await self._grpc.start()
        for service in ("", *SERVICES):
            await self._health.set(service, health_pb2.HealthCheckResponse.SERVING)
        return port

    async def stop(self) -> None:
        """Refuse new calls, let running ones finish within the grace, save and let go of the data directory."""
        await self._health.enter_graceful_shutdown()
        self._guard.refuse_new_calls()
        await self._grpc.stop(self._config.grace_s)
        await self._backend.run(self._backend.embedder.close)
        await self._backend.run(self._backend.galleries.close)
        self._backend.threads.shutdown()

    async def _open_galleries(self) -> None:
        """Load every index before the first call; a gallery that cannot be opened says so when it is used."""
        for facts in await self._backend.run(self._backend.galleries.list_galleries):
            try:
                await self._backend.gallery(facts.name)
            except Exception as err:
                LOGGER.warning("gallery not served", extra={"facts": {"gallery": facts.name, "error": str(err)}})

    def _add_services(self) -> None:
        gallery_service_pb2_grpc.add_GalleryServiceServicer_to_server(
            GalleryService(self._backend, self._metrics), self._grpc
        )
        search_service_pb2_grpc.add_SearchServiceServicer_to_server(SearchService(self._backend), self._grpc)
        explain_service_pb2_grpc.add_ExplainServiceServicer_to_server(ExplainService(self._backend), self._grpc)
        embed_service_pb2_grpc.add_EmbedServiceServicer_to_server(EmbedService(self._backend), self._grpc)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._grpc)
        reflection.enable_server_reflection((*SERVICES, "grpc.health.v1.Health", reflection.SERVICE_NAME), self._grpc)

    def _listen(self) -> int:
        config = self._config
        address = f"[{config.host}]:{config.port}" if ":" in config.host else f"{config.host}:{config.port}"
        try:
            if config.metrics_port is not None:
                self._metrics.serve(config.host, config.metrics_port)
            if config.tls_certificate and config.tls_key:
                credentials = server_credentials(config.tls_certificate, config.tls_key, config.tls_client_ca)
                return self._grpc.add_secure_port(address, credentials)
            return self._grpc.add_insecure_port(address)
        except (OSError, RuntimeError) as err:
            raise CannotStart(f"cannot listen on {address}: {err}; choose another --host, --port or 0") from err


async def serve(config: ServerConfig, model: Model) -> None:
    """Run a server until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = Server(config, model)
    port = await server.start()
    print(f"whymatch listening on {config.host}:{port}", flush=True)
    await stop.wait()
    LOGGER.info("stopping")
    await server.stop()


def _options(config: ServerConfig) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", config.max_request_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.so_reuseport", 0),
    ]
