"""Answers of ServerService."""

from __future__ import annotations

from whymatch.client import results
from whymatch.client.wire import answers_embed
from whymatch.v1 import server_service_pb2


def info(message: server_service_pb2.ServerInfo) -> results.ServerInfo:
    """Read what a server is."""
    limits, disk = message.limits, message.disk
    return results.ServerInfo(
        version=message.version,
        faiss_version=message.faiss_version,
        torch_version=message.torch_version,
        uptime_s=message.uptime_s,
        model=answers_embed.model(message.model),
        limits=results.ServerLimits(
            max_message_bytes=limits.max_message_bytes,
            max_image_bytes=limits.max_image_bytes,
            max_image_pixels=limits.max_image_pixels,
            max_limit=limits.max_limit,
            max_concurrent_calls=limits.max_concurrent_calls,
        ),
        disk=results.Disk(total_bytes=disk.total_bytes, used_bytes=disk.used_bytes, free_bytes=disk.free_bytes),
        gallery_count=message.gallery_count,
    )
