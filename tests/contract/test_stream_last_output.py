"""When an answer last had output; a ping is not output."""

import pytest

from contract import stream
from contract.stream import LastOutput
from tests.contract.exchanges import ROLE, choice, event, finish, reasoned, token, usage

OUTPUTS = [
    # bytes, whether they have output
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


@pytest.mark.parametrize(("data", "has_output"), OUTPUTS)
@pytest.mark.parametrize("step", [1, 5, 10**9])
def test_pings_are_not_output(data, has_output, step):
    pieces = [(float(i), data[i : i + step]) for i in range(0, len(data), step)]
    assert (LastOutput(pieces)() is not None) is has_output


def test_the_last_output_is_searched_from_the_end():
    pieces = []
    last_output = LastOutput(pieces)
    assert last_output() is None
    pieces += [(1.0, token()), (2.0, token()), (3.0, b": ping\n\n"), (4.0, ROLE)]
    assert last_output() == 2.0
    pieces += [(5.0, b": ping\n\n")] * 99
    last_output()
    pieces += [(6.0, b": ping\n\n")] * 9
    assert last_output() is None
    half = len(token()) // 2
    pieces += [(7.0, token()[:half])]
    last_output()
    pieces += [(8.0, token()[half:])]
    assert last_output() in (7.0, 8.0)


def test_pieces_that_were_searched_are_not_searched_again(monkeypatch):
    searched, pattern = [], stream._OUTPUT

    class Counting:
        def search(self, window):
            searched.append(len(window))
            return pattern.search(window)

    monkeypatch.setattr(stream, "_OUTPUT", Counting())
    pieces = [(1.0, b"x" * 65536)] * 20
    last_output = LastOutput(pieces)
    last_output()
    searched.clear()
    pieces += [(2.0, b": ping\n\n")]
    assert last_output() is None
    assert sum(searched) < 500
