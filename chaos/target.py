"""The target of a fault: a tier or the gateway, one of its handles, and how its server is reached.

It holds no secret: a key and the values of headers are read from the environment where a request is sent.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from pydantic import BaseModel, Field

from contract import foreign, page
from contract import handles as handle_kinds
from contract.blast_radius import Handles
from contract.endpoint import headers_of
from contract.framing import End
from contract.handle_kind import EMBEDDED, Place
from contract.headers import bare
from contract.refusal import Refusal
from contract.strict import Strict
from contract.topology import Api, Tier, Topology


@dataclass(frozen=True, slots=True)
class Handle:
    """What a fault changes, such as a Deployment or a unit."""

    kind: str  # the key among the topology's handles
    name: str  # unique among the handles of its kind: the name of its lock
    # The handle as in the topology, where it is more than a name.
    given: dict[str, Any] = field(default_factory=dict)

    @property
    def on_cluster(self) -> bool:
        return handle_kinds.find(self.kind).on_cluster

    @property
    def url(self) -> str | None:
        """The handle's address, where it is one."""
        return handle_kinds.find(self.kind).url(self.name)

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


class Server(Strict):
    """How a target's server is reached, as an undo record holds it: no value of a secret."""

    url: str | None = None
    api: Api = "openai"
    api_key: str | None = None
    headers: dict[str, str] = Field(default_factory=dict)
    ca_file: str | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """`url`: for faults that send HTTP requests, with `api_key`, `headers` and `ca_file`."""

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
        ca_file = self.ca_file and os.path.abspath(self.ca_file)  # a restorer may run in another folder
        found = {"url": self.url, "api": self.api, "api_key": self.api_key, "headers": self.headers, "ca_file": ca_file}  # fmt: skip
        return {key: value for key, value in found.items() if value}

    def without_credentials(self) -> Self:
        """The same target without secrets and without a CA file."""
        return replace(self, api_key=None, headers={}, ca_file=None)

    def send(self, method: str, path: str, within_s: float, payload: bytes | None = None) -> tuple[int, Any]:
        """Send one request to its server: the answer's status, and its body as values of JSON, or as text where it is not JSON.

        `path` begins with a slash; `within_s` bounds the whole exchange; `payload` is JSON. Secrets are removed from texts in
        the body. A key or header that is not in the environment is omitted: the restore may be allowed without it. Raises
        OSError without a whole answer, or where the answer refuses the missing key.
        """
        where = f"{method} {page.shown(f'{self.url}{path}')}"
        if self.url is None:
            raise OSError(f"{method} {path}: the url of {self.name} is unknown here")
        headers, missing = {}, None
        try:
            headers = headers_of(self)
        except Refusal as e:
            missing = e
        exchange = page.send(method, self.url + path, within_s, headers, self.ca_file, payload)
        secrets = [bare(value) for value in headers.values()]
        if exchange.end is not End.COMPLETE or exchange.status is None:
            raise OSError(foreign.without(secrets, f"{where}: {exchange.error or exchange.end}"))
        if missing is not None and exchange.status in (401, 403):
            raise OSError(f"{where}: status {exchange.status}: {missing}")
        text = page.body(exchange).decode(errors="replace")
        try:
            return exchange.status, _without(secrets, json.loads(text))
        except (ValueError, RecursionError):
            return exchange.status, foreign.without(secrets, text)


def _without(secrets: Sequence[str], body: Any) -> Any:
    """Redacts only the strings of JSON: a secret such as a number or `null` would destroy the structure of the body."""
    if isinstance(body, str):
        return foreign.without(secrets, body)
    if isinstance(body, list):
        return [_without(secrets, each) for each in body]
    if isinstance(body, dict):
        return {key: _without(secrets, value) for key, value in body.items()}
    return body


def handle_of(handles: Handles, place: Place, kinds: Sequence[str]) -> Handle | None:
    """The first of these kinds that is given; None: chaos may not change it."""
    for kind in kinds:
        assert kind in handle_kinds.names()
        value = handles.get(kind)
        if value is not None:
            of = handle_kinds.find(kind)
            name = EMBEDDED if of.embedded and value == EMBEDDED else of.name(value, place)
            return Handle(kind, name, value.model_dump(mode="json") if isinstance(value, BaseModel) else {})
    return None


def handles_of(topology: Topology, name: str) -> list[Handle]:
    """All handles that the topology gives the gateway, or the tier of that name."""
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
    if url != place.url:  # another server's address: it gets neither the key nor the headers of this one
        return Target(name, handle, url)
    api: Api = server.api if isinstance(server, Tier) else "openai"
    return Target(name, handle, url, api, server.api_key, dict(server.headers), server.ca_file)
