"""A TCP proxy on loopback that a test can cut, delay and reset: the network between one operator and one API server."""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType
from urllib.parse import urlsplit


class TcpProxy:
    """Use as `async with`. `cut` refuses and drops everything until `restore`; `latency` delays every answer; `reset` drops what is open now."""

    def __init__(self, target: str) -> None:
        place = urlsplit(target)
        self._host, self._port = place.hostname or "", place.port or 443
        self.latency = 0.0
        self._is_cut = False
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.url = ""

    async def __aenter__(self) -> TcpProxy:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"https://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._server
        self._server.close()
        self.reset()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        self._is_cut = True
        self.reset()

    def restore(self) -> None:
        self._is_cut = False

    def reset(self) -> None:
        for writer in tuple(self._open):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self._is_cut:
            writer.transport.abort()
            return
        try:
            there, onward = await asyncio.open_connection(self._host, self._port)
        except OSError:
            writer.transport.abort()
            return
        self._open |= {writer, onward}
        try:
            with contextlib.suppress(OSError, asyncio.CancelledError):  # a cancelled connection is one that ended
                await asyncio.gather(self._pump(reader, onward, delayed=False), self._pump(there, writer, delayed=True))
        finally:
            self._open -= {writer, onward}
            writer.transport.abort()
            onward.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, delayed: bool) -> None:
        while data := await reader.read(65536):
            if delayed and self.latency:
                await asyncio.sleep(self.latency)
            writer.write(data)
            await writer.drain()
        writer.write_eof()
