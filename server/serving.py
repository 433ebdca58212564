"""The life of a server: load everything, listen, and stop gracefully."""

import asyncio
import gc
import os
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Protocol

import grpc

from whymatch.embed import DecodeLimits, Embedder, Model, Pooling, WhymatchError, load_model, load_named_model
from whymatch.embed.embedder import yield_to_the_network
from whymatch.index import Galleries, raise_file_limit
from whymatch.server.access import Tokens, is_loopback, read_tokens
from whymatch.server.config import ServerConfig
from whymatch.server.embed_servicer import EmbedServicer
from whymatch.server.errors import CannotStart
from whymatch.server.explain_servicer import ExplainServicer
from whymatch.server.gallery_servicer import GalleryServicer
from whymatch.server.health_servicer import add_health_and_reflection
from whymatch.server.interceptor import CallInterceptor
from whymatch.server.logs import logger
from whymatch.server.metrics import Metrics, MetricsPage
from whymatch.server.search_batcher import SearchBatcher
from whymatch.server.search_servicer import SearchServicer
from whymatch.server.server_servicer import ServerServicer
from whymatch.server.sources import Images
from whymatch.server.tls import server_credentials
from whymatch.server.unit_servicer import UnitServicer

THREADS = 16
"""For disk, FAISS and pictures; the model has its own."""
SPARE_CALLS = 16
"""Calls that gRPC admits beyond ours: health, and those that we refuse with a reason.

Beyond these, gRPC rejects a call itself.
"""
LAST_WORDS_S = 1.0
"""For answers that are on their way when the last call has ended."""


class Servicer(Protocol):
    """The calls of one service."""

    name: str
    """The full name of the service."""

    def add_to(self, server: grpc.aio.Server) -> None:
        """Let a server answer these calls."""


@dataclass(frozen=True, eq=False)
class Parts:
    """What the services share."""

    config: ServerConfig
    model: Model
    galleries: Galleries
    embedder: Embedder
    batcher: SearchBatcher
    explainer: Executor
    """The one thread of long explanations."""
    metrics: Metrics
    stopping: asyncio.Event


def serve(config: ServerConfig, *, ready: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; call `ready` with HOST:PORT when calls are welcome.

    SIGINT while it stops ends the process at once, with exit code 1.

    Raises:
        CannotStart: the port is taken, or a file of tokens or TLS cannot be used.
        WhymatchError: the model or the data directory cannot be used.
    """
    raise_file_limit()  # each gallery and each connection takes some
    asyncio.run(_serve(config, ready))


async def _serve(config: ServerConfig, ready: Callable[[str], None]) -> None:
    stop = asyncio.Event()
    async with running(config) as address:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        ready(address)
        await stop.wait()
        # Not through the loop, which may be busy; what was acknowledged is on disk.
        signal.signal(signal.SIGINT, lambda *_: os._exit(1))
        logger.info("stopping: running calls have %g s to finish", config.grace_s)


@asynccontextmanager
async def running(config: ServerConfig, model: Model | None = None) -> AsyncIterator[str]:
    """Run a server in this event loop and yield its HOST:PORT; at the end it stops gracefully.

    model: by default the one that `config` describes.
    """
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(THREADS, "server"))
    metrics, stopping = Metrics(), asyncio.Event()
    calls = _interceptor(config, metrics, stopping)
    with ExitStack() as resources:
        model = model or _load_model(config)
        limits = DecodeLimits(config.max_image_bytes, config.max_image_pixels)
        embedder = resources.enter_context(closing(Embedder(model, limits=limits, batch_size=config.batch_size)))
        galleries = resources.enter_context(Galleries(config.data, model))
        _open_all(galleries, model)
        if config.metrics_port is not None:
            resources.enter_context(closing(MetricsPage(metrics, config.host, config.metrics_port)))

        server = grpc.aio.server(
            interceptors=[calls],
            options=_options(config),
            maximum_concurrent_rpcs=config.max_concurrent_calls + SPARE_CALLS,
        )
        batcher = resources.enter_context(closing(SearchBatcher()))
        explainer = resources.enter_context(ThreadPoolExecutor(1, "explainer", initializer=yield_to_the_network))
        parts = Parts(config, model, galleries, embedder, batcher, explainer, metrics, stopping)
        health = await _add_services(server, _servicers(parts))
        port = _bind(server, config)
        await server.start()
        gc.collect()
        gc.freeze()  # the model and its libraries stay; looking through them again and again took 6 % of the time
        _log_start(config, model, _address(config.host, port))
        try:
            yield _address(config.host, port)
        finally:
            await health.enter_graceful_shutdown()
            await calls.drain(config.grace_s)
            await server.stop(LAST_WORDS_S)
            await loop.shutdown_default_executor()
    logger.info("stopped: every gallery is closed")


def _load_model(config: ServerConfig) -> Model:
    settings: dict[str, Any] = {
        "geometry": config.geometry,
        "size_px": config.size_px,
        "mean": config.mean,
        "std": config.std,
        "precision": config.precision,
        "device": config.device,
    }
    if config.model is not None:
        return load_named_model(config.model, gem_power=config.gem_power, **settings)
    pooling = Pooling(config.pooling, config.gem_power) if config.pooling else None
    return load_model(config.backbone, weights=config.weights, pooling=pooling, **settings)


def _interceptor(config: ServerConfig, metrics: Metrics, stopping: asyncio.Event) -> CallInterceptor:
    tokens = read_tokens(config.read_token_file, config.write_token_file)
    if not is_loopback(config.host):
        _warn_of_openness(config, known=tokens != Tokens() or config.tls_client_ca is not None)
    return CallInterceptor(
        tokens,
        metrics,
        max_calls=config.max_concurrent_calls,
        default_deadline_s=config.default_deadline_s,
        stopping=stopping,
    )


def _warn_of_openness(config: ServerConfig, *, known: bool) -> None:
    """Say in one line what strangers may do on a server that others than this machine reach.

    known: whether it knows its clients, by tokens or certificates.
    """
    if not known:
        in_plain = "" if config.tls_certificate else ", in plain text (--tls-certificate encrypts)"
        logger.warning(
            "anybody who reaches %s may search, add and delete images and galleries%s; --write-token-file and "
            "--read-token-file admit only those with a token",
            config.host,
            in_plain,
        )
    elif not config.tls_certificate:
        logger.warning("tokens travel in plain text to %s; give the server --tls-certificate", config.host)


def _open_all(galleries: Galleries, model: Model) -> None:
    """Load every gallery of this model, so that no call has to wait for it."""
    for facts in galleries.list_galleries():
        if facts.model not in ("", model.fingerprint):
            logger.warning("gallery %r is of another model, %s, and can only be listed", facts.name, facts.model)
            continue
        try:
            galleries.open(facts.name)
        except WhymatchError as err:
            logger.warning("gallery %r cannot be opened: %s", facts.name, err)
        except Exception:  # whatever it is, the other galleries are served
            logger.exception("gallery %r cannot be opened", facts.name)


def _options(config: ServerConfig) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", config.max_message_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.so_reuseport", 0),  # a port in use is an error, not a port shared
        ("grpc.keepalive_time_ms", 60_000),  # a stream whose client vanished would hold its place for hours
        ("grpc.keepalive_timeout_ms", 20_000),
        # Clients may ping, too, also between their calls: proxies drop what is silent, and gRPC would hang up on them.
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 500),
    ]


def _log_start(config: ServerConfig, model: Model, address: str) -> None:
    facts = {
        "version": version("whymatch"),
        "model": model.fingerprint,
        "data": str(config.data),
        "address": address,
        "encrypted": config.tls_certificate is not None,
    }
    logger.info("serving", extra={"facts": facts})
    if model.pooling.kind == "gem" and model.may_be_negative:
        logger.warning(
            "GeM pooling takes what is below 0 as 0, and %s of %s can be: --pooling average keeps it",
            model.layer,
            model.backbone,
        )


def _servicers(parts: Parts) -> list[Servicer]:
    images, limit = Images(parts.galleries, parts.embedder), parts.config.max_limit
    explaining = images, parts.model, parts.explainer, parts.stopping
    embedding = EmbedServicer(parts.model, images)
    return [
        GalleryServicer(
            parts.galleries,
            parts.embedder,
            parts.metrics,
            stream_idle_s=parts.config.stream_idle_s,
            stopping=parts.stopping,
        ),
        SearchServicer(images, parts.batcher, max_limit=limit),
        ExplainServicer(*explaining),
        embedding,
        UnitServicer(*explaining, max_limit=limit),
        ServerServicer(parts.config, parts.galleries, lambda: embedding.description),
    ]


async def _add_services(server: grpc.aio.Server, servicers: Sequence[Servicer]) -> Any:
    """Let a server answer all calls; return what says that it is healthy."""
    for servicer in servicers:
        servicer.add_to(server)
    return await add_health_and_reflection(server, [servicer.name for servicer in servicers])


def _bind(server: grpc.aio.Server, config: ServerConfig) -> int:
    address = _address(config.host, config.port)
    try:
        if config.tls_certificate is None or config.tls_key is None:
            return server.add_insecure_port(address)
        credentials = server_credentials(config.tls_certificate, config.tls_key, config.tls_client_ca)
        return server.add_secure_port(address, credentials)
    except RuntimeError as err:  # gRPC says no more than that it failed
        raise CannotStart(f"cannot listen on {address}; is the port in use? --port 0 takes a free one") from err


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
