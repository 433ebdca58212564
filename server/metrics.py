"""Prometheus metrics."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from whymatch.server.errors import CannotStart


class Metrics:
    """The counters of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._calls = Counter("whymatch_calls", "Calls that ended.", ["method", "code"], registry=self.registry)
        self._seconds = Histogram(
            "whymatch_call_duration_seconds", "How long calls took.", ["method"], registry=self.registry
        )
        self.in_flight = Gauge("whymatch_calls_in_flight", "Calls that are running.", registry=self.registry)
        self.images_added = Counter("whymatch_images_added", "Images that were stored.", registry=self.registry)

    def count_call(self, method: str, code: str, seconds: float) -> None:
        """Count one call that ended."""
        self._calls.labels(method, code).inc()
        self._seconds.labels(method).observe(seconds)


class MetricsPage:
    """The page that Prometheus reads, on a port of its own."""

    def __init__(self, metrics: Metrics, host: str, port: int) -> None:
        """Begin to serve. Raises CannotStart if the port is taken."""
        try:
            self._server, self._thread = start_http_server(port, addr=host, registry=metrics.registry)
        except OSError as err:
            raise CannotStart(f"cannot serve metrics on {host}:{port} ({err.strerror}); choose a free port") from err

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
