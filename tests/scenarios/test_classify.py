"""Document classifiers: their requests, one document at a time, their retries, and their records."""

import json
from collections import Counter
from pathlib import Path

import pytest

from contract.document import read, right_answer
from contract.proper_end import object_closes
from tests.contract.exchanges import plain
from tests.scenarios.server import CLOSE, Server
from tests.scenarios.test_locust_run import run_locust

CORPUS = {document.id: document for document in read(Path(__file__).parents[2] / "scenarios" / "documents")}
ANSWER = json.dumps(right_answer(min(CORPUS.values(), key=lambda document: document.id)))


def answered(content: str, group: str = "a") -> bytes:
    body = plain({"choices": [{"message": {"content": content}, "finish_reason": "stop"}]})
    return body.replace(b"\r\n", f"\r\nx-litellm-model-group: {group}\r\n".encode(), 1)


def failed(status: str, *headers: str) -> bytes:
    return plain({"error": {"message": "no"}}, status).replace(
        b"\r\n", b"".join(b"\r\n" + header.encode() for header in headers) + b"\r\n", 1
    )


GOOD = answered(ANSWER)
SOON = "retry-after-ms: 10"


def bodies(server: Server) -> list[dict]:
    return [json.loads(request.partition(b"\r\n\r\n")[2]) for request in server.requests]


@pytest.fixture(scope="module")
def calm():
    with Server([0.05, GOOD]) as gateway:
        return run_locust(gateway, run_s=1.5, stop_timeout=5, classify=2)["records"], bodies(gateway)


def test_a_classifier_sends_the_requests_of_paperless_ai(calm):
    _, sent = calm
    for body in sent:
        assert [message["role"] for message in body["messages"]] == ["system", "user"]
        assert body == {"model": "a", "messages": body["messages"], "stream": False, "temperature": 0.3}
    (system,) = {body["messages"][0]["content"] for body in sent}
    assert object_closes(system) is True  # the requested shape
    texts = [body["messages"][1]["content"].partition(" ")[2] for body in sent]
    assert set(texts) <= {document.text[:50_000] for document in CORPUS.values()}


def test_all_instances_together_send_every_document_once_before_any_again(calm):
    records, _ = calm
    assert len(records) > 10
    sent = [r["document"] for r in sorted(records, key=lambda r: r["sent_at"])][: len(CORPUS)]
    assert len(set(sent)) == len(sent)


def test_an_instance_has_one_document_under_way(calm):
    records, _ = calm
    moves = [(r["sent_at"], 1) for r in records] + [
        (r["sent_at"] + r["latency_ms"] / 1000, -1) for r in records
    ]
    under_way = most = 0
    for _, step in sorted(moves):
        under_way += step
        most = max(most, under_way)
    assert most == 2


def test_a_record_has_the_document_and_the_quality_of_its_answer(calm):
    records, _ = calm
    first = min(CORPUS)
    for r in records:
        assert (r["outcome"], r["witness"], r["max_tokens"], r["attempt"], r["valid"]) == (
            "ok",
            "content",
            None,
            1,
            True,
        )
        if r["document"] == first:
            assert r["wrong"] == []
        assert r["document"] in CORPUS
    assert any(r["wrong"] for r in records)


TRIES = [
    # answers in turn; outcomes of the attempts for one document
    ([failed("503 No", SOON), failed("429 No", SOON), GOOD], ["rejected", "rejected", "ok"]),
    ([failed("500 No", SOON)] * 3 + [GOOD], ["rejected", "rejected", "rejected"]),
    ([failed("400 No"), GOOD], ["rejected"]),
    ([failed("408 No", SOON), answered("no JSON")], ["rejected", "ok"]),
    ([failed("409 No", SOON), answered('{"title": "x'), GOOD], ["rejected", "cut"]),
    ([failed("503 No", "x-should-retry: false"), GOOD], ["rejected"]),
    ([CLOSE, GOOD], ["broken", "ok"]),
]


@pytest.mark.parametrize(("scripts", "outcomes"), TRIES, ids=lambda value: None)
def test_each_retry_is_a_request_with_its_own_record(scripts, outcomes):
    with Server(*([script] for script in scripts)) as gateway:
        run = run_locust(gateway, run_s=1.0, stop_timeout=5, classify=1)
    records = sorted(run["records"], key=lambda r: r["sent_at"])
    mine, after = records[: len(outcomes)], records[len(outcomes)]
    assert len({r["document"] for r in mine}) == 1
    assert [(r["attempt"], r["outcome"]) for r in mine] == list(enumerate(outcomes, 1))
    assert len({r["request_id"] for r in records}) == len(records)
    assert all((r["valid"] is None) == (r["outcome"] != "ok") for r in mine)
    assert after["document"] != mine[0]["document"]  # it waits for its next turn


def test_a_classifier_has_deadlines_of_its_own():
    """The first-token deadline of the user context is half a second."""
    with Server([0.8, GOOD]) as gateway:
        run = run_locust(gateway, run_s=1.0, stop_timeout=5, classify=1)
    assert {r["outcome"] for r in run["records"]} == {"ok"}
    assert all(r["latency_ms"] > 700 for r in run["records"])


def test_documents_arrive_in_an_open_loop_too():
    with Server([0.02, GOOD]) as gateway:
        run = run_locust(gateway, run_s=1.0, stop_timeout=5, arrivals="constant:12/s", classify=1)
    sent = Counter(r["document"] for r in run["records"])
    assert len(sent) > 5
    assert max(sent.values()) == 1
