"""The Prometheus adapter against a real server and against servers that answer badly: always one number, or one sentence."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator

import pytest

from operators.adapters.prometheus import LARGEST, Prometheus
from operators.domain.rollout.metrics import NoNumber, Number
from tests.contract.metrics import CASES, check
from tests.integration.api_server import free_port
from tests.integration.rollout.prometheus import PrometheusServer, Shop

RIGHT = {"status": "success", "data": {"resultType": "vector", "result": [{"metric": {}, "value": [1.0, "7"]}]}}


@pytest.fixture(scope="module")
def server() -> Iterator[PrometheusServer]:
    shop = Shop(lambda key: 1.0)
    shop.clusters.append("prod/c1")
    server = PrometheusServer(shop.address)
    try:
        yield server.start()
    finally:
        server.close()
        shop.close()


@pytest.fixture
async def port(server: PrometheusServer) -> AsyncIterator[Prometheus]:
    port = Prometheus(server.url, deadline=2.0)
    yield port
    await port.close()


@pytest.mark.parametrize("query", CASES)
async def test_should_keep_the_contract(port: Prometheus, query: str) -> None:
    check(await port.ask(query), CASES[query][1])


async def test_should_read_a_counter_that_is_scraped(server: PrometheusServer, port: Prometheus) -> None:
    query = 'sum(increase(orders_total{cluster="c1"}[60s]))'
    await asyncio.to_thread(server.until, query, 100)
    answer = await port.ask(query)
    assert isinstance(answer, Number)
    assert answer.value > 100


@pytest.mark.parametrize(
    ("query", "words"),
    [("sum(", "HTTP 400: bad_data"), ("orders_total[60s]", "one number is needed"), ('"words"', "one number is needed")],
    ids=["no query", "a range", "a string"],
)
async def test_should_say_what_is_wrong_with_a_query(port: Prometheus, query: str, words: str) -> None:
    answer = await port.ask(query)
    assert isinstance(answer, NoNumber)
    assert words in answer.reason


async def test_should_give_up_on_a_server_that_hangs_and_answer_again_when_it_is_back(server: PrometheusServer, port: Prometheus) -> None:
    server.freeze()
    try:
        answer = await port.ask("vector(1)")
    finally:
        server.thaw()
    assert answer == NoNumber("Prometheus did not answer within 2 s")
    assert await port.ask("vector(1)") == Number(1.0)


async def test_should_not_believe_an_answer_that_a_real_server_warns_of() -> None:
    """A remote store that cannot be asked: Prometheus answers 200 with what it has, and a warning."""
    warning = PrometheusServer(reads_from=f"http://127.0.0.1:{free_port()}/read")
    port = Prometheus((await asyncio.to_thread(warning.start)).url)
    try:
        answer = await port.ask("sum(up) or vector(1)")
        assert isinstance(answer, NoNumber)
        assert "warns that its answer may be wrong" in answer.reason
        assert await port.ask("vector(1)") == Number(1.0), "the control: nothing is read from the store for that"
    finally:
        await port.close()
        warning.close()


def page(status: str, body: bytes) -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body


def success(**data: object) -> bytes:
    return page("200 OK", json.dumps({"status": "success", "data": data}).encode())


async def asked(answer: bytes) -> object:
    """What the port says of a server that answers these bytes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        writer.write(answer)
        await writer.drain()
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = Prometheus(f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/", deadline=2.0)
    try:
        return await port.ask("up")
    finally:
        await port.close()
        listener.close()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (page("503 Service Unavailable", b"<html>starting</html>"), "HTTP 503"),
        (page("422 Unprocessable Entity", b'{"status":"error","errorType":"execution","error":"too many samples"}'), "too many samples"),
        (page("200 OK", b'{"status":"error","errorType":"timeout","error":"query timed out"}'), "timeout query timed out"),
        (page("302 Found", b""), "HTTP 302"),
        (page("200 OK", b"<html>log in</html>"), "no JSON"),
        (page("200 OK", b"[1, 2]"), "no answer to a query"),
        (page("200 OK", b'{"status":"success"}'), "no answer to a query"),
        (success(resultType="vector", result=[{"metric": {}, "value": [1.0, "seven"]}]), "no answer to a query"),
        (success(resultType="vector", result=[{"metric": {}, "value": [1.0, "NaN"]}]), "is NaN"),
        (success(resultType="vector", result=[{"metric": {}, "value": [1.0, "+Inf"]}]), "is infinite"),
        (success(resultType="vector", result="much"), "series, and one is needed"),
        (page("200 OK", json.dumps({**RIGHT, "warnings": ["one shard is missing"]}).encode()), "one shard is missing"),
        (page("200 OK", b" " * (LARGEST + 10)), "no JSON"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{", "cannot be reached"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "cannot be reached"),
        (b"", "closed the connection without an answer"),
    ],
    ids=[
        "503", "error", "error with 200", "redirect", "a page", "a list", "no data", "no number", "NaN", "Inf", "text", "warnings",
        "endless", "cut off", "no HTTP", "silence",
    ],
)  # fmt: skip
async def test_should_say_in_words_what_is_no_number(answer: bytes, words: str) -> None:
    found = await asked(answer)
    assert isinstance(found, NoNumber), found
    assert words in found.reason
    assert not found.is_empty


async def test_should_take_the_right_answer() -> None:
    """The control: the same server with nothing wrong."""
    assert await asked(page("200 OK", json.dumps(RIGHT).encode())) == Number(7.0)
    assert await asked(page("200 OK", json.dumps({**RIGHT, "infos": ["metric might not be a counter"]}).encode())) == Number(7.0)
    assert await asked(success(resultType="scalar", result=[1.0, "3"])) == Number(3.0)


async def test_should_say_that_nothing_listens() -> None:
    port = Prometheus(f"http://127.0.0.1:{free_port()}")
    answer = await port.ask("up")
    await port.close()
    assert answer == NoNumber("Prometheus cannot be reached: the connection was refused: nothing listens on that port")
