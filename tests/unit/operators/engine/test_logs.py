"""Logs off a terminal are JSON lines: ours and the libraries' alike, with what was bound."""

from __future__ import annotations

import json
import subprocess
import sys

PROGRAM = """
import logging, structlog
from operators.engine.logs import set_up_logging
set_up_logging(component="test", level={level!r})
log = structlog.get_logger("operators.test")
with structlog.contextvars.bound_contextvars(reconcile_id="r1"):
    log.info("decided", cluster="demo")
log.debug("detail")
logging.getLogger("kopf").info("noise")
logging.getLogger("asyncio").warning("theirs")
try:
    1 / 0
except ZeroDivisionError:
    log.exception("broke")
"""


def lines_at(level: str) -> list[dict]:
    done = subprocess.run([sys.executable, "-c", PROGRAM.format(level=level)], capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_should_write_one_json_object_per_line():
    lines = lines_at("info")
    assert [line["event"] for line in lines] == ["decided", "theirs", "broke"]
    assert lines[0].items() >= {"cluster": "demo", "component": "test", "level": "info", "reconcile_id": "r1"}.items()
    assert lines[0]["timestamp"].endswith("Z")
    assert "ZeroDivisionError" in json.dumps(lines[2])


def test_should_say_more_when_asked():
    assert "detail" in [line["event"] for line in lines_at("debug")]
