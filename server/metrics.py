"""Counters for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server


class Metrics:
    """What one server counts, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.calls = Counter("whymatch_calls", "Finished calls.", ["method", "code"], registry=self._registry)
        self.seconds = Histogram("whymatch_call_seconds", "Time of a call.", ["method"], registry=self._registry)
        self.running = Gauge("whymatch_calls_running", "Calls now running.", registry=self._registry)
        self.images = Counter("whymatch_images_added", "Images added.", registry=self._registry)

    def serve(self, host: str, port: int) -> None:
        """Answer GET /metrics; raises OSError if the port is taken."""
        start_http_server(port, host, self._registry)
