"""Waits until every etcd given as host:port accepts connections. Runs as the init container of API servers; decides and writes nothing.

An API server that meets no etcd retries ever more slowly, and then ends and is restarted ever more slowly: it would come up many seconds
(after a long outage minutes) later than its etcd. Waiting in front of it costs one connection attempt per INTERVAL instead.
Imports the standard library only. There is no deadline: what it waits for stands in its log, and `kok why` shows it.
"""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Sequence

INTERVAL = 0.05
"""Seconds between two attempts."""
ATTEMPT = 2.0
"""Seconds one attempt may take."""
REPEAT = 10.0
"""Seconds after which it says again what it waits for."""


def refusal(address: str) -> str:
    """Why nothing can be had at host:port now; empty when a connection was accepted."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=ATTEMPT).close()
    except OSError as error:
        return str(error)
    return ""


def main(addresses: Sequence[str]) -> int:
    """Wait for each in turn: all are needed."""
    for address in addresses:
        said = time.monotonic() - REPEAT
        while reason := refusal(address):
            if time.monotonic() - said >= REPEAT:
                said = time.monotonic()
                sys.stdout.write(f"waiting for etcd at {address}: {reason}\n")
                sys.stdout.flush()
            time.sleep(INTERVAL)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
