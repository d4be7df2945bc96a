"""When an answer last said something, which a ping is not."""

import pytest

from contract import stream
from contract.stream import LastOutput
from tests.contract.exchanges import ROLE, choice, event, finish, reasoned, token, usage

SAYS = [
    # bytes, whether something is said
    (token(), True),
    (reasoned("so"), True),
    (token("<think>"), True),
    (finish("stop"), True),
    (usage(3), True),
    (event({"error": "died"}), True),
    (event({"message": {"content": ""}, "done": True}), True),
    (choice(delta={"refusal": "no"}), True),
    (ROLE, False),
    (b": ping\n\n", False),
    (b"data: ping\n\n", False),
    (b"data: {}\n\n", False),
    (b"\n", False),
    (b"data: [DONE]\n\n", False),
    (event({"choices": [{"delta": {"content": ""}, "finish_reason": None}], "usage": None}), False),
    (
        event(
            {
                "choices": [],
                "prompt_filter_results": [{"content_filter_results": {"hate": {"filtered": False}}}],
            }
        ),
        False,
    ),
    (event({"message": {"content": ""}, "done": False}), False),
    (token('"content": "x'), True),
]


@pytest.mark.parametrize(("data", "says"), SAYS)
@pytest.mark.parametrize("step", [1, 5, 10**9])
def test_pings_are_no_sign_that_an_answer_goes_on(data, says, step):
    pieces = [(float(i), data[i : i + step]) for i in range(0, len(data), step)]
    assert (LastOutput(pieces)() is not None) is says


def test_what_was_said_last_is_looked_for_from_the_end():
    pieces = []
    said = LastOutput(pieces)
    assert said() is None
    pieces += [(1.0, token()), (2.0, token()), (3.0, b": ping\n\n"), (4.0, ROLE)]
    assert said() == 2.0
    pieces += [(5.0, b": ping\n\n")] * 99
    said()
    pieces += [(6.0, b": ping\n\n")] * 9
    assert said() is None
    half = len(token()) // 2
    pieces += [(7.0, token()[:half])]
    said()
    pieces += [(8.0, token()[half:])]
    assert said() in (7.0, 8.0)


def test_what_was_looked_at_before_is_not_looked_at_again_however_large_it_was(monkeypatch):
    looked, says = [], stream._OUTPUT

    class Counting:
        def search(self, window):
            looked.append(len(window))
            return says.search(window)

    monkeypatch.setattr(stream, "_OUTPUT", Counting())
    pieces = [(1.0, b"x" * 65536)] * 20
    said = LastOutput(pieces)
    said()
    looked.clear()
    pieces += [(2.0, b": ping\n\n")]
    assert said() is None
    assert sum(looked) < 500
