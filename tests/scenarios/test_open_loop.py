"""The open loop sends requests on schedule during a hang, sends overdue ones late, and counts dropped ones."""

import itertools
import json
import threading
import time

import pytest

from scenarios.gateway.arrivals import open_or_closed
from tests.contract.exchanges import WHOLE, chunked, head
from tests.scenarios.server import HANG, Server
from tests.scenarios.test_locust_run import run_locust

GOOD = head("200 OK", "transfer-encoding: chunked", "x-litellm-model-group: b") + chunked(*WHOLE)
HANG_S = 3.0
SLACK_S = 0.5  # two clocks, and threads that are scheduled late


class Hanging:
    """A server that answers nothing for HANG_S, once it has answered `after` requests."""

    def __init__(self, after: int) -> None:
        self._gate, self._after = threading.Event(), after
        self._gate.set()
        self.server = Server([self._gate, GOOD])
        self.hung_at = self.back_at = 0.0

    def __enter__(self) -> "Hanging":
        self.server.__enter__()
        threading.Thread(target=self._hang, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.__exit__()

    def _hang(self) -> None:
        while len(self.server.requests) < self._after:
            time.sleep(0.01)
        self._gate.clear()
        self.hung_at = time.time()
        time.sleep(HANG_S)
        self.back_at = time.time()
        self._gate.set()


def _in_hang(run: dict, hanging: Hanging) -> list[dict]:
    return [
        r for r in run["records"]
        if hanging.hung_at + SLACK_S < r["scheduled_at"] < hanging.back_at - SLACK_S
    ]  # fmt: skip


def test_during_a_hang_an_open_loop_sends_requests_and_their_latency_from_schedule_shows_it():
    with Hanging(after=10) as hanging:
        run = run_locust(
            hanging.server,
            run_s=HANG_S + 2.5,
            stop_timeout=20,
            patient=True,
            arrivals="constant:20/s",
            chat=1,
        )
    due = _in_hang(run, hanging)
    lasted_s = hanging.back_at - hanging.hung_at  # a busy machine sleeps longer than requested
    assert len(due) == pytest.approx((lasted_s - 2 * SLACK_S) * 20, abs=2)
    scheduled = sorted(r["scheduled_at"] for r in run["records"])
    assert [b - a for a, b in itertools.pairwise(scheduled)] == pytest.approx(
        [0.05] * (len(scheduled) - 1), abs=1e-4
    )
    for r in due:
        seen_s = r["sent_at"] + r["latency_ms"] / 1000 - r["scheduled_at"]
        assert seen_s > hanging.back_at - r["scheduled_at"] - SLACK_S
    assert {r["outcome"] for r in run["records"]} == {"ok"}
    assert run["scheduled"] == run["sent"] == len(run["records"])
    assert run["dropped"] == 0


def test_during_a_hang_a_closed_loop_sends_no_requests():
    with Hanging(after=10) as hanging:
        run = run_locust(hanging.server, run_s=HANG_S + 2.5, stop_timeout=20, patient=True, chat=2)
    assert len(_in_hang(run, hanging)) == 0
    assert run["scheduled"] == run["sent"] == len(run["records"])


def test_arrivals_due_while_the_loop_was_stalled_are_sent_late_with_their_scheduled_times():
    with Server([GOOD]) as server:
        run = run_locust(server, run_s=1.0, held_up_s=0.6, stop_timeout=5, arrivals="constant:50/s", chat=1)
    scheduled = sorted(r["scheduled_at"] for r in run["records"])
    assert len(scheduled) >= 75
    assert [b - a for a, b in itertools.pairwise(scheduled)] == pytest.approx(
        [0.02] * (len(scheduled) - 1), abs=1e-4
    )
    late_s = [r["sent_at"] - r["scheduled_at"] for r in run["records"]]
    assert min(late_s) >= 0
    assert max(late_s) > 0.4
    assert sum(s > 0.1 for s in late_s) >= 20


def test_an_arrival_over_the_cap_sends_no_request_and_is_counted():
    with Server([HANG]) as server:
        run = run_locust(server, run_s=1.0, arrivals="constant:50/s", max_in_flight=5, patient=True, chat=1)
    assert run["sent"] == len(run["records"]) == 5
    assert {r["outcome"] for r in run["records"]} == {"abandoned"}
    assert run["scheduled"] > 20
    assert run["scheduled"] == run["sent"] + run["dropped"]
    assert run["in_flight"] == 0


def test_an_idle_connection_is_taken_and_another_made_where_none_is_idle():
    with Server([0.3, GOOD]) as server:
        run = run_locust(server, run_s=2.0, stop_timeout=5, arrivals="constant:20/s", chat=1)
    assert len(run["records"]) > 30
    assert 6 <= len(server.connections) < 20  # six are under way at a time; on a busy machine a few more


def _prompts(server: Server) -> list[tuple[str, bool]]:
    """Prompts, and whether streamed, in the order of their nonces: two that arrive together may be served either first."""
    bodies = [json.loads(r.partition(b"\r\n\r\n")[2]) for r in server.requests]
    prompts = sorted((b["messages"][0]["content"].partition(" "), b["stream"]) for b in bodies)
    return [(text, streamed) for (_, _, text), streamed in prompts]


def test_a_run_repeats_its_requests_in_order():
    seen = []
    for _ in range(2):
        with Server([GOOD]) as server:
            run_locust(server, run_s=1.0, arrivals="poisson:10/s", stop_timeout=5, chat=1)
            seen.append(_prompts(server)[:4])
    assert seen[0] == seen[1]
    assert len(set(seen[0])) == 4


def test_a_replay_sends_requests_with_the_lengths_of_its_trace(tmp_path):
    trace = tmp_path / "trace.csv"
    trace.write_text("0,60,3\n0.2,400,7\n")
    with Server([GOOD]) as server:
        run = run_locust(server, run_s=1.0, arrivals=f"replay:{trace}", stop_timeout=5, chat=1)
    assert [r["max_tokens"] for r in run["records"]] == [3, 7]
    short, long = (len(text.split()) for text, _ in _prompts(server))
    assert 40 < short < 65
    assert 300 < long < 405


def test_observers_stay_closed_beside_an_open_loop():
    with Server([GOOD]) as gateway, Server([GOOD]) as vllm:
        run = run_locust(
            gateway, vllm, run_s=1.5, stop_timeout=5, arrivals="constant:10/s", chat=1, direct=1, overhead=1
        )
    by = {s: [r for r in run["records"] if r["scenario"] == s] for s in ("chat", "direct", "overhead")}
    assert all(by.values())
    assert [
        b["scheduled_at"] - a["scheduled_at"] for a, b in itertools.pairwise(by["chat"])
    ] == pytest.approx([0.1] * (len(by["chat"]) - 1), abs=1e-4)
    assert run["scheduled"] == run["sent"] == len(run["records"])


def test_an_observer_alone_is_opened():
    with Server([GOOD]) as gateway, Server([GOOD]) as vllm:
        run = run_locust(gateway, vllm, run_s=1.0, stop_timeout=5, arrivals="constant:20/s", direct=1)
    assert {r["scenario"] for r in run["records"]} == {"direct"}
    streamed = [r["stream"] for r in sorted(run["records"], key=lambda r: r["scheduled_at"])]
    assert streamed == [n % 2 == 0 for n in range(len(streamed))]
    assert not gateway.requests


class _Load:
    fixed_count = 0


class _Observer:
    fixed_count = 1


@pytest.mark.parametrize(
    ("chosen", "opened", "closed"),
    [
        ([_Load], [_Load], []),
        ([_Load, _Observer], [_Load], [_Observer]),
        ([_Observer], [_Observer], []),
    ],
)
def test_which_users_the_arrivals_replace(chosen, opened, closed):
    assert open_or_closed(chosen) == (opened, closed)
