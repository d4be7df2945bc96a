"""Our counts against other programs' counts: true and falsified counters are recognised."""

import json
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from analysis import frames, judge
from analysis.__main__ import main
from analysis.evidence import Evidence
from analysis.judging.reconciliation import Row, reconciled, rows, section
from analysis.metrics.ledger import Entry, contradiction
from contract.counters import (
    AFTER,
    BEFORE,
    BORN_AT,
    LLAMACPP_TOKENS,
    VLLM_ANSWERS,
    Scrape,
)
from contract.records import GATEWAY, Outcome, RequestRecord
from contract.run import JsonLines
from tests.analysis.reports import pictures
from tests.synthetic import Made, make
from tests.synthetic_world import START, Hole

HOLE = Hole("gone", "vllm", at=30, length=20, restore_s=2)
TRUE = 7.0  # what was counted before the load


def counter(name: str, value: float, **labels: str) -> dict[str, Any]:
    return {"name": name, "labels": labels, "value": value}


def served(made: Made, tier: str) -> list[RequestRecord]:
    return [a for a in made.requests if a.tier == tier]


def true_counts(made: Made, source: str) -> list[dict[str, Any]]:
    """The true counts of a source over the run."""
    if source == GATEWAY:
        ends = [a.tier for a in made.requests if a.via == GATEWAY and a.finish_reason]
        return [
            counter("litellm_deployment_success_responses_total", ends.count(t), model_group=t)
            for t in ("vllm", "ollama", "openai")
        ]
    if source == "ollama":
        return [counter(LLAMACPP_TOKENS, sum(a.output_tokens or 0 for a in served(made, "ollama")))]
    good = sum(a.outcome == Outcome.OK for a in served(made, "vllm"))
    return [
        counter(VLLM_ANSWERS, good, finished_reason="length"),
        counter(VLLM_ANSWERS, 3, finished_reason="abort"),
    ]


def scraped(made: Made, lie: Callable[[Scrape], None] = lambda scrape: None) -> None:
    """counters.jsonl with the true counts; `lie` may change each line."""
    lines = JsonLines(made.path / "counters.jsonl")
    for when in (BEFORE, AFTER):
        for source in (GATEWAY, "vllm", "ollama"):
            found = Scrape(START, when, source, "http://127.0.0.1:1/metrics", true_counts(made, source))
            for one in found.counters:
                one["value"] = TRUE + (one["value"] if when == AFTER else 0)
            found.counters.append(counter(BORN_AT, 1.0))
            lie(found)
            lines.append(found)
    lines.close()


def row(made: Made, tier: str, source: str) -> Row:
    run = Evidence(frames.read(made.path))
    return next(r for r in rows(run) if (r.tier, r.source) == (tier, source))


@pytest.fixture
def made(tmp_path):
    return make(tmp_path, [HOLE], duration_s=70)


def after(source: str, change: Callable[[Scrape], None]) -> Callable[[Scrape], None]:
    return lambda scrape: change(scrape) if (scrape.source, scrape.when) == (source, AFTER) else None


def add(value: float) -> Callable[[Scrape], None]:
    def change(scrape: Scrape) -> None:
        scrape.counters[0]["value"] += value

    return change


def test_true_counters_agree(made):
    scraped(made)
    for tier in ("vllm", "ollama", "openai"):
        found = row(made, tier, GATEWAY)
        assert (found.judgement, found.theirs) == (
            "agrees",
            sum(a.via == GATEWAY and a.finish_reason is not None for a in served(made, tier)),
        )
        assert found.theirs is not None
        assert found.theirs > 0 or tier == "openai"
    vllm, ollama = row(made, "vllm", "engine"), row(made, "ollama", "engine")
    assert (vllm.judgement, vllm.unit) == ("agrees", "answers")
    assert (ollama.judgement, ollama.unit) == ("agrees", "tokens")
    assert vllm.theirs == sum(a.outcome == Outcome.OK for a in served(made, "vllm"))


def test_one_answer_more_and_one_fewer_are_distinguished_and_reported(made):
    scraped(made, after(GATEWAY, add(1000)))
    found = row(made, "vllm", GATEWAY)
    assert found.judgement == "more"
    assert "other clients" in found.why
    (made.path / "counters.jsonl").unlink()
    scraped(made, after(GATEWAY, add(-1)))
    found = row(made, "vllm", GATEWAY)
    assert (found.judgement, found.theirs) == ("FEWER", (found.ours or 0) - 1)
    assert "1 fewer than recorded: the records are wrong" in found.why
    assert row(made, "ollama", GATEWAY).judgement == "agrees"
    text = "\n".join(section(Evidence(frames.read(made.path))))
    assert "| vllm | gateway | " in text
    assert "FEWER: 1 fewer than recorded" in text


@pytest.mark.parametrize(
    ("source", "lie", "why"),
    [
        (GATEWAY, lambda s: s.counters[-1].update(value=2.0), "its process was restarted"),
        (GATEWAY, lambda s: s.counters[0].update(value=1.0), "a counter decreased"),
        (GATEWAY, lambda s: s.counters.clear(), "it has no counter litellm_deployment"),
        (GATEWAY, lambda s: setattr(s, "error", "HTTPError: 401"), "could not be read after the load: HTTPError: 401"),
        (GATEWAY, lambda s: setattr(s, "when", "never"), "were not read after the load"),
        ("vllm", lambda s: s.counters[-1].update(value=2.0), "its process was restarted"),
        ("ollama", lambda s: s.counters.clear(), "it has no counter"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_unknown_and_why(made, source, lie, why):
    scraped(made, after(source, lie))
    found = row(made, "vllm" if source == GATEWAY else source, "engine" if source != GATEWAY else GATEWAY)
    assert (found.judgement, found.theirs) == ("unknown", None)
    assert why in found.why


def test_an_engine_that_was_taken_away_and_reports_no_start_is_unknown(made):
    scraped(made, lambda scrape: scrape.counters.pop() and None)
    assert row(made, "vllm", "engine").why == "gone #1 stopped it, and its counters may have been reset"
    assert row(made, "ollama", "engine").judgement == "agrees"
    assert row(made, "vllm", GATEWAY).judgement == "agrees"


def test_a_run_without_counters_says_so(made):
    assert row(made, "vllm", GATEWAY).why == "its counters were not read before the load"
    assert not any(r.source == "ledger" for r in rows(Evidence(frames.read(made.path))))


def test_requests_without_a_seen_end_may_be_in_the_gateways_count(tmp_path):
    lost = RequestRecord(
        "req-9-1", "chat", "load", GATEWAY, True, START + 5, START + 5, Outcome.ABANDONED, 200, tier="vllm"
    )
    unended = RequestRecord("req-9-2", "chat", "load", GATEWAY, True, START + 5, START + 5, Outcome.TIMEOUT)
    made = make(tmp_path, duration_s=20, extra=[lost, unended])
    for more, judgement in ((0, "agrees"), (2, "agrees"), (3, "more"), (-1, "FEWER")):
        (made.path / "counters.jsonl").unlink(missing_ok=True)
        scraped(made, after(GATEWAY, add(more)))
        found = row(made, "vllm", GATEWAY)
        assert found.judgement == judgement
        assert found.at_most == (found.ours or 0) + 2


def ledgers(
    made: Made,
    change: Callable[[RequestRecord, dict[str, Any]], dict[str, Any] | None] = lambda record, end: end,
) -> None:
    """The ledgers of the engines; `change` may give an entry another end, or remove it (no such request)."""
    folder = made.path / "ledger"
    folder.mkdir(exist_ok=True)
    for tier in ("vllm", "ollama", "openai"):
        lines = JsonLines(folder / f"{tier}.jsonl")
        for record in served(made, tier):
            assert record.sent_at is not None
            assert record.ttft_ms is not None
            how = "length" if record.outcome == Outcome.OK else "abort"
            first_at = record.sent_at + record.ttft_ms / 1000 - 0.01
            end = change(record, {"how": how, "first_byte_at": first_at})
            if end is not None:
                lines.append(
                    {
                        "line": "arrived",
                        "id": record.request_id,
                        "nonce": record.request_id,
                        "arrived_at": record.sent_at + 0.01,
                    }
                )
                lines.append({"line": "ended", "id": record.request_id, **end})
        lines.close()


def found_in(made: Made) -> Any:
    return reconciled(Evidence(frames.read(made.path)))


def test_a_ledger_that_agrees_passes(made, capsys):
    ledgers(made)
    finding = found_in(made)
    assert (finding.status, finding.value) == ("pass", 0.0)
    assert finding.n == sum(a.tier is not None for a in made.requests)
    with pictures():
        assert main(["report", str(made.path)]) == 5  # the timeline has no expectation
    assert "pass     reconciled" in capsys.readouterr().out
    table = pd.read_csv(made.path / "report" / "reconciliation.csv").set_index(["tier", "source"])
    assert set(table.loc[(slice(None), "ledger"), "judgement"]) == {"agrees"}


def one_ok(made: Made) -> str:
    return next(a.request_id for a in made.requests if a.outcome == Outcome.OK and a.tier == "vllm")


@pytest.mark.parametrize(
    ("end", "words"),
    [
        (None, "recorded as answered by vllm; no tier got the request"),
        ({"how": "abort", "first_byte_at": 1.0}, "recorded as ok; the ledger of vllm has abort"),
        ({"how": None, "first_byte_at": 1.0}, "recorded as ok; the ledger of vllm has no end"),
        ({"how": "stop", "first_byte_at": 1.0}, "recorded as ok; the ledger of vllm has stop"),
    ],
)
def test_a_ledger_that_contradicts_one_record_fails_the_run(made, end, words):
    name = one_ok(made)
    ledgers(made, lambda record, true: end if record.request_id == name else true)
    run = Evidence(frames.read(made.path))
    finding = reconciled(run)
    assert (finding.status, finding.value, finding.evidence) == ("fail", 1.0, f"{name}: {words}")
    assert judge.judge(run).exit_code == 1
    assert next(r for r in rows(run) if (r.tier, r.source) == ("vllm", "ledger")).judgement == "CONTRADICTS"


def test_a_request_in_a_ledger_without_a_record_fails_a_closed_run(tmp_path):
    for closed, status in (("finished", "pass"), ("finished", "fail"), (None, "pass")):
        record = RequestRecord("req-77ab-000001", "chat", "load", GATEWAY, True, START + 5, START + 5)
        made = make(tmp_path, duration_s=20, extra=[record], status=closed)
        ledgers(made)
        of_ours = (
            "req-77ab-000002" if status == "fail" or closed is None else "req-0123456789ab"
        )  # chaos's own
        with open(made.path / "ledger" / "vllm.jsonl", "a") as f:
            f.write(json.dumps({"line": "arrived", "id": "x", "nonce": of_ours, "arrived_at": START}) + "\n")
        finding = found_in(made)
        assert finding.status == status
        assert ("req-77ab-000002 has no record" in finding.evidence) == (status == "fail")


@pytest.mark.parametrize(
    ("entries", "outcome", "witness", "wrong"),
    [
        ([Entry("a", "n", 1.0, 1.2, "length")], "ok", "end", None),
        ([Entry("a", "n", 1.0, 1.2, "stop")], "ok", "none", None),
        ([Entry("a", "n", 1.0, 1.2, None, "length")], "ok", "end", None),  # killed after its last bytes
        ([Entry("a", "n", 1.0, 1.2, None, "stop")], "ok", "end", "recorded as ok; the ledger of a has no end"),
        ([Entry("a", "n", 1.0, 1.2, "length")], "cut", None, None),  # cut on its way
        ([Entry("a", "n", 1.0, 1.2, None)], "cut", None, None),
        ([Entry("b", "n", 1.0, 1.2, "length")], "cut", None, "recorded as answered by a; b got the request"),
        # A failed attempt before: b failed, then a answered.
        ([Entry("b", "n", 0.5, None, "gone"), Entry("a", "n", 1.0, 1.2, "length")], "ok", "end", None),
        # a got two requests and failed once.
        ([Entry("a", "n", 0.5, None, "reset"), Entry("a", "n", 1.0, 1.2, "length")], "ok", "usage", None),
        # Frozen and thawed: b reads what was given up before.
        ([Entry("a", "n", 1.0, 1.2, "length"), Entry("b", "n", 1.1, None, "gone")], "ok", "end", None),
        ([Entry("a", "n", 1.0, 1.2, "length"), Entry("b", "n", 1.1, 1.5, "length")], "ok", "end", None),
        (
            [Entry("a", "n", 1.0, 1.2, "length"), Entry("b", "n", 1.1, 1.25, "length")], "ok", "end",
            "recorded as answered by a; b got the request after it and answered first",
        ),
    ],
)  # fmt: skip
def test_what_contradicts_an_answer_by_a_whose_first_token_came_at_1_3(entries, outcome, witness, wrong):
    assert contradiction(entries, "a", outcome, witness, 1.3) == wrong
