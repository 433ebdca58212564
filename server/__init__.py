"""The gRPC service: thin servicers over the other rooms, with batching, limits, tokens, health and metrics."""

from whymatch.server.config import ServerConfig

__all__ = ["ServerConfig"]
