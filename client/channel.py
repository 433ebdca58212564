"""How both clients reach the server: channel options, TLS and the token."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import grpc

DEFAULT_PORT = "50051"
DEFAULT_ADDRESS = f"127.0.0.1:{DEFAULT_PORT}"
DEFAULT_GALLERY = "default"
DEFAULT_TIMEOUT_S = 60.0

Metadata: TypeAlias = tuple[tuple[str, str], ...]
PathInput: TypeAlias = "str | os.PathLike[str]"
_GRPC_SCHEMES = ("unix:", "unix-abstract:", "dns:", "ipv4:", "ipv6:", "vsock:", "xds:")


def complete_address(address: str) -> str:
    """Return HOST:PORT of what the caller wrote, with the default port if there is none. Raises ValueError.

    What gRPC alone understands, such as `unix:/run/whymatch.sock` or `dns:///host:1`, stays as it is.
    """
    address = address.strip()
    scheme, colon, rest = address.partition("://")
    if colon and not rest.startswith("/"):
        encrypted = " and give tls=True (--tls)" if scheme in ("https", "grpcs") else ""
        raise ValueError(
            f"the address {address!r} begins with {scheme}://; write HOST:PORT alone, "
            f"{rest.partition('/')[0] or DEFAULT_ADDRESS!r}{encrypted}"
        )
    if colon or address.startswith(_GRPC_SCHEMES):
        return address
    host, port = _split(address)
    if not host or "/" in address or not (port.isascii() and port.isdigit() and 0 < int(port) < 2**16):
        raise ValueError(f"the address {address!r} is not HOST:PORT, such as {DEFAULT_ADDRESS!r}")
    return f"{host}:{port}"


def _split(address: str) -> tuple[str, str]:
    if address.count(":") > 1 and not address.startswith("["):
        return f"[{address}]", DEFAULT_PORT  # a bare IPv6 address
    host, colon, port = address.rpartition(":")
    if not colon or address.endswith("]"):
        return address, DEFAULT_PORT
    return host, port


def channel_options(address: str) -> list[tuple[str, int]]:
    """Accept answers of any size; reach this machine without the proxy that the environment may name."""
    options = [
        ("grpc.max_receive_message_length", -1),
        ("grpc.max_send_message_length", -1),
        # Found again soon after an outage; gRPC would wait for up to two minutes, and a new client with the old ones.
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.max_reconnect_backoff_ms", 2000),
        ("grpc.min_reconnect_backoff_ms", 5000),  # how long one attempt may take
        ("grpc.use_local_subchannel_pool", 1),
    ]
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
        token = (self.token or "").strip()
        if not (token.isascii() and token.isprintable()):
            raise ValueError("the token has more than plain ASCII characters; gRPC cannot send it")
        return (("authorization", f"Bearer {token}"),) if token else ()
