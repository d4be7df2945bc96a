"""Finds where the thoughts of a reasoning model end in its content. Pure.

Engines without a reasoning parser leave thoughts in the content: `<think>…</think>` before the answer (DeepSeek, Qwen,
GLM), under other names (`<thinking>`, `<thought>`, `<reasoning>`, `<seed:think>`), as `[THINK]…[/THINK]` (Magistral) or
`◁think▷…◁/think▷` (Kimi). If the prompt's template has opened them already, the content has only the end.
"""

import re
from dataclasses import dataclass

_NAMES = r"(?:\w+:)?(?:think|thinking|thoughts?|reasoning)"
_OPENED = re.compile(rf"\s*(?:<(?P<name>(?i:{_NAMES}))>|\[(?P<square>THINK)\]|◁think▷)")
_CLOSED = re.compile(rf"(?:</(?P<name>(?i:{_NAMES}))>|\[/(?P<square>THINK)\]|◁/think▷)\s*")
_OBJECT = re.compile(r"\s*(?:```|[{\[])")

_ESCAPED = re.compile(rb"\\u(?:003[cC]|25[cC]1)")


@dataclass(frozen=True, slots=True)
class Thoughts:
    """The first `length` characters of a text, with the white space after them. Not `over`: they have no end."""

    length: int
    over: bool = True


NONE = Thoughts(0)


def may_hold(body: bytes) -> bool:
    """Whether an answer's content may have thoughts. Tags may be cut between chunks, so one rare byte of each is searched, which
    is fast."""
    return (
        b"<" in body
        or (b"\\" in body and _ESCAPED.search(body) is not None)
        or (b"\xe2" in body and b"\xe2\x97\x81" in body)
        or b"K" in body
    )


def leading(text: str) -> Thoughts:
    """The leading thoughts of a text, up to the first end tag of the kind that opened them.

    An end tag without an opening tag also ends thoughts: the prompt had the opening tag. Not in a text that begins with an
    object, a list or a fence, where the tag is part of the answer.
    """
    opened = _OPENED.match(text)
    if opened is None:
        closed = None if _OBJECT.match(text) else _CLOSED.search(text)
        return Thoughts(closed.end()) if closed else NONE
    ends = _CLOSED.finditer(text, opened.end())
    closed = next((end for end in ends if _kind(end) == _kind(opened)), None)
    return Thoughts(closed.end()) if closed else Thoughts(len(text), over=False)


def _kind(tag: re.Match[str]) -> tuple[str, str | None]:
    return (tag["name"] or "").lower(), tag["square"]
