"""How the operators log: a constant message and fields; JSON lines off a terminal, colours on one. Called once by each entry point."""

from __future__ import annotations

import logging
import sys

import structlog


def set_up_logging(*, level: str = "info", component: str = "", stream_is_terminal: bool | None = None) -> None:
    """Send structlog and the stdlib's loggers (kopf, aiohttp) to stderr through one formatter. `component` is on every line."""
    terminal = sys.stderr.isatty() if stream_is_terminal is None else stream_is_terminal
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.dict_tracebacks if not terminal else structlog.processors.StackInfoRenderer(),
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    renderer = structlog.dev.ConsoleRenderer() if terminal else structlog.processors.JSONRenderer()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer]
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("kopf", "aiohttp.access", "asyncssh"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    if component:
        structlog.contextvars.bind_contextvars(component=component)
