"""What an operator tells Prometheus about its own work. One instance per process, handed to whoever counts."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest


class Metrics:
    """The operator's metrics in a registry of their own, so that two processes in one test do not meet."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._reconciles = Counter("kok_reconciles_total", "Passes by result.", ["controller", "result"], registry=self.registry)
        self._seconds = Histogram("kok_reconcile_seconds", "How long passes took.", ["controller"], registry=self.registry)
        self._depth = Gauge("kok_queue_depth", "Keys that are due and wait.", ["controller"], registry=self.registry)
        self._oldest = Gauge("kok_queue_oldest_seconds", "Age of the oldest key, due or in work.", ["controller"], registry=self.registry)
        self._calls = Counter("kok_api_calls_total", "Calls of API servers.", ["server", "verb", "code"], registry=self.registry)
        self._call_seconds = Histogram("kok_api_call_seconds", "How long API calls took.", ["server", "verb"], registry=self.registry)
        self._writes = Counter("kok_api_writes_total", "Accepted writes to API servers.", ["server", "verb"], registry=self.registry)
        self._missed = Counter("kok_watch_missed_total", "Changes that a sweep found first.", ["server", "kind"], registry=self.registry)
        self.leader = Gauge("kok_leader_epoch", "The epoch this process leads with; 0 if it does not lead.", registry=self.registry)

    def reconciled(self, controller: str, result: str, seconds: float) -> None:
        """Count one pass; `result` is `ok`, `gone`, `as-left` or an error code."""
        self._reconciles.labels(controller, result).inc()
        self._seconds.labels(controller).observe(seconds)

    def api_call(self, server: str, verb: str, code: int, seconds: float) -> None:
        """Count one call; `code` is the HTTP status, 0 if there was no answer. Shaped for the adapters' `on_call`, after the server."""
        self._calls.labels(server, verb, str(code)).inc()
        self._call_seconds.labels(server, verb).observe(seconds)
        if verb not in READS and 200 <= code < 300:
            self._writes.labels(server, verb).inc()

    def missed(self, server: str, kind: str, changes: int) -> None:
        """Count what a sweep found before the watch told."""
        self._missed.labels(server, kind).inc(changes)

    def follow_queue(self, controller: str, depth: Callable[[], float], oldest: Callable[[], float]) -> None:
        """Read these two whenever somebody scrapes."""
        self._depth.labels(controller).set_function(depth)
        self._oldest.labels(controller).set_function(oldest)

    def text(self) -> bytes:
        """The exposition format."""
        return generate_latest(self.registry)


READS = frozenset({"get", "list", "watch", "read"})
