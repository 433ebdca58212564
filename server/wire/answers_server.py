"""Answers of ServerService."""

import shutil

import faiss
import torch

from whymatch.server.config import ServerConfig
from whymatch.server.wire import answers_shapes
from whymatch.v1 import embed_service_pb2, server_service_pb2


def info(
    config: ServerConfig, *, uptime_s: float, model: embed_service_pb2.Model, gallery_count: int
) -> server_service_pb2.ServerInfo:
    """Return a server as the API shows it."""
    disk = shutil.disk_usage(config.data)
    return server_service_pb2.ServerInfo(
        version=answers_shapes.SERVER_VERSION,
        faiss_version=faiss.__version__,
        torch_version=torch.__version__,
        uptime_s=uptime_s,
        model=model,
        limits=_limits(config),
        disk=server_service_pb2.Disk(total_bytes=disk.total, used_bytes=disk.used, free_bytes=disk.free),
        gallery_count=gallery_count,
    )


def _limits(config: ServerConfig) -> server_service_pb2.ServerLimits:
    return server_service_pb2.ServerLimits(
        max_message_bytes=config.max_message_bytes,
        max_image_bytes=config.max_image_bytes,
        max_image_pixels=config.max_image_pixels,
        max_limit=config.max_limit,
        max_concurrent_calls=config.max_concurrent_calls,
    )
