"""How both clients reach the server: channel options, TLS and the token."""

from __future__ import annotations

import os
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Access:
    """How a client proves who it is, and knows the server; see `Client` for the fields."""

    token: str | None
    tls: bool
    ca_certificate: PathInput | None
    client_certificate: PathInput | None
    client_key: PathInput | None

    def credentials(self) -> grpc.ChannelCredentials | None:
        """Return what an encrypted channel needs, or None for a plain one."""
        if (self.client_certificate is None) != (self.client_key is None):
            raise ValueError("client_certificate and client_key belong together; give both or neither")
        if not (self.tls or self.ca_certificate or self.client_certificate):
            return None
        files = (self.ca_certificate, self.client_key, self.client_certificate)
        return grpc.ssl_channel_credentials(*(Path(file).read_bytes() if file is not None else None for file in files))

    def metadata(self) -> Metadata:
        """Return what every call carries."""
        return (("authorization", f"Bearer {self.token}"),) if self.token else ()
