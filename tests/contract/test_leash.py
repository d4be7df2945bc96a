"""A leashed process: its messages are read to its end, a cut line is dropped, and it gets our messages."""

import pytest

from contract.leash import Leashed
from contract.messages import BadMessage, Counts, Log, write


def script(text: str) -> Leashed:
    return Leashed(["sh", "-c", text])


def test_messages_are_read_to_the_childs_end_and_a_cut_line_is_dropped():
    child = script(f"echo '{write(Log('one'))}'; echo '{write(Log('two'))}'; printf '{{\"kind\": \"lo'")
    assert child.message() == Log("one")
    assert list(child.messages()) == [Log("two")]
    assert child.wait() == 0


def test_a_child_gets_messages_until_its_input_is_closed():
    child = script("cat")
    child.send(Counts(1, 2, 3))
    assert child.message() == Counts(1, 2, 3)
    child.let_go()
    child.let_go()
    assert child.message() is None
    assert child.wait() == 0
    child.send(Counts(1, 2, 3))  # not delivered


def test_a_line_that_is_not_a_message_is_an_error():
    child = script("echo nonsense; yes | head -c 200000")  # more than a pipe buffers
    with pytest.raises(BadMessage, match="not a message: Invalid JSON"):
        child.message()
    child.drain()
    assert child.wait() == 0
