"""The probe's records: one for each slot, whatever its outcome."""

import threading

import pytest

from chaos.probe.pace import Pace
from chaos.probe.probe import Probe
from chaos.probe.silence import AnswerWatch
from contract.clock import Clock
from contract.endpoint import Endpoint
from contract.schemas import REQUESTS, columns
from contract.topology import Gateway
from tests.chaos.stand import until
from tests.contract.exchanges import WHOLE, Groups, chunked, head, streamed, token
from tests.embedded.engine import QUICK, running
from tests.scenarios.server import HANG, Server


class Stumbling(Groups):
    """Raises at the first two answers, one in each lane."""

    def __init__(self):
        self._left, self._lock = 2, threading.Lock()

    def tier_of(self, group, api_base):
        with self._lock:
            self._left -= 1
            if self._left >= 0:
                raise ZeroDivisionError("by nought")
        return "vllm"


@pytest.fixture
def probe():
    made = []

    def start(url, topology):
        records, clock = [], Clock()
        pace = Pace([clock.now() + 2])  # near a move it is fast
        found = Probe(Endpoint.of(url, "m"), topology, "3f9c01", pace, clock, records.append)
        made.append(found)
        found.start()
        return found, records

    yield start
    for one in made:
        one.stop(0)


def test_a_bug_has_its_record_and_the_lane_goes_on(probe):
    with Server([streamed(*WHOLE)]) as server:
        found, records = probe(server.url, Stumbling())
        until(lambda: sum(r.outcome == "ok" for r in records) >= 4, "it goes on")
        found.stop(5)
    broken = [r.error for r in records if r.outcome == "broken"]
    assert broken == ["in the harness: ZeroDivisionError: by nought"] * 2
    assert {r.lane for r in records if r.outcome == "ok"} == {"probe_new", "probe_kept"}
    columns(records, REQUESTS)


def test_the_probe_counts_the_versions_of_the_gateway_that_its_answers_name(probe):
    def named(version):
        return [
            head("200 OK", "transfer-encoding: chunked", f"x-litellm-version: {version}") + chunked(*WHOLE)
        ]

    with Server(named("1.106.2"), named("1.108.7"), named("none of yours")) as server:
        found, records = probe(server.url, Groups())
        until(lambda: len(records) >= 4, "it goes on")
        found.stop(5)
    assert found.gateway_versions == {"1.106.2": 1, "1.108.7": 1}


@pytest.mark.parametrize("reasoning", ["reasoning", "hidden"])
def test_a_reasoning_model_is_not_broken_and_its_end_counts_as_its_answer(probe, reasoning, tmp_path):
    with running("vllm", tmp_path, *QUICK, "--model", "m", "--reasoning", reasoning) as engine:
        found, records = probe(f"http://127.0.0.1:{engine.port}", Groups())
        until(lambda: len(records) >= 4, "it goes on")
        found.stop(5)
        assert {e.max_tokens for e in engine.entries()} == {1}
    assert {(r.outcome, r.witness, r.output_tokens) for r in records} == {("ok", "end", 1)}
    if reasoning == "hidden":
        assert {r.ttft_ms for r in records} == {None}
        watch = AnswerWatch()
        watch.taken(records[-1].scheduled_at - 1.0, "ollama")
        watch.answered(records[-1])
        assert watch.answered_s == pytest.approx(1.0 + records[-1].latency_ms / 1000, abs=0.5)


def test_its_cap_is_the_topologys(probe):
    class Larger(Groups):
        gateway = Gateway(url="http://127.0.0.1:1", model="vllm", probe_max_tokens=16)

    with Server([streamed(*WHOLE)]) as server:
        found, records = probe(server.url, Larger())
        until(lambda: records, "it sends requests")
        found.stop(5)
    assert records[0].max_tokens == 16
    assert b'"max_tokens": 16' in server.requests[0]


def test_what_is_in_flight_at_the_end_is_abandoned_once(probe):
    begun = head("200 OK", "transfer-encoding: chunked") + chunked(token(), last=False)
    with Server([begun, HANG]) as server:
        found, records = probe(server.url, Groups())
        until(lambda: len(server.requests) == 2 and any(r.covered_by for r in records), "both lanes wait")
        found.stop(0.1)
    ids = [r.request_id for r in records]
    assert len(ids) == len(set(ids))
    assert sum(r.outcome == "abandoned" and r.covered_by is None for r in records) == 2
    columns(records, REQUESTS)
