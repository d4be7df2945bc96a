"""A gateway's configuration without what is secret in it: its copy in a run must be fit to be handed on."""

import re
from typing import Any

import yaml

_SECRET = re.compile(r"key|token|secret|password|credential|database_url|authorization", re.IGNORECASE)
_NOT_SECRET = re.compile(r"os\.environ/\w+|\$\{\w+\}")  # the name of an environment variable
NOTE = "# As it was used; values that may be secret are replaced by (redacted).\n"


def redact(text: str) -> str:
    """YAML in, YAML out; a text that is no YAML is left out altogether."""
    try:
        return NOTE + yaml.safe_dump(_redacted(yaml.safe_load(text)), sort_keys=False)
    except yaml.YAMLError:
        return NOTE + "# It is no YAML, so it is left out.\n"


def _redacted(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _hidden(v) if _SECRET.search(str(k)) else _redacted(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_redacted(v) for v in value]
    return value


def _hidden(value: Any) -> Any:
    if isinstance(value, dict | list):
        return _redacted(value)
    if isinstance(value, str) and not _NOT_SECRET.fullmatch(value):
        return "(redacted)"
    return value  # a reference, or a number such as max_tokens
