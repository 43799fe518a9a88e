"""The one port of an operator: /metrics for Prometheus, /healthz and /readyz for the kubelet. Decides nothing: it asks `Health`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from operators.engine.metrics import Metrics

Complaint = Callable[[], str]
"""Says what is wrong; empty if nothing is."""


class HealthServer:
    """Serves until closed. Port 0 takes a free one; `port` says which."""

    def __init__(self, metrics: Metrics, *, alive: Complaint, ready: Complaint) -> None:
        app = web.Application()
        app.router.add_get("/healthz", _answer(alive))
        app.router.add_get("/readyz", _answer(ready))
        app.router.add_get("/metrics", _exposition(metrics))
        self._runner = web.AppRunner(app, access_log=None)

    async def start(self, host: str, port: int) -> int:
        """Listen; returns the port."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        return int(self._runner.addresses[0][1])

    async def close(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def _answer(complaint: Complaint) -> Handler:
    async def handle(_: web.Request) -> web.StreamResponse:
        words = complaint()
        return web.Response(text=(words or "ok") + "\n", status=503 if words else 200)

    return handle


def _exposition(metrics: Metrics) -> Handler:
    async def handle(_: web.Request) -> web.StreamResponse:
        return web.Response(body=metrics.text(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    return handle
