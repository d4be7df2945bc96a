"""Removes secrets from a gateway's configuration, so that its copy in a run is safe to share. Pure."""

import re
from typing import Any

import yaml

from contract import secret_text, strict

NOTE = "# As it was used. Texts are shown only under keys that hold no secret; (redacted …) stands for the others.\n"
_REFERENCE = re.compile(r"os\.environ/[A-Za-z_]\w{0,63}|\$\{[A-Za-z_]\w{0,63}\}")
_URL = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*://)(?P<user>[^/?#@]*@)?(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?P<port>:[0-9]{1,5})?"
    r"(?P<path>/[^?#]*)?(?P<query>\?[^#]*)?(?P<fragment>#.*)?"
)
_HEX = re.compile(r"[0-9A-Fa-f-]{32,}")
_PATH = re.compile(r"(?:/[A-Za-z0-9._:/-]*)?")
_LONGEST_PART = 64  # characters between two slashes

# LiteLLM's keys whose texts an operator needs to read, and which hold no secret.
_SHOWN = frozenset((
    "model_name", "model", "base_model", "custom_llm_provider", "api_version", "mode", "region_name",
    "aws_region_name", "vertex_location", "watsonx_region_name", "s3_region_name", "budget_duration",
    "reasoning_effort", "allowed_openai_params", "additional_drop_params", "supported_environments", "access_groups",
    "tags", "routing_strategy", "optional_pre_call_checks", "fallbacks", "default_fallbacks",
    "context_window_fallbacks", "content_policy_fallbacks", "model_group_alias", "routing_groups", "caching_groups",
    "background_health_check_model_groups", "debug_level", "time_period", "default_adaptive_router_model",
    "auto_router_default_model", "auto_router_embedding_model", "callbacks", "success_callback", "failure_callback",
    "service_callback", "audit_log_callbacks", "type", "supported_call_types", "prometheus_exclude_labels",
    "prometheus_exclude_metrics", "group", "metrics", "include_labels", "alerting", "alert_types", "allowed_routes",
    "public_model_groups", "ui_access_mode", "key_management_system", "database_type", "completion_model",
    "guardrail_name", "guardrail", "maximum_spend_logs_retention_period", "maximum_spend_logs_retention_interval",
    "log_level",
))  # fmt: skip
_OF_MODELS = frozenset((
    "fallbacks", "context_window_fallbacks", "content_policy_fallbacks", "model_group_alias", "routing_groups",
))  # fmt: skip
_SECRET_SECTIONS = frozenset((
    "headers", "extra_headers", "default_headers", "environment_variables", "database_url",
))  # fmt: skip
_ADDRESSES = frozenset(("api_base", "base_url", "redis_url", "redis_host", "host"))
"""Of these, scheme, host and port are shown, and a plain path. Elsewhere a url may be a secret as a whole, as a webhook's is."""


def redact(text: str) -> str:
    """YAML in, YAML out. What is redacted leaves its key and its type. A text that is not YAML is left out."""
    try:
        found = strict.parse_yaml(text)
    except ValueError:
        return NOTE + "# It cannot be read as YAML, so it is left out.\n"
    return NOTE + yaml.safe_dump(_redacted(found, "", False), sort_keys=False)


def _redacted(value: Any, key: str, secret: bool) -> Any:
    """`key`: the nearest name above the value. `secret`: one above it is the name of a secret."""
    if isinstance(value, dict):
        return {
            _name(k, i): _redacted(v, *_below(str(k), key, secret)) for i, (k, v) in enumerate(value.items())
        }
    if isinstance(value, list | tuple | set):
        return [_redacted(v, key, secret) for v in value]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return "(redacted number)" if secret else value
    if not isinstance(value, str):  # a date, bytes
        return f"(redacted {type(value).__name__})"
    if _REFERENCE.fullmatch(value) and not _looks(value.removeprefix("os.environ/")):
        return value
    if not value or secret:
        return value and "(redacted text)"
    if key in _ADDRESSES:
        return _address(value)
    return value if key in _SHOWN and not _looks(value) and "://" not in value else "(redacted text)"


def _below(name: str, key: str, secret: bool) -> tuple[str, bool]:
    """The key and the secrecy of what is below `name`. Names of models below `fallbacks` are those of `fallbacks`."""
    return (key if key in _OF_MODELS else name), secret or secret_text.is_name(
        name
    ) or name.lower() in _SECRET_SECTIONS


def _name(name: Any, place: int) -> Any:
    """The name of a value, if it does not look like a secret itself."""
    if isinstance(name, str):
        return name if not _looks(name) and len(name) <= 200 else f"(redacted name {place + 1})"
    return name


def _address(text: str) -> str:
    """A url without user, query and fragment, and without a path that may be secret."""
    found = _URL.fullmatch(text)
    if found is None:
        plain = re.fullmatch(r"[A-Za-z0-9._-]+(?::[0-9]{1,5})?", text) and not _looks(text)
        return text if plain else "(redacted text)"
    path = found["path"] or ""
    short = all(len(part) <= _LONGEST_PART for part in path.split("/"))
    shown = short and _PATH.fullmatch(path) and not _looks(f"https://{found['host']}{path}")
    return "".join((
        found["scheme"], "(redacted)@" if found["user"] else "", found["host"], found["port"] or "",
        path if shown else "/(redacted)", "?(redacted)" if found["query"] else "", "#(redacted)" if found["fragment"] else "",
    ))  # fmt: skip


def _looks(text: str) -> bool:
    return secret_text.look(text) is not None or _HEX.search(text) is not None
