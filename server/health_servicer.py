"""Health and reflection: whether each service is ready, and what it offers."""

from collections.abc import Sequence
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection


async def add_health_and_reflection(server: grpc.aio.Server, names: Sequence[str]) -> Any:
    """Let a server say that the services of these names serve; return the servicer that says so."""
    servicer = health.aio.HealthServicer()  # type: ignore[attr-defined]  # its stubs know only the one of threads
    for name in names:
        await servicer.set(name, health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    reflection.enable_server_reflection([*names, health.SERVICE_NAME, reflection.SERVICE_NAME], server)
    return servicer
