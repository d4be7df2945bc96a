"""Removes secrets from foreign texts: a gateway's configuration, whose copy in a run must be safe to share, and a server's
error messages."""

import re
from collections.abc import Iterable
from typing import Any

import yaml

from contract import gateways

_SECRET = re.compile(
    r"key|token|secret|passw|credential|database_url|authorization|headers|cookie|webhook|dsn", re.IGNORECASE
)
_IN_URL = re.compile(r"(?<=://)[^/?#\s]*@|(?<=\?)[^#\s]+")  # a user's name and password; a query
_NOT_SECRET = re.compile(r"os\.environ/\w+|\$\{\w+\}")  # the name of an environment variable
NOTE = "# As it was used; values that may be secret are replaced by (redacted).\n"


_WORTH = 6  # a part of a key of at least so many characters is secret


def without(secrets: Iterable[str], words: str) -> str:
    """The words without these secrets, also if one is cut at the end. A short secret is replaced only as a whole word."""
    for kind in gateways.every():
        if kind.shows_key and (at := words.find(kind.shows_key)) >= 0:
            words = words[:at].rstrip().rstrip(",.")
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) < _WORTH:
            words = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", "(key)", words)
            continue
        words = words.replace(secret, "(key)")
        for length in range(len(secret) - 1, _WORTH - 1, -1):
            if words.endswith(secret[:length]):
                words = words[:-length] + "(key)"
                break
    return words


def redact(text: str) -> str:
    """YAML in, YAML out; a text that is not YAML is left out."""
    try:
        return NOTE + yaml.safe_dump(_redacted(yaml.safe_load(text)), sort_keys=False)
    except yaml.YAMLError:
        return NOTE + "# It is not YAML, so it is left out.\n"


def _redacted(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _hidden(v) if _SECRET.search(str(k)) else _redacted(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_redacted(v) for v in value]
    if isinstance(value, str) and "://" in value:
        return _IN_URL.sub(lambda found: "(redacted)" + "@" * found[0].endswith("@"), value)
    return value


def _hidden(value: Any) -> Any:
    """Also hides all values below a secret's name: a list of keys, a mapping of headers."""
    if isinstance(value, dict):
        return {k: _hidden(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_hidden(v) for v in value]
    if isinstance(value, str) and not _NOT_SECRET.fullmatch(value):
        return "(redacted)"
    return value  # a reference, or a number such as max_tokens
