"""The operator's own headers: a topology names them, and their values come only from the environment.

A topology is copied into every run and sent to every worker, so it must not have the values. Pure but for the
environment.
"""

import os
import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import BeforeValidator

from contract import foreign
from contract.refusal import Refusal

SCHEMES = ("Bearer", "Basic", "Token")
"""The only words allowed before a reference."""
MOST, LONGEST = 32, 8192  # headers; characters of a value
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")  # RFC 9110, 5.6.2
_VALUE = re.compile(rf"((?:{'|'.join(SCHEMES)}) )?\$\{{([A-Za-z_][A-Za-z0-9_]*)\}}")
_PRINTABLE = re.compile(r"[!-~](?:[ -~]*[!-~])?")
# Set by the client for each request or connection.
_RESERVED = frozenset(
    (
        "accept",
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "host",
        "http2-settings",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)


def _headers(value: object) -> dict[str, str]:
    # Values and invalid names are never repeated: either may be a misplaced secret.
    if not isinstance(value, dict) or len(value) > MOST:
        raise ValueError(f"write a mapping of at most {MOST} names to values, as X-Tenant: ${{TENANT}}")
    seen: set[str] = set()
    for name, reference in value.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ValueError("a header name has characters that are not allowed; use letters, digits and -")
        if name.lower() in _RESERVED:
            raise ValueError(f"{name}: is set by the request itself; leave it out")
        if name.lower() in seen:
            raise ValueError(f"{name}: is given twice; header names are case-insensitive")
        seen.add(name.lower())
        if not isinstance(reference, str) or not _VALUE.fullmatch(reference):
            raise ValueError(
                f"{name}: a literal value is refused; write ${{NAME}} or {SCHEMES[0]} ${{NAME}} and put the rest into "
                "the environment"
            )
    return value


Headers = Annotated[dict[str, str], BeforeValidator(_headers)]
"""Name → `${NAME}` or `Bearer ${NAME}`, as written; `resolved` reads the value where it is used."""


def variables(headers: Mapping[str, str]) -> list[str]:
    """The environment variables that these headers name."""
    return [found[2] for value in headers.values() if (found := _VALUE.fullmatch(value))]


def resolved(reference: str) -> str:
    """The value of a reference. Raises Refusal if the environment has none that is valid in a header."""
    found = _VALUE.fullmatch(reference)
    assert found is not None, "a topology's headers have been checked"
    return (found[1] or "") + environment(found[2], "a header")


def environment(name: str, what: str) -> str:
    """A secret's value, valid in a header, which no foreign text shows from now on; `what`: its use in the topology. Raises Refusal, which names only the variable."""
    foreign.mention(name)
    value = os.environ.get(name)
    if not value:
        raise Refusal(f"the environment variable {name} is not set; the topology takes {what} from it")
    if len(value) > LONGEST or not _PRINTABLE.fullmatch(value):
        raise Refusal(
            f"the environment variable {name} cannot be sent as {what}: it has a line end, leading or trailing white space, "
            f"characters other than printable ASCII, or more than {LONGEST} of them"
        )
    return value


def bare(value: str) -> str:
    """A header's value without its scheme: the secret part."""
    scheme, _, rest = value.partition(" ")
    return rest if scheme in SCHEMES and rest else value
