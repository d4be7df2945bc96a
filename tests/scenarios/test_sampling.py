"""The samples of a load generator: its own with its lag, those of engines, and on a master those of its workers."""

import time
from functools import partial

import gevent
import gevent.event
import pytest

from contract import samplers
from contract.refusal import Refusal
from contract.sampler import Process, Sampler, Source
from contract.samplers.client import Client
from contract.samplers.gauges import Gauges
from scenarios.gateway.distributed.gathering import Gathering
from scenarios.gateway.distributed.messages import Batches
from scenarios.gateway.recording import Memory, Recording
from scenarios.gateway.sampling import Sampling
from tests.scenarios.user_contexts import Kept, user_context

CLIENT = {"client": samplers.find("client")}
GATEWAY = "http://127.0.0.1:9"


def rows(folder, name):
    return samplers.read(folder, name)[0].to_pylist()


def until(what):
    with gevent.Timeout(20):
        while not what():
            gevent.sleep(0.02)


def test_the_client_is_watched_once_a_second_and_its_lag_is_seen(tmp_path):
    found, failures = user_context(GATEWAY), []
    sampling = Sampling(CLIENT, found, lambda: 3, partial(samplers.create, tmp_path), failures.append)
    sampling.start()
    tally = found.recorder.tally
    tally.due()
    tally.due()
    tally.drop()
    tally.began(arrived=True)
    tally.sent_late(0.25)
    gevent.sleep(0.3)
    time.sleep(0.2)  # not gevent's: blocks the hub
    until(lambda: len(rows(tmp_path, "client")) >= 2)
    sampling.stop()
    sampling.stop()
    first, second = rows(tmp_path, "client")[:2]
    counted = [
        [r[c] for c in ("users", "scheduled", "sent", "dropped", "late_ms", "in_flight")]
        for r in (first, second)
    ]
    assert counted == [[3, 2, 1, 1, 250.0, 1], [3, 0, 0, 0, None, 1]]
    assert first["hub_lag_ms"] > 150
    assert second["hub_lag_ms"] < first["hub_lag_ms"]
    assert failures == []


def test_the_last_second_is_written_though_it_was_not_a_whole_one(tmp_path):
    found = user_context(GATEWAY, worker="worker-1")
    sampling = Sampling(CLIENT, found, lambda: 1, partial(samplers.create, tmp_path), print)
    sampling.start()
    gevent.sleep(0)
    found.recorder.tally.began(arrived=False)
    sampling.stop()
    (last,) = rows(tmp_path, "client")
    assert (last["worker"], last["scheduled"], last["sent"]) == ("worker-1", 1, 1)


class Full(Kept):
    def append(self, records):
        raise OSError(28, "No space left on device")


def _raising(given):
    def broken():
        raise ValueError("no such gauge")

    return [Source("one", broken), Source("two", broken)]


@pytest.mark.parametrize(
    ("sources", "sink", "why"),
    [
        (lambda given: [Source(n, list) for n in "ab"], Full, "OSError: [Errno 28] No space left on device"),
        (_raising, Kept, "ValueError: no such gauge"),
    ],
)
def test_a_sampler_whose_rows_cannot_be_made_or_written_is_an_error_of_the_run_once(sources, sink, why):
    failures, file = [], sink()
    broken = {"broken": Sampler(Client, 0.01, Process.RUN, sources)}
    sampling = Sampling(broken, user_context(GATEWAY), None, lambda name: file, failures.append)
    sampling.start()
    until(lambda: failures)
    gevent.sleep(0.05)
    sampling.stop()
    assert failures == [f"sampler broken: {why}"]
    assert file.closed == 1


def test_the_run_may_be_stopped_from_within_the_failure():
    stopped, file = [], Full()
    broken = {"broken": Sampler(Client, 0.01, Process.RUN, lambda given: [Source("one", list)])}
    sampling = Sampling(
        broken,
        user_context(GATEWAY),
        None,
        lambda name: file,
        lambda why: (sampling.stop(), stopped.append(why)),
    )
    sampling.start()
    until(lambda: stopped)
    assert len(stopped) == file.closed == 1


class Torn(Full):
    def close(self):
        super().close()
        raise OSError(28, "No space left on device")


def test_where_one_source_has_failed_the_other_writes_no_more_and_a_close_that_fails_ends_no_run():
    failures, tried, file = [], [], Torn()
    file.append = lambda found: (tried.append(found), Full.append(file, found))
    begun = gevent.event.Event()

    def waits():
        begun.wait()
        return [1]

    def fails():
        begun.set()
        return [2]

    broken = {
        "broken": Sampler(Client, 0.01, Process.RUN, lambda given: [Source("a", waits), Source("b", fails)])
    }
    sampling = Sampling(broken, user_context(GATEWAY), None, lambda name: file, failures.append)
    sampling.start()
    until(lambda: failures)
    gevent.sleep(0.05)
    sampling.stop()
    assert (tried, file.closed) == ([[2]], 1)
    assert failures == ["sampler broken: OSError: [Errno 28] No space left on device"]


def test_a_sampler_that_cannot_run_refuses_all_of_them():
    def cannot(given):
        raise Refusal("VLLM_KEY is not set")

    made = []
    of = {
        "a": Sampler(Client, 0.01, Process.RUN, lambda given: [Source("a", lambda: made.append(1) or [])]),
        "b": Sampler(Client, 0.01, Process.RUN, cannot),
    }
    with pytest.raises(Refusal, match="VLLM_KEY is not set"):
        Sampling(of, user_context(GATEWAY), None, lambda name: Kept(), print).start()
    gevent.sleep(0.03)
    assert made == []


@pytest.fixture
def seldom(monkeypatch):
    """Gauges without a network: one engine that always reports the same."""
    same = Sampler(
        Gauges, 60.0, Process.RUN, lambda given: [Source("vllm", lambda: [Gauges(1.0, "vllm", None, 2.0)])]
    )
    find = samplers.find
    monkeypatch.setattr(samplers, "find", lambda name: same if name == "gauges" else find(name))


def test_one_process_writes_all_that_a_load_generator_samples(tmp_path, seldom):
    recording = Recording(lambda: 1, user_context(GATEWAY), tmp_path, Memory(), print)
    until(lambda: rows(tmp_path, "gauges"))
    recording.close()
    assert {p.name for p in tmp_path.iterdir()} == {"requests.arrow", "client.arrow", "gauges.arrow"}
    assert rows(tmp_path, "gauges") == [
        {"at": 1.0, "tier": "vllm", "kv_cache": None, "running": 2.0, "waiting": None}
    ]


def test_a_master_writes_its_workers_rows_as_they_come_and_samples_the_engines_itself(tmp_path, seldom):
    failures = []
    gathering = Gathering(tmp_path, user_context(GATEWAY), [], [], failures.append)
    theirs = Batches(samplers.find("client").schema)
    for worker in ("worker-0", "worker-1"):
        theirs.append([Client(5.0, worker, 12.5, 0.3, 4, 3, 2, 1, None, 1)])
    assert gathering.keep({"requests": [], "samples": {"client": theirs.take()}}) == 0
    until(lambda: rows(tmp_path, "gauges"))
    gathering.close()
    gathering.close()
    assert [row["worker"] for row in rows(tmp_path, "client")] == ["worker-0", "worker-1"]
    assert len(rows(tmp_path, "gauges")) == 1
    assert failures == []


@pytest.mark.parametrize("samples", [{"client": [b"nonsense"]}, {"unheard_of": []}])
def test_rows_that_a_master_cannot_read_are_an_error_of_the_run(tmp_path, seldom, samples):
    failures = []
    gathering = Gathering(tmp_path, user_context(GATEWAY), [], [], failures.append)
    gathering.keep({"requests": [], "samples": samples})
    gathering.close()
    assert len(failures) == 1
    assert "a worker's records cannot be read" in failures[0]
