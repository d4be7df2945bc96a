"""Which requests a fault hits while it is set."""

from pathlib import Path

import pytest

from tests.embedded.engine import QUICK, Running, chat, next_token, running
from tests.embedded.faults import PATH, P, control, entry_of, fault, put, send_request


@pytest.mark.parametrize("name", ["cut", "stall", "malformed_chunk", "content_filter"])
def test_an_answer_shorter_than_after_tokens_is_not_affected(vllm: Running, name: str) -> None:
    with fault(vllm, name, after_tokens=6):
        entry = entry_of(vllm, send_request(vllm, tokens=5).nonce)
    assert (entry.how, entry.fault, entry.written_tokens) == ("length", None, 5)


def test_a_plain_answer_has_no_done_to_omit(vllm: Running) -> None:
    with fault(vllm, "no_done"):
        entry = entry_of(vllm, send_request(vllm, P).nonce)
    assert (entry.how, entry.fault, entry.written_tokens) == ("length", None, 5)


def test_the_500_comes_once_and_the_fault_stays_set_as_used_up(vllm: Running) -> None:
    with fault(vllm, "error_500_once") as active:
        assert active["used_up"] is False
        assert [send_request(vllm).status for _ in range(3)] == [500, 200, 200]
        assert control(vllm, "GET")[1]["fault"] == active | {"used_up": True}
        # Set again, as after a lost answer: it is not reset.
        assert put(vllm, "error_500_once")["used_up"] is True
        assert send_request(vllm).status == 200


def test_an_answer_begun_before_a_fault_was_set_or_ending_after_it_is_whole(vllm: Running) -> None:
    response = vllm.request(PATH, chat("req-early-1", stream=True, max_tokens=900))
    next_token(response)
    with fault(vllm, "cut", after_tokens=800):
        assert b"[DONE]" in response.read()
    assert entry_of(vllm, "req-early-1").fault is None
    with fault(vllm, "cut", after_tokens=800):
        response = vllm.request(PATH, chat("req-late-1", stream=True, max_tokens=900))
        next_token(response)
    assert b"[DONE]" in response.read()
    assert entry_of(vllm, "req-late-1").fault is None


def test_a_share_of_requests_is_hit_and_the_same_in_every_run_of_a_seed(tmp_path: Path) -> None:
    hit: list[set[int]] = []
    for seed in ("7", "7", "8"):
        with (
            running("vllm", tmp_path, *QUICK, "--seed", seed) as engine,
            fault(engine, "rate_limit", share=0.4),
        ):
            hit.append(
                {n for n in range(60) if engine.request(PATH, chat(f"req-s-{n}", max_tokens=1)).status == 429}
            )
            if len(hit) == 1:
                # A repeated request gets the same draw.
                again = {n for n in hit[0] if engine.request(PATH, chat(f"req-s-{n}")).status == 429}
                assert again == hit[0]
    assert hit[0] == hit[1] != hit[2]
    assert 10 < len(hit[0]) < 40  # expected: 24
