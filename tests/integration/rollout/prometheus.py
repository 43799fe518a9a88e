"""A real Prometheus (Debian's) that scrapes a fleet's made-up order counters every other second; to stop, freeze, kill and start again."""

from __future__ import annotations

import json
import shutil
import signal
import tempfile
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.integration.api_server import Child, asset, free_port

PER_SCRAPE = 200
START_SECONDS = 60.0


class Shop:
    """An exporter. Every cluster (namespace/name) has served 200 more orders at each scrape, of which `ratio` were good; None: it shows no series."""

    def __init__(self, ratio: Callable[[str], float | None]) -> None:
        self.clusters: list[str] = []
        self._ratio, self._counts = ratio, dict[str, tuple[int, int]]()
        shop = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = shop.page().encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def page(self) -> str:
        """What is scraped."""
        lines = []
        for key in list(self.clusters):
            ratio = self._ratio(key)
            if ratio is None:
                continue
            good, total = self._counts.get(key, (0, 0))
            self._counts[key] = good, total = good + int(PER_SCRAPE * ratio), total + PER_SCRAPE
            namespace, name = key.split("/")
            labels = f'{{namespace_name="{namespace}",cluster="{name}"}}'
            lines += [f"orders_good_total{labels} {good}", f"orders_total{labels} {total}"]
        return "\n".join(lines) + "\n"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class PrometheusServer:
    """The process. Its data outlive `kill`."""

    def __init__(self, target: str = "", *, reads_from: str = "") -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="kok-test-prometheus-"))
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        config: dict[str, object] = {"global": {"scrape_interval": "2s", "scrape_timeout": "2s"}}
        if target:
            config["scrape_configs"] = [{"job_name": "shop", "static_configs": [{"targets": [target]}]}]
        if reads_from:
            config["remote_read"] = [{"url": reads_from, "read_recent": True}]
        (self.folder / "prometheus.yml").write_text(json.dumps(config))
        argv = [
            asset("prometheus"), f"--config.file={self.folder / 'prometheus.yml'}", f"--storage.tsdb.path={self.folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}", "--log.level=warn",
        ]  # fmt: skip
        self._child = Child("prometheus", argv, self.folder)

    def start(self) -> PrometheusServer:
        """Start it and wait until it answers."""
        self._child.start()
        ends = time.monotonic() + START_SECONDS
        while time.monotonic() < ends:
            self._child.check()
            try:
                with urllib.request.urlopen(f"{self.url}/-/ready", timeout=2):
                    return self
            except OSError:
                time.sleep(0.1)
        raise AssertionError(f"Prometheus is not ready: {self._child.log.read_text()[-2000:]}")

    def until(self, query: str, least: float) -> None:
        """Wait until the query's first value is at least that."""
        ends = time.monotonic() + START_SECONDS
        while time.monotonic() < ends:
            asked = f"{self.url}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
            with urllib.request.urlopen(asked, timeout=5) as answer:
                found = json.load(answer)["data"]["result"]
            if found and float(found[0]["value"][1]) >= least:
                return
            time.sleep(0.2)
        raise AssertionError(f"{query} never came to {least}: {found}")

    def freeze(self) -> None:
        self._child.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._child.signal(signal.SIGCONT)

    def kill(self) -> None:
        self._child.kill()

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
