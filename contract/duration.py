"""Lengths of time as operators write them: `500ms`, `40s`, `8m`, `24h`, `1h30m`. A bare number is not a duration."""

import re
from typing import Annotated

from pydantic import BeforeValidator

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(?<![0-9])([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
LONGEST_S = 3650 * 86_400.0
"""Ten years: more than any wait in this project."""


def parse(text: object) -> float:
    """Seconds. Raises ValueError, which states the right form."""
    if isinstance(text, int | float) and not isinstance(text, bool):
        raise ValueError(f"{text} is a bare number, not a duration; write {text}s")
    if not isinstance(text, str):
        raise ValueError(f"{text!r} is not a duration; write it like 40s, 8m or 1h30m")
    whole = text.strip()
    parts = _PART.findall(whole)
    if not parts or "".join(n + u for n, u in parts) != whole:
        hint = (
            f"; write {whole}s" if re.fullmatch(r"\d+(\.\d+)?", whole) else "; write it like 40s, 8m or 1h30m"
        )
        raise ValueError(f"{text!r} is not a duration{hint}")
    seconds = sum(float(n) * _SECONDS[u] for n, u in parts)
    if seconds > LONGEST_S:
        raise ValueError(f"{whole[:40]!r} is too long a duration; 3650d is the longest")
    return seconds


def positive(text: str, why: str) -> float:
    """Seconds, more than 0. Raises ValueError; `why`: what is wrong with 0."""
    seconds = parse(text)
    if not seconds:
        raise ValueError(f"{text.strip()} {why}")
    return seconds


def text(seconds: float) -> str:
    """`110.0` → `1m50s`: the shortest form that `parse` reads back, to the millisecond."""
    ms = round(seconds * 1000)
    if ms % 1000 or ms == 0:
        return f"{ms}ms" if ms < 1000 else f"{ms / 1000:g}s"
    out = ""
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)):
        count, ms = divmod(ms, size)
        out += f"{count}{unit}" if count else ""
    return out


Duration = Annotated[float, BeforeValidator(parse)]
"""A pydantic field: a duration in YAML, seconds in Python."""
