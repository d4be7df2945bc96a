"""A worker with both clocks of another host: its records have the master's time, and are right."""

import subprocess
import time

import pytest

from analysis import frames
from contract.records import Offset
from contract.run import read_arrow, read_lines
from contract.schemas import REQUESTS
from tests.scenarios.server import Server
from tests.whole.small_run import GOOD, SmallRun
from tests.whole.stack import latest

# A time namespace gives the worker its own monotonic clock, as on another machine.
ELSEWHERE = ("unshare", "--time", "--monotonic", "100000", "--fork", "--kill-child")
AHEAD_S = 7.0
AHEAD = f"import time\nreal = time.time\ntime.time = lambda: real() + {AHEAD_S}\n"


class Arrivals(list):
    """Requests, and when each came (Unix, s, by the clock of this machine)."""

    def __init__(self) -> None:
        self.at: dict[bytes, float] = {}

    def append(self, request: bytes) -> None:
        self.at[request] = time.time()
        super().append(request)


def _denied() -> str | None:
    try:
        done = subprocess.run([*ELSEWHERE, "true"], capture_output=True, text=True)
    except FileNotFoundError:
        return "there is no unshare"
    return done.stderr.strip() if done.returncode else None


@pytest.mark.verify
def test_requests_of_another_host_are_recorded_in_the_masters_time(tmp_path, monkeypatch):
    if why := _denied():
        pytest.skip(f"no time namespace can be made here: {why}")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    host = tmp_path / "host"
    host.mkdir()
    (host / "sitecustomize.py").write_text(AHEAD)
    with Server([0.05, GOOD]) as gateway:
        gateway.requests = arrivals = Arrivals()
        small_run = SmallRun(tmp_path, gateway)
        try:
            small_run.worker(within=ELSEWHERE, env={"PYTHONPATH": str(host)})
            out, _ = (master := small_run.master("--master", "--expect-workers", "1")).communicate(timeout=90)
        finally:
            small_run.end()
    print(out)
    assert master.returncode == 0, out
    run = latest(small_run.results)
    offsets = read_lines(run / "clocks.jsonl", Offset)[0]
    assert all(abs(o["offset_s"] - AHEAD_S) <= o["uncertainty_s"] for o in offsets[1:])
    assert all(o["uncertainty_s"] > 0 for o in offsets), "no two hosts read one monotonic clock"
    raw = {r["request_id"]: r["sent_at"] for r in read_arrow(run / "requests.arrow", REQUESTS)[0].to_pylist()}
    requests = frames.read(run).requests
    requests = requests[(requests["lane"] == "load") & requests["good"]]
    came = {name: at for request, at in arrivals.at.items() for name in raw if name.encode() in request}
    assert len(requests) > 60
    for record in requests.to_dict("records"):
        at, give_s = came[record["request_id"]], record["clock_uncertainty_s"] + 0.001
        assert record["sent_at"] - give_s <= at <= record["ended_at"] + give_s
        assert raw[record["request_id"]] - at > AHEAD_S - 1
