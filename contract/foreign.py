"""The one place where a foreign text (a server's, a command's) loses our own secrets: an error often repeats the request's key.

What is secret: the values of all environment variables that a topology of this process names. Every entrance of a foreign text
calls `without`: records, pages of metrics, the terminal's lines, answers of the API server, output of commands.
"""

import base64
import binascii
import html
import json
import os
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from urllib.parse import quote, quote_plus

from contract import gateways

SHOWN = "(key)"
WORTH = 6
"""A part of a key of at least so many characters is secret. A shorter key is replaced only as a whole word."""
_REPEATED = 200  # characters of a text that may come with each answer, as headers do
_CORE = 8  # characters of base64, which text can have by chance if they are fewer
_names: set[str] = set()


def mention(variable: str) -> None:
    """Remember that this environment variable holds a secret. Its value is read from the environment each time."""
    _names.add(variable)


def without(secrets: Iterable[str], words: str) -> str:
    """The words without these secrets and all that were mentioned, however they are spelled, and if they are cut at the end."""
    known = {os.environ.get(name, "") for name in _names}
    # Others cannot be sent.
    every = frozenset(s for s in known.union(secrets) if s and s.isascii() and s.isprintable())
    return _kept(every, words) if len(words) <= _REPEATED else _without(every, words)


@lru_cache(4096)
def _kept(secrets: frozenset[str], words: str) -> str:
    return _without(secrets, words)


def _without(secrets: frozenset[str], words: str) -> str:
    for kind in gateways.every():
        if kind.shows_key and (shown := words.find(kind.shows_key)) >= 0:
            words = words[:shown].rstrip().rstrip(",.")
    if not secrets or not words:
        return words
    pattern, spelled, heads = _spelled(secrets)
    if not any(head in words for head in heads):  # most texts; a tenth of the time of the pattern
        return words
    words = pattern.sub(SHOWN, words)
    cut = min((at for form in spelled if (at := _cut_off(form, words)) is not None), default=None)
    return words if cut is None else words[:cut] + SHOWN


@lru_cache(64)
def _spelled(secrets: frozenset[str]) -> tuple[re.Pattern[str], tuple[str, ...], frozenset[str]]:
    """A pattern of all spellings, the longest first; the spellings that may be cut off; how each spelling begins."""
    long = {form for secret in secrets if len(secret) >= WORTH for form in _spellings(secret)}
    ordered = sorted(long, key=len, reverse=True)
    parts = [re.escape(form) for form in ordered]
    short = [secret for secret in secrets if len(secret) < WORTH]
    parts += [rf"(?<!\w){re.escape(secret)}(?!\w)" for secret in short]
    return re.compile("|".join(parts)), tuple(ordered), frozenset(form[:WORTH] for form in (*ordered, *short))


def _spellings(secret: str) -> Iterator[str]:
    """The secret as written, in a url, in JSON, in HTML, in base64 and in hexadecimal; and what it says in base64 itself."""
    for one in {secret, *_said(secret)}:
        for made in (one, quote(one, safe=""), quote_plus(one), quote(quote(one, safe=""), safe="")):
            yield made
            yield re.sub(r"%[0-9A-F]{2}", lambda found: found[0].lower(), made)
        escaped = json.dumps(one)[1:-1]
        yield from (escaped, escaped.replace("/", r"\/"), json.dumps(escaped)[1:-1], html.escape(one))
        yield one.encode().hex()
        yield one.encode().hex().upper()
        yield from _in_base64(one)


def _in_base64(secret: str) -> Iterator[str]:
    """What of a text in base64 depends on the secret alone, wherever it is in the text: `Bearer …`, `user:…`."""
    data = secret.encode()
    for before in range(3):
        whole = base64.b64encode(bytes(before) + data)
        core = whole[(before * 8 + 5) // 6 : (before + len(data)) * 8 // 6].decode()
        if len(core) >= _CORE:
            yield core
            yield core.replace("+", "-").replace("/", "_")


def _said(secret: str) -> Iterator[str]:
    """Of `Basic` credentials: the user and the password, and the password."""
    try:
        text = base64.b64decode(secret, validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        return
    if ":" in text and text.isprintable():
        yield text
        password = text.partition(":")[2]
        if len(password) >= WORTH:
            yield password


def _cut_off(form: str, words: str) -> int | None:
    """Where the beginning of this form stands at the end of the words, cut off; None: nowhere."""
    start = max(0, len(words) - len(form))
    while (at := words.find(form[:WORTH], start)) >= 0:
        if form.startswith(words[at:]):
            return at
        start = at + 1
    return None
