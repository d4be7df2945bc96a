"""The pure parts of the engine: when a token is due, slots, request parsing, where an answer ends."""

import asyncio
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from contract.tokens import approximate
from embedded.engine.completion_request import (
    BadRequest,
    read_chat,
    read_completion,
    read_ollama_chat,
    read_ollama_generate,
)
from embedded.engine.options import duration_s, parse
from embedded.engine.pace import Pace, TokenClock
from embedded.engine.personalities import load
from embedded.engine.slots import Closed, Full, Slots

STEADY = Pace(0.5, 0.0, 0.1, 0.0, time_factor_under_load=3.0, max_num_seqs=5)


def due(pace: Pace, running: list[int], seed: int = 0) -> list[float]:
    clock = TokenClock(pace, Random(seed), 100.0)
    return [clock.next_due_s(now) for now in running]


@pytest.mark.parametrize(
    ("running", "expected"),
    [
        ([1, 1, 1], [100.5, 100.6, 100.7]),
        ([5, 5, 5], [101.5, 101.8, 102.1]),  # every slot taken: the full factor
        ([3, 3], [101.0, 101.2]),  # half-way
        ([1, 5, 1], [100.5, 100.8, 100.9]),  # the current load; past tokens do not change
        ([9], [101.5]),  # never more than the full factor
    ],
)
def test_each_token_is_due_after_the_one_before_was_due(running: list[int], expected: list[float]) -> None:
    assert due(STEADY, running) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("words", "running", "first_ms", "next_ms"),
    [(10, 1, 20.0, 6.7), (300, 1, 50.0, 6.7), (1500, 1, 190.0, 6.7), (10, 4, None, 7.7), (10, 8, None, 9.4), (10, 16, None, 12.0)],
)  # fmt: skip
def test_a_vllm_takes_longer_for_longer_prompts_and_more_sequences_as_was_measured(
    words: int, running: int, first_ms: float | None, next_ms: float
) -> None:
    line = [
        "--personality",
        "vllm",
        "--port",
        "1",
        "--time-to-first-token",
        "20ms",
        "--inter-token-latency",
        "6.7ms",
    ]
    line += ["--time-to-first-token-std-dev", "0ms", "--inter-token-latency-std-dev", "0ms"]
    pace = parse(line, {name: each.defaults for name, each in load().items()}, {}).pace
    clock = TokenClock(pace, Random(0), 0.0, prompt_tokens=approximate("tokens " * words))
    first_s, second_s = clock.next_due_s(running), clock.next_due_s(running)
    if first_ms is not None:
        assert first_s * 1000 == pytest.approx(first_ms, rel=0.1)
    assert (second_s - first_s) * 1000 == pytest.approx(next_ms, rel=0.06)


@pytest.mark.parametrize(
    ("argv", "factor", "prefill_s"),
    [
        (("vllm",), 14.515, 0.0057 * 0.108),
        (("vllm", "--max-num-seqs=4"), 1.159, 0.0057 * 0.108),
        (("vllm", "--time-factor-under-load=2", "--prefill-time-per-token=1ms"), 2.0, 0.001),
        (("ollama",), 1.5, 0.0),
        (("cloud",), 1.0, 0.0),
    ],
)
def test_the_slowdown_is_the_personalitys_unless_given(
    argv: tuple[str, ...], factor: float, prefill_s: float
) -> None:
    line = ["--port", "1", "--personality", *argv]
    pace = parse(line, {name: each.defaults for name, each in load().items()}, {}).pace
    assert (pace.time_factor_under_load, pace.prefill_time_per_token_s) == pytest.approx((factor, prefill_s))


def test_one_slot_is_not_slower_than_itself() -> None:
    assert due(replace(STEADY, max_num_seqs=1), [1]) == [100.5]


def test_no_token_is_due_before_the_one_that_it_follows_however_wide_the_deviation() -> None:
    wild = replace(STEADY, inter_token_latency_std_dev_s=5.0, time_to_first_token_std_dev_s=5.0)
    instants = due(wild, [1] * 500)
    assert instants == sorted(instants)
    assert instants[0] >= 100.0


def test_the_same_seed_gives_the_same_instants() -> None:
    wide = replace(STEADY, inter_token_latency_std_dev_s=0.02)
    assert due(wide, [1] * 9, seed=3) == due(wide, [1] * 9, seed=3) != due(wide, [1] * 9, seed=4)


@pytest.mark.parametrize(("name", "ten_tokens_s"), [("vllm", 0.275), ("ollama", 3.5), ("cloud", 5.55)])
def test_the_defaults_are_the_speeds_measured_on_the_real_chain(name: str, ten_tokens_s: float) -> None:
    each = load()[name].defaults
    total_s = duration_s(each.time_to_first_token) + 9 * duration_s(each.inter_token_latency)
    assert total_s == pytest.approx(ten_tokens_s, rel=0.01)


def test_slots_are_assigned_in_order_and_never_to_a_disconnected_client() -> None:
    async def play() -> list[str]:
        slots, served = Slots(1, 2), []

        async def one(name: str) -> None:
            async with slots.acquire():
                served.append(name)
                await asyncio.sleep(0)

        async with slots.acquire():
            second, third = asyncio.create_task(one("second")), asyncio.create_task(one("third"))
            await asyncio.sleep(0)
            assert (slots.running, slots.waiting) == (1, 2)
            with pytest.raises(Full):
                await one("fourth")
            second.cancel()
        await asyncio.gather(second, third, return_exceptions=True)
        assert (slots.running, slots.waiting) == (0, 0)
        return served

    assert asyncio.run(play()) == ["third"]


def test_a_slot_assigned_to_a_client_that_disconnects_at_once_is_passed_on() -> None:
    async def play() -> None:
        slots = Slots(1, None)

        async def one() -> None:
            async with slots.acquire():
                await asyncio.sleep(0)

        async with slots.acquire():
            second, third = asyncio.create_task(one()), asyncio.create_task(one())
            await asyncio.sleep(0)
        # The slot is assigned to the second, which has not run yet.
        second.cancel()
        await asyncio.wait_for(third, 5)
        assert slots.running == 0

    asyncio.run(play())


def test_when_the_engine_closes_waiting_requests_end_without_a_slot() -> None:
    async def play() -> None:
        slots = Slots(1, None)

        async def one() -> None:
            async with slots.acquire():
                raise AssertionError("had a slot")

        async with slots.acquire():
            waiting = asyncio.create_task(one())
            await asyncio.sleep(0)
            slots.close()
            with pytest.raises(Closed):
                await waiting
        assert slots.running == 0

    asyncio.run(play())


def messages(*texts: tuple[str, Any]) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": role, "content": text} for role, text in texts]}


@pytest.mark.parametrize(
    ("body", "nonce"),
    [
        (messages(("user", "req-3f9c01-00042 go")), "req-3f9c01-00042"),
        (messages(("system", "req-0-0"), ("user", "req-1-1 go on req-1-2")), "req-1-1"),
        (messages(("user", "req-1-1"), ("assistant", "x"), ("user", "req-1-2 go")), "req-1-2"),
        (messages(("user", [{"type": "text", "text": "req-1-3 go"}])), "req-1-3"),
        (messages(("user", "breq-1-1 areq-1 REQ-1")), None),
        (messages(("system", "req-0-0")), None),
    ],
)
def test_the_nonce_is_the_first_in_the_last_user_message(body: dict[str, Any], nonce: str | None) -> None:
    assert read_chat(body).nonce == nonce
    assert read_ollama_chat(body).nonce == nonce


@pytest.mark.parametrize(
    ("prompt", "nonce"),
    [
        ("req-1-1 bare", "req-1-1"),
        ("### System:\nreq-0-0\n\n### User:\nreq-1-1 go\n\n", "req-1-1"),
        ("### User:\nreq-1-1 go\n\n### Assistant:\nreq-1-9\n\n### User:\nreq-1-2 go\n\n", "req-1-2"),
    ],
)
def test_the_nonce_is_found_in_a_rendered_prompt(prompt: str, nonce: str) -> None:
    assert read_ollama_generate({"model": "m", "prompt": prompt}).nonce == nonce


@pytest.mark.parametrize(
    ("parameters", "natural", "expected"),
    [
        ({"max_tokens": 10}, None, (10, "length")),
        ({"max_tokens": 10}, 4, (4, "stop")),
        ({"max_tokens": 10}, 10, (10, "length")),  # the token that would end it does not fit
        ({"max_tokens": 10, "ignore_eos": True}, 4, (10, "length")),
        ({"max_completion_tokens": 7, "max_tokens": 10}, None, (7, "length")),
        ({}, None, (4096, "stop")),
        ({}, 4, (4, "stop")),
        ({"ignore_eos": True}, 4, (5000, "length")),  # only the context ends it
        ({"max_tokens": 9000}, None, (5000, "length")),
    ],
)
def test_an_answer_ends_at_the_cap_or_by_itself(
    parameters: dict[str, Any], natural: int | None, expected: tuple[int, str]
) -> None:
    assert read_chat(messages(("user", "x")) | parameters).end(natural, room=5000) == expected


@pytest.mark.parametrize(
    ("reader", "body", "words"),
    [
        (read_chat, {"messages": []}, "'messages' must be a list"),
        (read_chat, {"messages": ["x"]}, "a message must be an object"),
        (read_chat, messages(("user", 5)), "'content' must be a string"),
        (read_chat, messages(("user", "x")) | {"model": None}, "'model' must be a string"),
        (read_chat, messages(("user", "x")) | {"max_tokens": True}, "max_tokens must be at least 1"),
        (read_chat, messages(("user", "x")) | {"stream": "yes"}, "'stream' must be true or false"),
        (read_chat, messages(("user", "x")) | {"stream_options": 1}, "'stream_options' must be"),
        (read_completion, {"model": "m"}, "'prompt' must be a string"),
        (read_ollama_generate, {"model": "m", "prompt": 1}, "'prompt' must be a string"),
        (read_ollama_chat, messages(("user", "x")) | {"options": {"num_predict": "9"}}, "'num_predict' must"),
    ],
)
def test_an_invalid_body_gets_an_error_with_the_correct_form(
    reader: Any, body: dict[str, Any], words: str
) -> None:
    with pytest.raises(BadRequest, match=words):
        reader(body)
