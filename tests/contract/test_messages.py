"""The messages between Locust, chaos and the guardian are read as they were written, and nothing else is read."""

import json
from typing import get_args

import pytest

from contract.messages import (
    Armed,
    BadMessage,
    Closed,
    Counts,
    End,
    FaultEvent,
    Listening,
    Log,
    Message,
    NotArmed,
    Open,
    ProbeWait,
    Ready,
    Refused,
    Status,
    UnderTest,
    read,
    write,
)

MESSAGES = [
    Ready(1_795_000_000.5, 60.0),
    Refused("kubeconfig /none: cannot be used\nand more"),
    Status(1000.0, 1.0, 60.0, 1, {"gateway": True, "vllm": False, "ollama": None}, None),
    Status(1000, 1, 60, 1, {}, ProbeWait("vllm", False, 3.09, True)),
    FaultEvent(1000.0, "gaming-mode", "vllm", "inject", "effective", None, None, None),
    FaultEvent(
        1000.0, "ü", "vllm", "restore", "fail", "no such", {"ready": 1, "deep": {"a": [None]}}, "a note"
    ),
    End(None, []),
    End("guard: too slow", ["vllm"]),
    Counts(0, 1, 2),
    UnderTest("gateway: {}\n"),
    Open('{"run": "r", "deadline": 1000.5, "state": {}}'),
    Closed(None, "process", "/run/vllm.pid"),
    Closed("uid", "deployment", "ml/vllm"),
    Listening(),
    Armed("deployment ml/vllm, gaming #1"),
    NotArmed("deployment ml/vllm, gaming #1", "no kubeconfig"),
    Log("restored"),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: m.kind)
def test_each_message_is_read_as_it_was_written_and_is_one_line(message):
    line = write(message)
    assert "\n" not in line
    assert read(line + "\n") == message
    assert type(read(line)) is type(message)


def test_each_kind_of_message_is_in_the_table():
    assert {type(m) for m in MESSAGES} == set(get_args(Message))
    assert len({m.kind for m in MESSAGES}) == len(get_args(Message))


def test_a_message_does_not_change():
    with pytest.raises(AttributeError):
        MESSAGES[0].total_s = 1.0


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", "Invalid JSON"),
        ("Traceback (most recent call last):", "Invalid JSON"),
        ('{"kind": "counts", "cloud": 1, "go', "Invalid JSON"),
        ("[]", "should be an object"),
        ("{}", "Unable to extract tag using discriminator 'kind'"),
        ({"kind": "couns", "cloud": 1}, "Input tag 'couns' found using 'kind' does not match any of the expected tags"),
        ({"kind": "counts", "cloud": 1, "good": 2}, "counts.bad: Field required"),
        ({"kind": "counts", "cloud": 1, "good": 2, "bad": 3, "ugly": 4}, "counts.ugly: Unexpected keyword argument"),
        ({"kind": "counts", "cloud": "1", "good": 2, "bad": 3}, "counts.cloud: Input should be a valid integer"),
        ({"kind": "counts", "cloud": 1, "good": 2.5, "bad": 3}, "counts.good: Input should be a valid integer"),
        ({"kind": "counts", "cloud": True, "good": 2, "bad": 3}, "counts.cloud: Input should be a valid integer"),
        ({"kind": "ready", "started_at": None, "total_s": 1.0}, "ready.started_at: Input should be a valid number"),
        ({"kind": "end", "reason": None, "not_restored": "vllm"}, "end.not_restored: Input should be a valid array"),
        (
            {"kind": "status", "at": 1, "elapsed_s": 1, "total_s": 1, "trial": 1, "up": {"a": "yes"}, "probe": None},
            "status.up.a: Input should be a valid boolean",
        ),
        (
            {"kind": "status", "at": 1, "elapsed_s": 1, "total_s": 1, "trial": 1, "up": {}, "probe": {"target": "a"}},
            "status.probe.of_gateway: Field required",
        ),
    ],
)  # fmt: skip
def test_a_line_that_is_not_a_message_is_refused_with_the_reason(line, words):
    with pytest.raises(BadMessage) as found:
        read(line if isinstance(line, str) else json.dumps(line))
    assert words in str(found.value)
    assert str(found.value).startswith("not a message: ")
