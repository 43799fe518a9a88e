"""MetricsPort over the HTTP API of Prometheus (or what speaks it): instant queries, each with a deadline, every unhappy answer in words.

Nothing is followed or repeated: a redirect is an answer that nobody expected, and the next look asks again. Built by cluster_operator/main.py.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import aiohttp

from operators.adapters.no_answer import why_no_answer
from operators.domain.rollout.metrics import Answer, NoNumber, Number

DEADLINE = 5.0
"""Seconds for one query; Prometheus is told to give up a little earlier."""
LARGEST = 1 << 20
"""Bytes: one number is far smaller."""
WORDS = 200


class Prometheus:
    """Asks one server. `url` as people open it, without /api; a name and password in it are sent as such and never shown."""

    is_there = True

    def __init__(self, url: str, *, deadline: float = DEADLINE) -> None:
        self._url, self._deadline = f"{url.rstrip('/')}/api/v1/query", deadline
        self._session: aiohttp.ClientSession | None = None

    async def ask(self, query: str) -> Answer:
        """See MetricsPort."""
        form = {"query": query, "timeout": f"{int(self._deadline * 800)}ms"}
        try:
            async with asyncio.timeout(self._deadline), self._post(form) as response:
                body = await response.content.read(LARGEST)
                while len(body) < LARGEST and (more := await response.content.read(LARGEST - len(body))):
                    body += more
                return answer_of(response.status, body)
        except TimeoutError:
            return NoNumber(f"Prometheus did not answer within {self._deadline:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return NoNumber(f"Prometheus cannot be reached: {why_no_answer(error)}")

    def _post(self, form: Mapping[str, str]) -> Any:
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession()
        return self._session.post(self._url, data=form, allow_redirects=False)

    async def close(self) -> None:
        """End its connections."""
        if self._session:
            await self._session.close()


def answer_of(status: int, body: bytes) -> Answer:
    """What an HTTP answer says: exactly one finite number without a warning, or why not."""
    try:
        document = json.loads(body)
    except ValueError:
        return NoNumber(
            f"Prometheus answered HTTP {status}" if status != HTTPStatus.OK else "Prometheus answered something that is no JSON"
        )
    if not isinstance(document, dict):
        return NoNumber("Prometheus answered JSON that is no answer to a query")
    if status != HTTPStatus.OK or document.get("status") != "success":
        words = f"{document.get('errorType', '')} {document.get('error', '')}".strip()
        return NoNumber(f"Prometheus answered HTTP {status}{': ' if words else ''}{words}"[:WORDS])
    if warnings := document.get("warnings"):
        first = warnings[0] if isinstance(warnings, list) else warnings
        return NoNumber(f"Prometheus warns that its answer may be wrong: {first}"[:WORDS])
    return _number(document.get("data"))


def _number(data: Any) -> Answer:
    """Of `{resultType, result}`."""
    try:
        kind, result = data["resultType"], data["result"]
        if kind == "vector" and not result:
            return NoNumber("the answer is empty: no such series, or it has vanished", is_empty=True)
        if kind == "vector" and len(result) > 1:
            return NoNumber(f"the answer has {len(result)} series, and one is needed: sum() them")
        if kind not in ("vector", "scalar"):
            return NoNumber(f"the answer is a {kind}, and one number is needed")
        value = float(result[0]["value"][1] if kind == "vector" else result[1])
    except (KeyError, IndexError, TypeError, ValueError):
        return NoNumber("Prometheus answered JSON that is no answer to a query")
    if math.isnan(value):
        return NoNumber("the answer is NaN: something was divided by nothing")
    return Number(value) if math.isfinite(value) else NoNumber("the answer is infinite")
