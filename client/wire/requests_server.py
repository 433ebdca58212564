"""Requests of ServerService."""

from __future__ import annotations

from whymatch.v1 import server_service_pb2


def info() -> server_service_pb2.GetServerInfoRequest:
    """Ask what a server is."""
    return server_service_pb2.GetServerInfoRequest()
