"""What a fault is made on: a tier or the gateway, by one of its handles, and how its server is reached.

It holds no secret: a key and the values of headers are read from the environment where a request is sent.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from pydantic import BaseModel

from contract import handles as handle_kinds
from contract import page, redact
from contract.blast_radius import Handles
from contract.endpoint import headers_of
from contract.framing import End
from contract.handle_kind import EMBEDDED, Place
from contract.headers import bare
from contract.refusal import Refusal
from contract.topology import Api, Tier, Topology


@dataclass(frozen=True, slots=True)
class Handle:
    """What a fault takes hold of."""

    kind: str  # the word among the topology's handles
    name: str  # unique among the handles of its kind: it names the lock
    given: dict[str, Any] = field(
        default_factory=dict
    )  # the handle as the topology gives it, where it is more than a name

    @property
    def on_cluster(self) -> bool:
        return handle_kinds.find(self.kind).on_cluster

    @property
    def url(self) -> str | None:
        """The address that it is, where it is one."""
        return handle_kinds.find(self.kind).url(self.name)

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Target:
    """By `url` a fault speaks HTTP to it; what goes along is named by `api_key`, `headers` and `ca_file`."""

    name: str  # the tier's, or `gateway`
    handle: Handle
    url: str | None = None  # of the server, without /v1; None: the topology gives none
    api: Api = "openai"
    api_key: str | None = None  # the environment variable
    headers: dict[str, str] = field(default_factory=dict)  # name → `${NAME}` or `Bearer ${NAME}`
    ca_file: str | None = None

    @classmethod
    def recorded(cls, name: str, handle: Handle, server: dict[str, Any]) -> Self:
        """From an undo record; `server` is what `record` returned."""
        return cls(name, handle, **({"url": handle.url} | server))

    def record(self) -> dict[str, Any]:
        """How the server is reached, for an undo record: no value of a secret."""
        ca_file = self.ca_file and os.path.abspath(self.ca_file)  # who restores may stand in another folder
        found = {"url": self.url, "api": self.api, "api_key": self.api_key, "headers": self.headers, "ca_file": ca_file}  # fmt: skip
        return {key: value for key, value in found.items() if value}

    def without_credentials(self) -> Self:
        """The same, to which no secret is sent and for which no file is read."""
        return replace(self, api_key=None, headers={}, ca_file=None)

    def send(self, method: str, path: str, within_s: float, payload: bytes | None = None) -> tuple[int, Any]:
        """Send one request to its server: the answer's status, and its body as values of JSON, or as text where it is no JSON.

        `path` begins with a slash; `within_s` bounds all of it; `payload` is JSON. Texts in the body come without what is
        secret. Where a key or header is not in the environment the request goes without: a restore may be allowed all the
        same. Raises OSError where no whole answer came, or one that refuses the missing key.
        """
        where = f"{method} {page.shown(f'{self.url}{path}')}"
        if self.url is None:
            raise OSError(f"{method} {path}: no url of {self.name} is known here")
        headers, missing = {}, None
        try:
            headers = headers_of(self)
        except Refusal as e:
            missing = e
        exchange = page.send(method, self.url + path, within_s, headers, self.ca_file, payload)
        secrets = [bare(value) for value in headers.values()]
        if exchange.end is not End.COMPLETE or exchange.status is None:
            raise OSError(redact.without(secrets, f"{where}: {exchange.error or exchange.end}"))
        if missing is not None and exchange.status in (401, 403):
            raise OSError(f"{where}: status {exchange.status}: {missing}")
        text = page.body(exchange).decode(errors="replace")
        try:
            return exchange.status, _without(secrets, json.loads(text))
        except (ValueError, RecursionError):
            return exchange.status, redact.without(secrets, text)


def _without(secrets: Sequence[str], body: Any) -> Any:
    """Of JSON the texts alone: a key that is a number or a word of JSON's own would take the body apart."""
    if isinstance(body, str):
        return redact.without(secrets, body)
    if isinstance(body, list):
        return [_without(secrets, each) for each in body]
    if isinstance(body, dict):
        return {key: _without(secrets, value) for key, value in body.items()}
    return body


def handle_of(handles: Handles, place: Place, kinds: Sequence[str]) -> Handle | None:
    """The first of these kinds that is given; None: it is not ours to break."""
    for kind in kinds:
        assert kind in handle_kinds.names()
        value = handles.get(kind)
        if value is not None:
            of = handle_kinds.find(kind)
            name = EMBEDDED if of.embedded and value == EMBEDDED else of.name(value, place)
            return Handle(kind, name, value.model_dump(mode="json") if isinstance(value, BaseModel) else {})
    return None


def handles_of(topology: Topology, name: str) -> list[Handle]:
    """All that the topology gives of the gateway, or of the tier of that name."""
    given, place = topology.server(name).handles, topology.place(name)
    found = (handle_of(given, place, (kind,)) for kind in given.kinds())
    return [handle for handle in found if handle is not None]


def target_of(topology: Topology, name: str, kinds: Sequence[str]) -> Target | None:
    """The gateway, or the tier of that name, by the first of these kinds that the topology gives; None: it gives none."""
    server, place = topology.server(name), topology.place(name)
    handle = handle_of(server.handles, place, kinds)
    if handle is None:
        return None
    url = handle.url or place.url
    if url != place.url:  # another server's address: neither key nor header of this one is meant for it
        return Target(name, handle, url)
    api: Api = server.api if isinstance(server, Tier) else "openai"
    return Target(name, handle, url, api, server.api_key, dict(server.headers), server.ca_file)
