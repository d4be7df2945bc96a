"""A process on a leash: its messages are read to its end, what its end has cut off is none, and it gets ours."""

import pytest

from contract.leash import Leashed
from contract.messages import BadMessage, Counts, Log, write


def script(text: str) -> Leashed:
    return Leashed(["sh", "-c", text])


def test_its_messages_are_read_to_its_end_and_what_its_end_cuts_off_is_none():
    child = script(f"echo '{write(Log('one'))}'; echo '{write(Log('two'))}'; printf '{{\"kind\": \"lo'")
    assert child.message() == Log("one")
    assert list(child.messages()) == [Log("two")]
    assert child.wait() == 0


def test_it_gets_what_is_sent_until_it_is_let_go():
    child = script("cat")
    child.send(Counts(1, 2, 3))
    assert child.message() == Counts(1, 2, 3)
    child.let_go()
    child.let_go()
    assert child.message() is None
    assert child.wait() == 0
    child.send(Counts(1, 2, 3))  # it does not get that one


def test_a_line_that_is_no_message_is_an_error():
    child = script("echo nonsense; yes | head -c 200000")  # more than a pipe holds
    with pytest.raises(BadMessage, match="not a message: Invalid JSON"):
        child.message()
    child.drain()
    assert child.wait() == 0
