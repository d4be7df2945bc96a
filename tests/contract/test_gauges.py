"""The gauges of an engine: which values are read from its page, and how often an engine without a page gets a request."""

from types import SimpleNamespace

import pytest

from contract import samplers
from contract.sampler import Given
from contract.samplers.gauges import LOOK_AGAIN_S, Gauges, gauges
from tests.scenarios.server import CLOSE, Server
from tests.scenarios.user_contexts import topology

PAGES = {
    "vLLM": (
        'vllm:kv_cache_usage_perc{engine="0"} 0.25\nvllm:kv_cache_usage_perc{engine="1"} 0.75\n'
        'vllm:num_requests_running{engine="0"} 3\nvllm:num_requests_running{engine="1"} 4\n'
        'vllm:num_requests_waiting{engine="0"} 0\nvllm:num_requests_waiting_by_reason{reason="capacity"} 9\n',
        (0.75, 7.0, 0.0),
    ),
    "llama.cpp": (
        "llamacpp:kv_cache_usage_ratio 0.5\nllamacpp:requests_processing 2\nllamacpp:requests_deferred 1\n",
        (0.5, 2.0, 1.0),
    ),
    "one that tells of no cache": ("llamacpp:requests_processing 2\n", (None, 2.0, None)),
    "another's": ("up 1\n", (None, None, None)),
    "one that tells what is no number": (
        "vllm:kv_cache_usage_perc NaN\nvllm:kv_cache_usage_perc 0.4\nvllm:num_requests_running +Inf\nvllm:num_requests_waiting -1\n",
        (0.4, None, None),
    ),
}


@pytest.mark.parametrize("engine", PAGES)
def test_an_engines_page_is_read_and_a_missing_gauge_is_none(engine):
    text, values = PAGES[engine]
    assert gauges(text, 5.0, "vllm") == Gauges(5.0, "vllm", *values)


def answer(status: str, body: str = "") -> list[bytes]:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return [head.encode() + body.encode(), CLOSE]


GOOD = answer("200 OK", PAGES["vLLM"][0])
VALUES, NOTHING = PAGES["vLLM"][1], (None, None, None)


@pytest.mark.parametrize(
    ("first", "values", "next_s"),
    [
        (GOOD, VALUES, 1.0),
        (answer("503 Service Unavailable"), NOTHING, 1.0),  # it loads
        ([CLOSE], NOTHING, 1.0),  # it leaves
        (answer("404 Not Found"), NOTHING, LOOK_AGAIN_S),
        (answer("501 Not Implemented"), NOTHING, LOOK_AGAIN_S),
        (answer("302 Found"), NOTHING, LOOK_AGAIN_S),
        (answer("200 OK", "up 1\n"), NOTHING, LOOK_AGAIN_S),
    ],
    ids=["good", "503", "closed", "404", "501", "302", "another's"],
)
def test_an_engine_without_a_page_gets_a_request_seldom_and_what_is_unknown_is_none(first, values, next_s):
    clock = SimpleNamespace(at=1000.0)
    clock.now = lambda: clock.at
    with Server(first, GOOD) as server:
        (source,) = samplers.find("gauges").sources(
            Given(topology(server.url, vllm=f"{server.url}/v1"), clock)
        )
        found = []
        for _ in range(40):
            found += source.rows()
            clock.at += 1.0
        paths = {request.split(b" ")[1] for request in server.requests}
    assert source.name == "vllm"
    assert paths == {b"/metrics"}
    assert found[:2] == [Gauges(1000.0, "vllm", *values), Gauges(1000.0 + next_s, "vllm", *VALUES)]
    assert len(found) == 41 - next_s


@pytest.mark.parametrize("away", ["404 Not Found", "302 Found", "200 OK"])
def test_an_engine_that_has_served_its_page_gets_a_request_each_second_from_then_on(away):
    clock = SimpleNamespace(now=lambda: 1000.0)
    with Server(GOOD, answer(away), GOOD) as server:
        (source,) = samplers.find("gauges").sources(
            Given(topology(server.url, vllm=f"{server.url}/v1"), clock)
        )
        found = [row for _ in range(3) for row in source.rows()]
    assert [row.running for row in found] == [7.0, None, 7.0]


def test_a_tier_without_a_url_and_one_that_costs_money_get_no_request():
    assert samplers.find("gauges").sources(Given(topology("http://127.0.0.1:9"), SimpleNamespace())) == []
