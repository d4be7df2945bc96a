"""The effects of a real llama.cpp's behaviour on clients of a real LiteLLM, and which settings help.

The rows of docs/llamacpp.md, as directions: which tier answers, how an answer ends, and which of two takes longer.
"""

from statistics import median

import pytest

from benchmarks.llamacpp import (
    AT_ONCE,
    BUSY,
    CONTEXT_FALLBACKS,
    LONG_PROMPT,
    SHORT_S,
    SLOTS,
    STREAMS,
    TERMINATED,
    Behind,
    busy,
    long_prompt,
    terminated,
)

pytestmark = [pytest.mark.verify, pytest.mark.timeout(600)]  # it measures silences of half a minute


@pytest.fixture(scope="module")
def behind(tmp_path_factory):
    with Behind(tmp_path_factory.mktemp("behind"), [*TERMINATED, *BUSY, *LONG_PROMPT]) as found:
        yield found


@pytest.mark.shows("llamacpp", "python -m benchmarks.llamacpp terminated", on="real engine + real LiteLLM")
def test_terminated_in_mid_stream_it_is_silent_for_half_a_minute_and_each_setting_shortens_that(behind):
    usual, *helped = TERMINATED
    first = terminated(behind, usual)
    for _ in range(3):  # now and then it sees at once that it has gone
        if first.silent_s < 25:
            first = terminated(behind, usual)
    others = [terminated(behind, case) for case in helped]
    for found in (first, *others):
        assert found.outcomes == {
            "cut": STREAMS
        }  # with every setting: no fallback restores a stream that has begun
    assert first.silent_s > 25
    for found in others:
        assert found.silent_s < first.silent_s / 2


@pytest.mark.shows("llamacpp", "python -m benchmarks.llamacpp busy", on="real engine + real LiteLLM")
def test_a_queue_before_its_slots_is_taken_for_an_outage_where_the_timeout_is_shorter(behind):
    patient, impatient, streamed, wide, bounded = (busy(behind, case) for case in BUSY)
    # Requests wait for a slot, and it answers all of them.
    assert (patient.tiers, patient.afterwards) == ({"llama.cpp": AT_ONCE}, "llama.cpp")
    assert patient.ttft_s[0] > SHORT_S
    # Requests that waited too long go to the next tier, and so does the next request, with all slots free.
    for short in (impatient, streamed):
        assert (short.tiers, short.afterwards) == ({"next": AT_ONCE}, "next")
        assert short.ttft_s[0] > SHORT_S
    # With a slot for each no request waits.
    assert (wide.tiers, wide.afterwards) == ({"llama.cpp": AT_ONCE}, "llama.cpp")
    assert wide.ttft_s[-1] < patient.ttft_s[0]
    # The gateway passes as many as there are slots, refuses the others at once, and cools nothing.
    assert (bounded.tiers, bounded.afterwards) == ({"llama.cpp": SLOTS, "next": AT_ONCE - SLOTS}, "llama.cpp")
    assert median(bounded.ttft_s) < patient.ttft_s[0]
    for found in (patient, impatient, streamed, wide, bounded):
        assert found.outcomes == {"ok": AT_ONCE}


@pytest.mark.shows("llamacpp", "python -m benchmarks.llamacpp long_prompt", on="real engine + real LiteLLM")
def test_a_prompt_too_long_for_it_is_the_next_tiers_and_cools_nothing(behind):
    nothing, wide = (long_prompt(behind, case) for case in LONG_PROMPT)
    assert (nothing.tier, nothing.outcome, nothing.afterwards) == ("next", "ok", "llama.cpp")
    assert (wide.tier, wide.outcome, wide.afterwards) == ("llama.cpp", "ok", "llama.cpp")


@pytest.mark.shows(
    "llamacpp", "python -m benchmarks.llamacpp context_fallbacks", on="real engine + real LiteLLM"
)
def test_where_one_group_has_a_place_for_what_is_too_long_the_others_are_rejected(tmp_path):
    with Behind(tmp_path, CONTEXT_FALLBACKS) as behind:
        named, others = (long_prompt(behind, case) for case in CONTEXT_FALLBACKS)
    assert (named.tier, named.outcome, named.afterwards) == ("roomy", "ok", "llama.cpp")
    assert (others.tier, others.outcome, others.afterwards) == ("none", "rejected", "llama.cpp")
