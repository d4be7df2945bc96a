"""However a run is stopped in mid-stream, and whatever its users' tasks raise: every request has exactly one record.

Real headless runs with the project's locustfile, and a server that logs every request.
"""

import csv
import signal
from collections import Counter
from pathlib import Path

import pytest

from contract.run import read_arrow, read_manifest
from contract.schemas import REQUESTS
from tests.chaos.stand import until
from tests.contract.exchanges import WHOLE, chunked, head, token
from tests.scenarios.server import Server
from tests.whole.small_run import SmallRun, nonces
from tests.whole.stack import latest

# Every answer is under way for a second, with its first token out.
SLOW = [
    head("200 OK", "transfer-encoding: chunked", "x-litellm-model-group: b") + chunked(token(), last=False),
    1.0,
    chunked(*WHOLE),
]
USERS = 40


@pytest.fixture
def small_run(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with Server(SLOW) as gateway:
        found = SmallRun(tmp_path, gateway, baseline="20s")
        yield found, gateway
        found.end()


def stopped_run(small_run: SmallRun, gateway: Server, how: str, *more: str) -> tuple[Path, str]:
    """A run that is stopped when many requests are under way; its folder, and Locust's output."""
    process = small_run.start(
        "--headless", "--only-summary", "--topology", str(small_run.topology), "--timeline", str(small_run.timeline),
        "--results", str(small_run.results), "--users", str(USERS), "--spawn-rate", str(USERS),
        "-f", "tests/whole/unreported.py", *(["-f", "tests/whole/quitting.py"] if how == "quit" else []), *more,
    )  # fmt: skip
    if how.startswith("SIG"):
        until(lambda: len(gateway.requests) > 60, "the users send requests", 90)
        process.send_signal(getattr(signal, how))
    out, _ = process.communicate(timeout=100)
    return latest(small_run.results), out


def records_of(run: Path) -> list[dict]:
    table, torn = read_arrow(run / "requests.arrow", REQUESTS)
    assert not torn
    return table.to_pylist()


def check(run: Path, gateway: Server) -> list[dict]:
    """Each request that reached the server has one record; each record is of such a request, or of one that was not sent."""
    records = records_of(run)
    probe = {r["request_id"] for r in read_arrow(run / "probe.arrow", REQUESTS)[0].to_pylist()}
    ids = [r["request_id"] for r in records]
    assert len(ids) == len(set(ids))
    sent = Counter(r["request_id"] for r in records if r["sent_at"] is not None)
    seen = Counter(n for n in nonces(gateway) if n not in probe)
    assert seen == sent
    users = [r for r in records if r["lane"] != "warmup"]
    assert read_manifest(run)["counts"] == Counter(r["outcome"] for r in users)
    with open(run / "locust_stats.csv") as f:
        counts = {(row["Type"], row["Name"]): int(row["Request Count"]) for row in csv.DictReader(f)}
    assert counts.pop(("", "Aggregated")) == len(users)
    assert sum(count for (kind, _), count in counts.items() if kind != "TTFT") == len(users)
    return users


STOPS = [(how, stop_s) for how in ("SIGTERM", "SIGINT", "quit") for stop_s in ("0", "30")]


@pytest.mark.parametrize(
    ("how", "stop_s", "loop"),
    [
        pytest.param(*stop, loop, marks=() if (*stop, loop) == ("SIGTERM", "0", "open") else pytest.mark.verify)
        for stop in STOPS
        for loop in ("closed", "open")
    ],
)  # fmt: skip
def test_a_run_that_is_stopped_in_mid_stream_has_one_record_per_request(small_run, how, stop_s, loop):
    arrivals = ["--arrivals", "poisson:30/s"] if loop == "open" else []
    run, out = stopped_run(*small_run, how, "--stop-timeout", stop_s, *arrivals)
    users = check(run, small_run[1])
    met = Counter((r["scenario"], r["outcome"]) for r in users)
    print(how, stop_s, loop, dict(met))
    assert len(users) > 30, out
    stopped = sum(n for (_, outcome), n in met.items() if outcome == "abandoned")
    assert stopped > 5 if stop_s == "0" else stopped == 0, met
    assert read_manifest(run)["status"] == "aborted"


@pytest.mark.verify
def test_what_a_users_task_raises_costs_no_record(small_run):
    run, out = stopped_run(*small_run, "SIGTERM", "--stop-timeout", "0", "-f", "tests/whole/raising.py")
    users = check(run, small_run[1])
    met = Counter((r["scenario"], r["outcome"]) for r in users)
    print(dict(met))
    assert met["raising", "ok"] > 5, out
    assert met["raising", "abandoned"] > 0
    mine = [r for r in users if r["outcome"] == "broken"]
    assert {r["error"].split(":")[0] for r in mine} == {"in the harness"}
    with open(run / "locust_exceptions.csv") as f:
        messages = {row["Message"]: int(row["Count"]) for row in csv.DictReader(f)}
    assert {"before the request", "after the request", "'nowhere'"} <= set(messages), messages


@pytest.mark.verify
def test_a_run_that_is_stopped_before_it_has_begun_is_closed_all_the_same(small_run):
    """Locust counts its run time from before the run is open, and kills the greenlet that opens it."""
    run, out = stopped_run(*small_run, "run time", "--run-time", "1s")
    check(run, small_run[1])
    manifest = read_manifest(run)
    assert (manifest["status"], manifest["reason"]) == (
        "aborted",
        "signal: stopped before the end of the timeline",
    ), out
