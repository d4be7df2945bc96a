"""Types of input fields, checked as they are read: a url, a name, a secret by name, a command."""

import re
from typing import Annotated
from urllib.parse import parse_qs, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

from contract import secret_text

_NAME = re.compile(r"[a-z0-9]([a-z0-9_-]*[a-z0-9])?")
_ENV = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
RESERVED = ("gateway",)  # "through the gateway" in records


def _url(text: str) -> str:
    parts = urlsplit(text)
    shown = text.partition("?")[0]  # a query may be secret
    if "@" in parts.netloc:
        raise ValueError("a url must not carry a user or a password; use api_key: ${NAME}")
    if secret_text.look(shown, random=False):
        raise ValueError("a url must not carry a literal key; use api_key: ${NAME}, or headers:")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        what = "it" if "@" in shown else repr(shown)
        raise ValueError(f"{what} is not a url; write it like http://host:port")
    if secret_text.look(parts.query) or any(map(secret_text.is_name, parse_qs(parts.query))):
        raise ValueError(f"the query of {shown!r} has a literal key; use api_key: ${{NAME}}, or headers:")
    if re.search(r"[\x00-\x20\x7f]", text):  # not valid in a request line
        raise ValueError(f"{shown!r} has white space, which a url cannot have; write it as %20")
    try:
        parts.port  # noqa: B018  reading it validates it
    except ValueError:
        raise ValueError(f"{shown!r} has an invalid port; write one from 1 to 65535") from None
    return text if parts.query else text.rstrip("/")


def base_url(text: str) -> str:
    # A path is appended; after a query or a fragment it would not be a path.
    url = _url(text)
    if "?" in url or "#" in url:
        raise ValueError(
            f"{url.partition('?')[0].partition('#')[0]!r} has a query or a fragment, which cannot be sent; leave it out"
        )
    return url


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError(f"{text!r} is not a valid name; use lower-case letters, digits, - and _")
    if text in RESERVED:
        raise ValueError(f"{text!r} is reserved for the gateway; give the tier another name")
    return text


def _secret(text: object) -> str:
    # The value is never repeated: a refusal must not print a key.
    found = _ENV.fullmatch(text) if isinstance(text, str) else None
    if not found:
        raise ValueError("a literal key is refused; write ${NAME} and put the key into the environment")
    return found.group(1)


def _handle(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9.-]+/[a-z0-9.-]+", text):
        raise ValueError(f"{text!r} is not a handle; write namespace/name")
    namespace = text.split("/")[0]
    if namespace.startswith(("kube-", "openshift-")):
        raise ValueError(f"{text!r}: the namespace {namespace} is the cluster's own; chaos does not touch it")
    return text


def _argv(argv: list[str]) -> list[str]:
    # The topology is copied into the run, and a command line is visible to every user of the machine.
    found = secret_text.in_arguments(argv)
    if found is not None:
        raise ValueError(
            f"argument {found[0]} has {found[1]}; put it into the environment, which the command gets, and name it in a shell: "
            "[sh, -c, 'curl -H \"Authorization: Bearer $NAME\" …']"
        )
    return argv


def refuse_literal_secrets(data: object, place: str = "") -> None:
    """Raises ValueError for a text that looks like a key, anywhere in an input that is copied into the run."""
    if isinstance(data, dict):
        for name, value in data.items():
            refuse_literal_secrets(value, f"{place}{name}: ")
    elif isinstance(data, list | tuple):
        for number, value in enumerate(data, 1):
            refuse_literal_secrets(value, f"{place}{number}: ")
    elif isinstance(data, str) and (found := secret_text.look(data, random=False)) is not None:
        raise ValueError(f"{place}has {found}; a literal key is refused, put it into the environment")


Url = Annotated[str, AfterValidator(_url)]
BaseUrl = Annotated[str, AfterValidator(base_url)]
"""The url of a server, to which paths are appended; a `Url` is one page, with its query."""
Name = Annotated[str, AfterValidator(_name)]
SecretName = Annotated[str, BeforeValidator(_secret)]
"""`${NAME}` in YAML; the name of the environment variable in Python. The secret itself is read where it is used."""
NamespacedName = Annotated[str, AfterValidator(_handle)]
Argv = Annotated[list[str], Field(min_length=1), AfterValidator(_argv)]


def server_of(url: str) -> str:
    """The server's url without the trailing /v1 of an OpenAI-compatible one."""
    return url.rstrip("/").removesuffix("/v1")
