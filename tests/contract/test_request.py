"""The parameters of a request are decided before it is sent, from the topology, in one place."""

import dataclasses
from pathlib import Path

import pytest

from contract.caps import Use
from contract.classification import Classification
from contract.document import read
from contract.records import GATEWAY, Lane
from contract.request import Request
from contract.topology import Topology

CORPUS = Path(__file__).parents[2] / "scenarios/documents"
TOPOLOGY = Topology.model_validate(
    {
        "gateway": {"url": "http://h", "model": "a", "max_tokens": 50},
        "tiers": [
            {"name": "vllm", "match": {"group": "a"}, "url": "http://v", "model": "m", "max_tokens": 400, "ignore_eos": True},
            {"name": "cpu", "match": {"group": "b"}, "url": "http://c", "model": "m", "probe_max_tokens": 16},
        ],
    }
)  # fmt: skip
DECIDED = [
    # what is given, where the run sends its users → via, cap, ignore_eos
    ({}, GATEWAY, (GATEWAY, 50, False)),
    ({}, "vllm", ("vllm", 400, True)),
    ({"via": GATEWAY}, "vllm", (GATEWAY, 50, False)),
    ({"via": "cpu"}, GATEWAY, ("cpu", 50, False)),
    ({"via": "vllm", "max_tokens": 7}, GATEWAY, ("vllm", 7, True)),
    ({"via": "vllm", "capped": False}, GATEWAY, ("vllm", None, False)),
    ({"via": "vllm", "capped": False, "max_tokens": 7}, GATEWAY, ("vllm", None, False)),
    ({"use": Use.PROBE}, GATEWAY, (GATEWAY, 16, False)),
    ({"use": Use.PROBE, "via": "vllm"}, GATEWAY, ("vllm", 1, True)),
    ({"use": Use.PLAN, "via": "cpu"}, GATEWAY, ("cpu", 32, False)),
]


@pytest.mark.parametrize(("given", "users", "decided"), DECIDED)
def test_the_topology_decides_what_is_left_open(given, users, decided):
    found = Request(prompt="hi", stream=True, **given).on(TOPOLOGY, users)
    assert (found.via, found.max_tokens, found.ignore_eos) == decided
    assert found.on(TOPOLOGY) == found


def test_a_request_is_not_changed_once_it_is_made():
    request = Request(prompt="hi", stream=True)
    with pytest.raises(dataclasses.FrozenInstanceError):
        request.max_tokens = 5


def test_its_record_has_what_was_decided_and_nothing_that_was_observed():
    document = read(CORPUS)[0]
    request = Request(
        prompt="hi", stream=False, lane=Lane.OVERHEAD, pair="p1", scheduled_at=5.0, classification=Classification(document, 2)
    ).on(TOPOLOGY)  # fmt: skip
    record = request.record("req-1", "classify", now=6.0, worker="w1")
    assert (record.request_id, record.scenario, record.lane, record.via, record.stream) == (
        "req-1", "classify", "overhead", "gateway", False,
    )  # fmt: skip
    assert (record.scheduled_at, record.max_tokens, record.pair, record.worker) == (5.0, 50, "p1", "w1")
    assert (record.document, record.attempt) == (document.id, 2)
    assert (record.sent_at, record.status, record.latency_ms, record.tier) == (None, None, None, None)
    assert (
        dataclasses.replace(request, scheduled_at=None).record("req-1", "chat", now=6.0).scheduled_at == 6.0
    )
