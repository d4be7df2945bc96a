"""Where the thoughts end that a reasoning model writes into its content. Pure.

Engines without a reasoning parser leave them there: `<think>…</think>` before the answer (DeepSeek, Qwen, GLM), under other
names (`<thinking>`, `<thought>`, `<reasoning>`, `<seed:think>`), as `[THINK]…[/THINK]` (Magistral) or `◁think▷…◁/think▷`
(Kimi). Where the prompt's template has opened them already, only the end stands in the content.
"""

import re
from dataclasses import dataclass

_NAMES = r"(?:\w+:)?(?:think|thinking|thoughts?|reasoning)"
_OPENED = re.compile(rf"\s*(?:<(?P<name>(?i:{_NAMES}))>|\[(?P<square>THINK)\]|◁think▷)")
_CLOSED = re.compile(rf"(?:</(?i:{_NAMES})>|\[/THINK\]|◁/think▷)\s*")
_OBJECT = re.compile(r"\s*(?:```|[{\[])")

_ESCAPED = re.compile(rb"\\u(?:003[cC]|25[cC]1)")


@dataclass(frozen=True, slots=True)
class Thoughts:
    """They are the first `length` characters of a text, white space behind them too. Not `over`: they have no end."""

    length: int
    over: bool = True


NONE = Thoughts(0)


def may_hold(body: bytes) -> bool:
    """Whether an answer's bytes may hold thoughts in their content, whose tags may be cut between chunks: looked for is a byte
    of each that is rare, which is fast."""
    return (
        b"<" in body
        or (b"\\" in body and _ESCAPED.search(body) is not None)
        or (b"\xe2" in body and b"\xe2\x97\x81" in body)
        or b"K" in body
    )


def leading(text: str) -> Thoughts:
    """The thoughts that lead a text, up to the first end of the kind that began them.

    An end that nothing began ends thoughts too, whose beginning the prompt held; not in a text that begins as an object, a
    list or a fence, where it is a part of the answer.
    """
    opened = _OPENED.match(text)
    if opened is None:
        closed = None if _OBJECT.match(text) else _CLOSED.search(text)
        return Thoughts(closed.end()) if closed else NONE
    if opened["name"]:
        end = rf"(?i:</{re.escape(opened['name'])}>)\s*"
    else:
        end = r"\[/THINK\]\s*" if opened["square"] else r"◁/think▷\s*"
    closed = re.compile(end).search(text, opened.end())
    return Thoughts(closed.end()) if closed else Thoughts(len(text), over=False)
