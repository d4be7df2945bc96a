"""Real Locust runs: every request has one record and one Locust event, also if the run is stopped in mid-stream."""

import json
from collections import Counter, defaultdict

import pytest

from tests.contract.exchanges import WHOLE, chunked, head, plain, token
from tests.forked import run
from tests.scenarios.server import HANG, Server
from tests.scenarios.user_contexts import CAP, DIRECT_CAP

SERVED = head("200 OK", "transfer-encoding: chunked", "x-litellm-model-group: b")
GOOD = SERVED + chunked(*WHOLE)
BEGUN = SERVED + chunked(token(), last=False)


def run_locust(
    gateway: Server, vllm: Server | None = None, *, run_s=1.0, stop_timeout=None, left_s=None, arrivals=None,
    max_in_flight=1000, held_up_s=0.0, patient=False, **users,
):  # fmt: skip
    given = {
        "gateway": gateway.url, "vllm": vllm.url if vllm else None, "users": users, "run_s": run_s,
        "stop_timeout": stop_timeout, "overhead_left_s": left_s, "arrivals": arrivals, "max_in_flight": max_in_flight,
        "held_up_s": held_up_s, "patient": patient,
    }  # fmt: skip
    done = run("tests.scenarios.locust_process", input=json.dumps(given))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def _prompts(server: Server) -> list[str]:
    """Without their nonces."""
    bodies = [json.loads(r.partition(b"\r\n\r\n")[2]) for r in server.requests]
    return [b["messages"][0]["content"].partition(" ")[2] for b in bodies]


def _name(record: dict) -> str:
    return "vllm direct" if record["via"] == "vllm" else f"gateway → {record['tier'] or '–'}"


@pytest.fixture(scope="module")
def stopped():
    with Server([BEGUN, HANG]) as gateway:
        return run_locust(gateway, run_s=1.5, patient=True, chat=6), len(gateway.requests)


def test_a_run_stopped_in_mid_stream_has_exactly_one_record_per_request(stopped):
    run, count = stopped
    assert count == 6
    ids = [r["request_id"] for r in run["records"]]
    assert len(ids) == len(set(ids)) == count
    assert run["in_flight"] == 0
    assert {r["outcome"] for r in run["records"]} == {"abandoned"}
    assert all(r["ttft_ms"] is not None for r in run["records"] if r["stream"])


def test_a_stopped_request_is_reported_to_locust_once(stopped):
    run, count = stopped
    reported = [t for t in run["reported"] if t["type"] == "chat"]
    assert len(reported) == count
    assert {t["error"] for t in reported} == {"abandoned: stopped"}
    assert run["stats"] == len(run["reported"])
    assert run["failures"] == count


@pytest.fixture(scope="module")
def well():
    with Server([0.02, GOOD]) as gateway, Server([GOOD]) as vllm:
        run = run_locust(gateway, vllm, run_s=1.2, stop_timeout=5, patient=True, chat=2, direct=1, overhead=1)
        return run, gateway, vllm


def test_a_stop_that_waits_abandons_nothing(well):
    run, *_ = well
    assert {r["outcome"] for r in run["records"]} == {"ok"}
    assert run["failures"] == 0


def test_every_request_is_reported_once_by_scenario_and_tier(well):
    run, gateway, vllm = well
    records = run["records"]
    assert len(records) == len(gateway.requests) + len(vllm.requests)
    reported = Counter((t["type"], t["name"]) for t in run["reported"])
    assert reported == Counter((r["scenario"], _name(r)) for r in records)
    assert {r["scenario"] for r in records} == {"chat", "direct", "overhead"}
    assert {name for _, name in reported} >= {"gateway → ollama", "vllm direct"}
    assert all(t["bytes"] > 0 for t in run["reported"])


def test_locusts_totals_count_requests_only(well):
    run, *_ = well
    records = run["records"]
    assert run["stats"] == len(records)
    assert run["mean_ms"] == pytest.approx(sum(r["latency_ms"] for r in records) / len(records))
    assert run["master"]["stats"] == len(records)


def test_failures_are_a_share_of_requests(stopped):
    run, count = stopped
    assert (run["failures"], run["stats"]) == (count, count)
    assert (run["master"]["failures"], run["master"]["stats"]) == (count, count)


@pytest.mark.parametrize("of", [lambda run: run, lambda run: run["master"]], ids=["alone", "master"])
def test_first_tokens_have_rows_of_their_own(well, of):
    run, *_ = well
    streams = Counter(_name(r) for r in run["records"] if r["stream"] and r["ttft_ms"] is not None)
    assert {name: count for kind, name, count in of(run)["rows"] if kind == "TTFT"} == streams


def test_chat_streams_most_and_direct_takes_turns(well):
    run, *_ = well
    assert {r["stream"] for r in run["records"] if r["scenario"] == "chat"} == {True, False}
    direct = [r["stream"] for r in run["records"] if r["scenario"] == "direct"]
    assert direct == [n % 2 == 0 for n in range(len(direct))]


def test_a_direct_request_has_its_tiers_cap_and_both_sides_of_a_pair_the_gateways(well):
    run, *_ = well
    caps = {(r["scenario"], r["via"]): r["max_tokens"] for r in run["records"]}
    assert caps == {
        ("chat", "gateway"): CAP, ("direct", "vllm"): DIRECT_CAP, ("overhead", "gateway"): CAP, ("overhead", "vllm"): CAP
    }  # fmt: skip


def test_a_pair_is_four_requests_in_turn_of_one_prompt_with_fresh_nonces(well):
    run, gateway, vllm = well
    pairs = defaultdict(list)
    for record in run["records"]:
        if record["lane"] == "overhead":
            pairs[record["pair"]].append(record)
    assert len(pairs) >= 3
    orders = {tuple("A" if r["via"] == "gateway" else "B" for r in requests) for requests in pairs.values()}
    assert orders <= {tuple("ABBA"), tuple("BAAB")}
    texts = defaultdict(list)
    for request in gateway.requests + vllm.requests:
        content = json.loads(request.partition(b"\r\n\r\n")[2])["messages"][0]["content"]
        nonce, _, text = content.partition(" ")
        texts[nonce].append(text)
    assert all(len(found) == 1 for found in texts.values())
    for requests in pairs.values():
        assert len({texts[r["request_id"]][0] for r in requests}) == 1


def test_users_keep_their_connections(well):
    _, gateway, vllm = well
    assert (len(gateway.connections), len(vllm.connections)) == (3, 2)


def test_no_pair_begins_when_too_little_time_is_left_and_its_user_stays():
    with Server([GOOD]) as gateway, Server([GOOD]) as vllm:
        run = run_locust(gateway, vllm, run_s=0.5, left_s=2.0, overhead=1)
        assert run["records"] == []
        assert run["users"] == 1


def test_a_run_repeats_its_prompts():
    seen = []
    for _ in range(2):
        with Server([GOOD]) as gateway:
            run_locust(gateway, run_s=0.5, chat=1)
            seen.append(_prompts(gateway)[:4])
    assert seen[0] == seen[1]
    assert len(set(seen[0])) == 4


def test_failures_are_reported_with_their_outcome():
    with Server([plain({"error": "no"}, "503 No")]) as gateway:
        run = run_locust(gateway, run_s=0.3, chat=1)
    reported = {(t["type"], t["name"], t["error"]) for t in run["reported"]}
    assert reported - {("chat", "gateway → –", "abandoned: stopped")} == {
        ("chat", "gateway → –", "rejected: 503")
    }
