"""The stack under test: a gateway, the tiers behind it in fallback order, and the handles that chaos may use."""

from itertools import groupby
from pathlib import Path
from typing import Literal, Self

import yaml
from pydantic import Field, field_validator, model_validator

from contract import foreign, gateways
from contract.blast_radius import Handles
from contract.duration import Duration
from contract.embedded import Embedded
from contract.fields import RESERVED, BaseUrl, Name, SecretName, Url, refuse_literal_secrets, server_of
from contract.gateway_kind import GatewayKind
from contract.handle_kind import Place
from contract.headers import Headers, environment, variables
from contract.match import Match, rank, refuse_mixed
from contract.refusal import no_such
from contract.strict import Strict, load, validate

Api = Literal["openai", "ollama"]
WitnessKind = Literal["length", "none"]
CapField = Literal["max_tokens", "max_completion_tokens"]
Droppable = Literal["temperature"]


class Server(Strict):
    """Settings shared by the gateway and a tier: credentials and request parameters."""

    api_key: SecretName | None = None
    headers: Headers = Field(default_factory=dict)  # sent with every request to it
    # PEM: the authority of its certificate, instead of those that this machine trusts.
    ca_file: str | None = None
    # none: the model may end early by itself. A tier without this setting uses the gateway's.
    witness: WitnessKind | None = None
    # See `contract.caps`. Users' prompts request some ten thousand words, the probe's counting without end.
    max_tokens: int | None = Field(default=None, ge=1, le=8192, strict=True)
    probe_max_tokens: int | None = Field(default=None, ge=1, le=4096, strict=True)
    max_tokens_field: CapField = "max_tokens"  # its name for the cap
    drop_params: list[Droppable] = Field(default_factory=list)  # parameters that it refuses, never sent

    @model_validator(mode="after")
    def _authorized_once(self) -> Self:
        if self.api_key is not None and any(name.lower() == "authorization" for name in self.headers):
            raise ValueError("headers: Authorization: api_key sets it too; give one of them")
        for name in (*variables(self.headers), *([self.api_key] if self.api_key else [])):
            foreign.mention(name)  # a gateway may repeat the key of a tier that this process sends nothing to
        return self


class Tier(Server):
    """One of the backends that the gateway falls through."""

    name: Name
    match: Match
    engine: str | None = None  # vLLM, Ollama, ...: shown in the report's table
    url: BaseUrl | None = None
    api: Api = "openai"  # the API for direct requests
    model: str | None = None
    health: Url | None = None
    ignore_eos: bool = False  # the engine honours it; it is sent on direct requests only
    cloud: bool = False  # costs money; must serve only when nothing above can
    handles: Handles = Handles()

    @model_validator(mode="after")
    def _consistent_with_its_api(self) -> Self:
        if self.url and not self.model:
            raise ValueError(f"tier {self.name!r} has a url but no model")
        if self.api == "ollama":
            if self.url and self.url.endswith("/v1"):
                raise ValueError(f"tier {self.name!r}: api ollama uses /api/chat; give the url without /v1")
            if self.max_tokens_field != "max_tokens":
                raise ValueError(
                    f"tier {self.name!r}: api ollama calls the cap num_predict; leave max_tokens_field out"
                )
            if self.ignore_eos:
                raise ValueError(f"tier {self.name!r}: api ollama has no ignore_eos; leave it out")
        return self


class Gateway(Server):
    """The gateway and the model that clients request from it."""

    kind: str = gateways.DEFAULT  # one of contract/gateways/
    url: BaseUrl | None = None
    model: str
    cooldown: Duration | None = None  # its router's cooldown_time: distinguishes sticky from spurious answers
    health: Url | None = None  # one that sends no request to a tier: /health/liveliness
    handles: Handles = Handles()

    @field_validator("kind")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in gateways.names():
            raise ValueError(no_such("kind of gateway", name, gateways.names()))
        return name

    @property
    def of_kind(self) -> GatewayKind:
        return gateways.find(self.kind)


class Topology(Strict):
    """A whole topology file. Read it with `read`."""

    cluster: str | None = None  # uid of the namespace kube-system
    kubeconfig: str | None = None
    gateway: Gateway
    tiers: list[Tier] = Field(min_length=1)
    embedded: Embedded | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        names = [t.name for t in self.tiers]
        twice = {n for n in names if names.count(n) > 1}
        if twice:
            raise ValueError(f"tiers: the name {sorted(twice)[0]!r} is given twice")
        refuse_literal_secrets(self.model_dump())
        refuse_mixed(self.tiers)
        if self.embedded is None and self.gateway.url is None:
            raise ValueError("gateway: url is missing")
        for name, handles in self.targets().items():
            why = handles.refused(self.place(name), self.embedded is not None)
            if why is not None:
                raise ValueError(f"{name!r}: handles: {why}")
        if self.embedded is not None:
            why = self.embedded.refused({t.name: t.handles for t in self.tiers})
            if why is not None:
                raise ValueError(why)
        elif self.cluster is None and any(h.on_cluster() for h in self.targets().values()):
            raise ValueError(
                "cluster is missing: the uid of the namespace kube-system "
                "(kubectl get ns kube-system -o jsonpath={.metadata.uid}); chaos touches that cluster and no other"
            )
        return self

    @property
    def ranks(self) -> list[list[str]]:
        """The tiers' names in fallback order (see `contract.ranks`).

        Deployments of one group and one order share a rank; those of a higher order are in a lower rank.
        """
        return [[t.name for t in found] for _, found in groupby(self.tiers, key=rank)]

    @property
    def balanced(self) -> dict[str, list[str]]:
        """Group → its deployments of the lowest order, over which requests are balanced; only groups with several of them."""
        topmost: dict[str, list[str]] = {}
        for names in self.ranks:
            match = self.tier(names[0]).match
            if match.of_several:
                topmost.setdefault(str(match.group), names)
        return {group: names for group, names in topmost.items() if len(names) > 1}

    def targets(self) -> dict[str, Handles]:
        """The targets of steps and their handles: the gateway, and the tiers in their order."""
        return {RESERVED[0]: self.gateway.handles} | {t.name: t.handles for t in self.tiers}

    def server(self, target: str) -> Gateway | Tier:
        """The gateway, or the tier of that name; it must exist."""
        return self.gateway if target in RESERVED else self.tier(target)

    def place(self, target: str) -> Place:
        """The place of the handles of the gateway, or of the tier of that name; it must exist."""
        server = self.server(target)
        cloud = (
            isinstance(server, Tier) and server.cloud
        )  # the stack sets no url for a cloud tier, which must not get direct requests
        url = server.url and server_of(server.url)
        return Place(target, url, filled_in=self.embedded is not None and not cloud)

    def tier(self, name: str) -> Tier:
        """The tier of that name; it must exist."""
        for tier in self.tiers:
            if tier.name == name:
                return tier
        raise KeyError(name)

    def tier_of(self, group: str | None, api_base: str | None) -> str | None:
        """The tier that served, from the gateway's headers; None: no tier matches.

        Definition: LiteLLM's headers are right on every status 200, and on no other.
        """
        return next((t.name for t in self.tiers if t.match.fits(group, api_base)), None)

    def unmatched(self, group: str | None, api_base: str | None) -> str:
        """Why no tier matches an answer with these headers."""
        if group is None and api_base is None:
            program = self.gateway.of_kind
            names = [name for name in (program.group, program.api_base) if name]
            return (
                f"without {' or '.join(names)}: the serving tier is unknown; "
                f"is it a {program.title} proxy, and does everything in front of it pass headers on?"
            )
        groups = [t.match.group for t in self.tiers if t.match.group]
        bases = [t.match.api_base for t in self.tiers if t.match.api_base]
        kind, came, known = (
            ("group", group, groups)
            if group and groups and not (bases and group in groups)
            else ("api_base", api_base, bases)
        )
        matches = ", ".join(f"{t.name} ({t.match.describe()})" for t in self.tiers)
        return f"no tier matches its group {group!r}, api_base {api_base!r}: {no_such(kind, came, known)}; tiers: {matches}"

    def ends_at_cap(self, via: str, tier: str | None) -> bool:
        """Whether an answer is expected to end at its cap: the tier's `witness`, else the gateway's, else yes."""
        settings = [t.witness for t in self.tiers if t.name == tier]
        if via in RESERVED:
            settings.append(self.gateway.witness)
        return next((setting for setting in settings if setting is not None), "length") == "length"


def read(path: Path, links: bool = True) -> Topology:
    """A topology from its file. `links`: False for a file of a run folder. Raises Refusal."""
    return load(path, Topology, links)


def read_text(text: str) -> Topology:
    """A topology from the output of `dump`."""
    return validate(yaml.safe_load(text), Topology, "topology")


def chat_url(url: str, api: Api = "openai") -> str:
    """The url for chat completions: `…/v1/chat/completions`, whether or not `url` ends in /v1."""
    if api == "ollama":
        return f"{url.rstrip('/')}/api/chat"
    return f"{server_of(url)}/v1/chat/completions"


def secret(name: str | None) -> str | None:
    """The key from the environment. Raises Refusal if it is not set, or not valid in a header."""
    return None if name is None else environment(name, "a key")


def dump(topology: Topology) -> str:
    """YAML that `read` accepts: keys as references, never as values."""
    data = topology.model_dump(by_alias=True, exclude_defaults=True, mode="json")
    for part in (data["gateway"], *data["tiers"]):
        if "api_key" in part:
            part["api_key"] = "${" + part["api_key"] + "}"
    if "cooldown" in data["gateway"]:
        data["gateway"]["cooldown"] = f"{data['gateway']['cooldown']:g}s"
    return yaml.safe_dump(data, sort_keys=False)
