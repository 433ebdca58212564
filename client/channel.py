"""How both clients reach the server: channel options, TLS and the token."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeAlias

import grpc

DEFAULT_ADDRESS = "127.0.0.1:50051"
DEFAULT_GALLERY = "default"
DEFAULT_TIMEOUT_S = 60.0

Metadata: TypeAlias = tuple[tuple[str, str], ...]
PathInput: TypeAlias = "str | os.PathLike[str]"


def channel_options(address: str) -> list[tuple[str, int]]:
    """Accept answers of any size; reach this machine without the proxy that the environment may name."""
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    if address.startswith(("localhost:", "127.", "[::1]:")):
        options.append(("grpc.enable_http_proxy", 0))
    return options


def channel_credentials(
    tls: bool, ca_certificate: PathInput | None, client_certificate: PathInput | None, client_key: PathInput | None
) -> grpc.ChannelCredentials | None:
    """Return what an encrypted channel needs, or None for a plain one."""
    if (client_certificate is None) != (client_key is None):
        raise ValueError("client_certificate and client_key belong together; give both or neither")
    if not (tls or ca_certificate or client_certificate):
        return None
    return grpc.ssl_channel_credentials(_read(ca_certificate), _read(client_key), _read(client_certificate))


def call_metadata(token: str | None) -> Metadata:
    """Return what every call carries."""
    return (("authorization", f"Bearer {token}"),) if token else ()


def _read(path: PathInput | None) -> bytes | None:
    return Path(path).read_bytes() if path is not None else None
