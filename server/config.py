"""Everything that can be said about a server before it starts."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ServerConfig:
    """Where a server listens and what it allows; the model is configured apart."""

    data: Path = Path("whymatch-data")
    """Folder of the galleries; made if it is missing."""
    host: str = "127.0.0.1"
    port: int = 50051
    """0 takes a free port."""
    batch_size: int = 16
    """Images that go through the network together."""
    max_image_bytes: int = 32 * 2**20
    """Largest image file; a whole request may be 1 MiB larger."""
    max_image_pixels: int = 64_000_000
    """Most pixels that are decoded."""
    max_limit: int = 1000
    """Most matches of one search."""
    max_concurrent_calls: int = 64
    """Calls beyond it get RESOURCE_EXHAUSTED at once."""
    default_deadline_s: float = 60.0
    """For calls that set no deadline of their own; streams may take as long as they like."""
    grace_s: float = 30.0
    """How long running calls may go on after SIGTERM."""
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    """Set, clients must show a certificate that this authority signed."""
    read_tokens: frozenset[str] = frozenset()
    """Bearer tokens that may read."""
    write_tokens: frozenset[str] = frozenset()
    """Bearer tokens that may do everything."""
    metrics_port: int | None = None
    """Set, Prometheus metrics are served there over HTTP."""

    @property
    def max_request_bytes(self) -> int:
        """Largest message that is received."""
        return self.max_image_bytes + 2**20
