"""Which names are names of secrets, and which texts look like one. Pure.

No look is certain. A gateway's configuration is therefore shown by an allow-list (`redact.py`), and this is its second check. For
commands of an operator it is the only one, so there it must not refuse ordinary arguments.
"""

import re
import shlex
from collections.abc import Sequence
from itertools import pairwise

_NAMES = frozenset((
    "key", "keys", "apikey", "apikeys", "secret", "secrets", "password", "passwords", "passwd", "pwd", "passphrase",
    "pass", "pw", "token", "authtoken", "credential", "credentials", "creds", "auth", "authorization", "cookie",
    "cookies", "webhook", "webhooks", "dsn", "signature", "sig", "bearer", "jwt", "pin", "otp",
))  # fmt: skip
# Of `--token-file`, `key_management_system`, `input_cost_per_token`: no secret, but something about one.
_ABOUT = frozenset((
    "file", "path", "dir", "name", "id", "type", "ttl", "size", "count", "env", "alias", "system", "length", "limit",
    "limits", "timeout", "seconds", "duration", "interval", "mode", "method", "kind", "server", "host", "port",
    "plugin", "provider", "realm", "scheme", "region", "ref", "version",
))  # fmt: skip
_AMOUNT = frozenset((
    "cost", "per", "max", "min", "num", "number", "limit", "rpm", "tpm", "existing", "bos", "eos", "pad", "unk",
    "special",
))  # fmt: skip
_WORD = re.compile(r"[A-Z]{1,100}(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_REFERENCE = r"\$(?:\{\w+\}|[A-Za-z_]\w*|\([^()]*\))|os\.environ/\w+|%\w+%|<\w+>|\{\w+\}|\*{3,}"
REFERENCE = re.compile(_REFERENCE)
"""The name of a variable in the place of a value."""

# How known keys begin, for so long that a word is not taken for one.
_KNOWN = re.compile(
    r"""
    (?<![A-Za-z0-9]) (?:
        (?:sk|pk|rk|ak)[-_](?:[A-Za-z0-9_-]{0,256}[0-9]|(?:live|test|proj|ant|or|lf)[-_][A-Za-z0-9_-]|[A-Za-z0-9_]{16})
        | (?:ghp|gho|ghu|ghs|ghr|github_pat|glpat|gldt|npm|hf|gsk|xai|r8|dop_v1|nvapi|pypi|tvly|pplx|fw|lsv2|shpat|whsec)[-_][A-Za-z0-9_-]{16}
        | xox[abeoprs]-[A-Za-z0-9-]{8} | AIza[A-Za-z0-9_-]{30} | ya29\.[A-Za-z0-9_-]{16} | SG\.[A-Za-z0-9_-]{16}
        | (?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{12}
        | eyJ[A-Za-z0-9_-]{8,900}\.[A-Za-z0-9_.-]{8}
    )
    | -----BEGIN\ [A-Z0-9 ]{0,40}(?:KEY|CERTIFICATE|MESSAGE)
    """,
    re.VERBOSE,
)  # fmt: skip
_SCHEME = re.compile(
    rf"\b(?i:bearer|basic|token|apikey|digest|negotiate)[ \t]+(?!{_REFERENCE})(?=\S*[0-9A-Z=])[A-Za-z0-9+/_.~=:-]{{6,}}"
)  # `basic authentication` has neither a digit nor a capital
_IN_URL = re.compile(r"://(?P<user>[^/?#\s@]*)@")
_HOOK = re.compile(r"hooks\.slack\.com/|/api/webhooks/|webhook\.office\.com/|/webhooks?/\S|hooks\.zapier\.com/|/hooks/\S", re.IGNORECASE)  # fmt: skip
_PAIR = re.compile(
    r"(?<![\w.-])-{0,2}([A-Za-z][\w.-]{0,100})(?=[\"']?[ \t]{0,9}(=|:[ \t\"']|:)[ \t]{0,9}[\"']?([^\s\"',;&|)]{1,200}))"
)  # bounded, since the value may hold the next pair
_DEPTH = 3  # of a shell's text inside another's
_RUN = re.compile(r"[A-Za-z0-9+/_=-]{20,}")
_ORDINARY = frozenset((
    "true", "false", "none", "null", "default", "empty", "dummy", "bearer", "basic", "token", "digest", "negotiate",
))  # fmt: skip
_WEAK = frozenset(("pass", "pw", "key", "keys", "pin", "sig", "auth", "secret", "cookie"))
"""Alone they are often names of something else: `--key name`, `--secret vllm-tls`. A value of theirs has a digit or a capital."""
_FILE = re.compile(r"(?:\.{0,2}|~)/|@|file:|.*\.(?:pem|key|crt|cer|pub|p12|json|ya?ml|txt|toml|env|conf)$")


def is_name(name: str) -> bool:
    """Whether this is the name of a secret: `api_key`, `X-Auth-Token`, `dbPassword`; not `max_tokens`, `--token-file`."""
    words = [word.lower() for word in _WORD.findall(name)]
    if not words or words[-1] in _ABOUT or _AMOUNT & {*words}:
        return False
    return bool(_NAMES & {*words}) or any(word.endswith(("password", "secret", "apikey")) for word in words)


def is_reference(text: str) -> bool:
    return REFERENCE.fullmatch(text.strip()) is not None


def look(text: str, random: bool = True) -> str | None:
    """What in the text looks like a secret, in words, without repeating it; None: nothing does. `random`: text at random does."""
    if _KNOWN.search(text):
        return "a key"
    if _SCHEME.search(text):
        return "the value of a header Authorization"
    for found in _IN_URL.finditer(text):
        if found["user"] and not all(is_reference(part) for part in found["user"].split(":") if part):
            return "a user or a password in a url"
    if _HOOK.search(text):
        return "the url of a webhook"
    for name, sign, value in _PAIR.findall(text):
        if is_name(name) and _is_value(name, value) and _is_given(name, sign, value):
            return f"the value of {name}"
    runs = (
        part for run in _RUN.findall(text) for part in (run.split("/") if run.startswith("/") else [run])
    )  # a path
    return "random text, as a key is" if any(_random(run) for run in runs) else None


def in_arguments(argv: Sequence[str], depth: int = 0) -> tuple[int, str] | None:
    """The place of the first argument of a command that has a secret (from 1), and what it has; None: none has one.

    Besides `look`, an argument is a secret after an option that names one (`--password hunter2`), also in a shell's text.
    """
    program = argv[0].rpartition("/")[2] if argv else ""
    before = ""
    for number, argument in enumerate(argv, 1):
        found = look(argument) or _after(program, before, argument)
        if found is None and depth < _DEPTH and re.search(r"\s", argument):
            inner = in_arguments(_words(argument), depth + 1)
            found = inner and inner[1]
        if found is not None:
            return number, found
        before = argument
    return None


def _after(program: str, option: str, value: str) -> str | None:
    if program == "curl" and option in ("-u", "--user", "--proxy-user") and ":" in value:
        return None if is_reference(value.partition(":")[2]) else "a user and a password"
    if program == "sshpass" and option == "-p":
        return None if is_reference(value) else "a password"
    named = option.startswith("-") and "=" not in option and not value.startswith("-")
    return (
        f"the value of {option}"
        if named and is_name(option) and _is_value(option.lstrip("-"), value)
        else None
    )


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:  # half a quotation
        return text.split()


def _is_given(name: str, sign: str, value: str) -> bool:
    """Whether `name: value` gives a value, as in a header or JSON; `key:vllm:1` is a name of its own."""
    return sign == "=" or (len(value) > 5 and (sign != ":" or name.lower() not in _WEAK))


def _is_value(name: str, value: str) -> bool:
    """Whether a value after the name of a secret is one: no reference, no file, no ordinary word."""
    if REFERENCE.match(value) or _FILE.match(value) or value.lower() in _ORDINARY or len(value) < 4:
        return False
    return name.lower() not in _WEAK or any(c.isdigit() or c.isupper() for c in value)


def _random(run: str) -> bool:
    """Whether letters of both cases and digits follow one another as in random text. Names and versions change less often.

    Text in hexadecimal is not judged: it is a digest or an id as often as a key.
    """
    parts = [
        "".join("0" if c.isdigit() else "a" if c.islower() else "A" for c in p)
        for p in re.split(r"[^A-Za-z0-9]", run)
    ]
    changes, size = sum(a != b for part in parts for a, b in pairwise(part)), sum(map(len, parts))
    return len({*"".join(parts)}) == 3 and size >= 20 and changes >= 0.3 * size
