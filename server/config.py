"""The settings of a server."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

PoolingKind = Literal["average", "max", "gem"]
GeometryMode = Literal["keep", "warp", "center-crop"]
Precision = Literal["float32", "bfloat16"]
LogLevel = Literal["debug", "info", "warning", "error"]
Triple = tuple[float, float, float]


@dataclass(frozen=True)
class ServerConfig:
    """What a server serves, and how much of it; one field for each flag of `whymatch serve`."""

    data: Path = Path("whymatch-data")
    """The folder of the galleries; made if it is missing."""
    host: str = "127.0.0.1"
    """Address to listen on; only this machine, unless asked for more."""
    port: int = 50051
    """0 picks a free port."""

    model: str | None = None
    """`[BACKBONE=]MODEL[:POOLING][@LAYERS]`, in place of `backbone`, `weights` and `pooling`: `resnet50:max`."""
    backbone: str | None = None
    """`bundled`, or a torchvision or timm network by name; by default the one that `weights` names, or `bundled`."""
    weights: Path | None = None
    """A weights file for the backbone; by default what its library would load."""
    pooling: PoolingKind | None = None
    """By default the one that the weights were trained for, or average."""
    gem_power: float = 3.0
    """Only for GeM pooling."""
    geometry: GeometryMode = "keep"
    """`keep` sees the whole image in its own shape."""
    size_px: int | None = None
    """Input size; by default the one that the weights were trained with."""
    mean: Triple | None = None
    """Of the training images, red, green, blue in 0 to 1; by default as the weights were trained."""
    std: Triple | None = None
    precision: Precision = "float32"
    device: str = "cpu"
    """As torch names it."""
    batch_size: int = 16
    """Images that go through the network together; more gains little on a CPU."""

    max_image_bytes: int = 32 * 2**20
    """Largest image file; 32 MiB holds what cameras and phones write."""
    max_image_pixels: int = 64_000_000
    """Largest width times height that is decoded."""
    max_limit: int = 1000
    """Most matches of one search."""
    max_concurrent_calls: int = 64
    """Calls over it are refused with RESOURCE_EXHAUSTED."""
    default_deadline_s: float = 60.0
    """For calls whose client set none; streams have none."""
    stream_idle_s: float = 300.0
    """A stream that sends nothing for so long is ended, for it holds one of the calls."""

    tls_certificate: Path | None = None
    """PEM file of the server's certificate chain; without it the server speaks plain text."""
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    """PEM file; set, only clients with a certificate signed by it may connect."""
    read_token_file: Path | None = None
    """Bearer tokens that may only read, one per line."""
    write_token_file: Path | None = None
    """Bearer tokens that may do everything, one per line."""

    metrics_port: int | None = None
    """Port of the Prometheus page; none by default."""
    log_level: LogLevel = "info"
    """`info` logs one line for each call."""
    grace_s: float = 30.0
    """How long running calls may take to finish after SIGTERM."""

    @property
    def max_message_bytes(self) -> int:
        """Largest message that is received: twice the limit on images, so that one above it can be refused alone.

        A larger message ends its whole stream. Not more, for gRPC reads a message before we see the call.
        """
        return min(2 * self.max_image_bytes + 2**20, 2**31 - 1)
