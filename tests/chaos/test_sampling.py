"""The samplers of the chaos process: each source on its own, and no source that dies unnoticed."""

import threading
from types import SimpleNamespace

import pytest

from chaos.recording import Recording
from chaos.sampling import Sampling
from chaos.stop import Stop
from contract import samplers
from contract.clock import Clock
from contract.refusal import Refusal
from contract.sampler import Process, Sampler, Source
from contract.samplers.health import Health
from contract.topology import Topology
from tests.chaos.stand import until
from tests.scenarios.server import HANG, Server

WELL = [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"]


def topology(**health: str | None) -> Topology:
    return Topology.model_validate(
        {
            "gateway": {"url": "http://127.0.0.1:9", "model": "a", "health": health.get("gateway")},
            "tiers": [
                {"name": n, "match": {"group": n}, "health": health.get(n), "api_key": "${ITS_KEY}"}
                for n in ("vllm", "ollama")
            ],
        }
    )


@pytest.fixture
def key(monkeypatch):
    monkeypatch.setenv("ITS_KEY", "sk-1")


def test_each_health_url_is_read_separately_and_a_slow_one_delays_no_other(tmp_path, key):
    stop = Stop()
    recording = Recording(tmp_path, stop)
    with Server(WELL) as quick, Server([HANG]) as slow:
        found = topology(
            vllm=f"{quick.url}/health", ollama=f"{slow.url}/health", gateway="http://127.0.0.1:9/"
        )
        sampling = Sampling(found, Clock(), recording.sample, stop)
        sampling.start()
        until(lambda: len(sampling.latest) == 3, "each was read once")
        sampling.stop()
    recording.close()
    assert {name for _, name in sampling.latest} == {"vllm", "ollama", "gateway"}
    rows = samplers.read(tmp_path, "health")[0].to_pylist()
    assert {row["tier"]: row["up"] for row in rows} == {"vllm": True, "ollama": False, "gateway": False}
    assert sampling.latest["health", "vllm"].up is True
    assert b"Bearer sk-1" in quick.requests[0]
    first = {row["tier"]: row["at"] for row in reversed(rows)}
    assert first["vllm"] - first["ollama"] < 0.9
    assert stop.reason is None


def test_a_second_in_which_the_sampler_stalled_is_unknown(key):
    (source,) = samplers.find("health").sources(
        SimpleNamespace(topology=topology(vllm="http://127.0.0.1:9/"), clock=Clock())
    )
    assert source.unknown(5.0) == [Health(5.0, "vllm", up=None)]


def test_a_key_that_is_not_in_the_environment_is_refused_before_anything_is_touched(monkeypatch):
    monkeypatch.delenv("ITS_KEY", raising=False)
    with pytest.raises(Refusal, match="ITS_KEY"):
        Sampling(topology(vllm="http://127.0.0.1:9/"), Clock(), print, Stop())


def given(monkeypatch, rows):
    """One sampler alone, of this source."""
    one = Sampler(Health, 0.01, Process.CHAOS, lambda given: [Source("one", rows)])
    monkeypatch.setattr(samplers, "every", lambda *_: {"health": one})


def test_a_sampler_that_raises_stops_the_run(monkeypatch):
    def rows():
        raise KeyError("up")

    given(monkeypatch, rows)
    stop = Stop()
    sampling = Sampling(topology(), Clock(), print, stop)
    sampling.start()
    until(stop.is_set, "the run is stopped")
    sampling.stop()
    assert stop.reason == "error: sampler health: KeyError: 'up'"


def test_a_file_that_cannot_be_written_stops_the_run(monkeypatch, tmp_path):
    sampled = threading.Event()
    given(monkeypatch, lambda: sampled.set() or [Health(1.0, "vllm", "no truth value")])
    stop = Stop()
    recording = Recording(tmp_path, stop)
    sampling = Sampling(topology(), Clock(), recording.sample, stop)
    sampling.start()
    until(stop.is_set, "the run is stopped")
    sampling.stop()
    recording.close()
    assert stop.reason.startswith("error: health.arrow cannot be written")
