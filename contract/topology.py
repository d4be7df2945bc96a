"""The stack under test: a gateway, the tiers behind it in the order of the fallback, and what chaos may take hold of."""

from itertools import groupby
from pathlib import Path
from typing import Literal, Self

import yaml
from pydantic import Field, field_validator, model_validator

from contract import gateways
from contract.blast_radius import Handles
from contract.duration import Duration
from contract.embedded import Embedded
from contract.fields import RESERVED, BaseUrl, Name, SecretName, Url, server_of
from contract.gateway_kind import GatewayKind
from contract.handle_kind import Place
from contract.headers import Headers, environment
from contract.match import Match, rank, refuse_mixed
from contract.refusal import no_such
from contract.strict import Strict, load, validate

Api = Literal["openai", "ollama"]
WitnessWord = Literal["length", "none"]
CapField = Literal["max_tokens", "max_completion_tokens"]
Droppable = Literal["temperature"]


class Server(Strict):
    """What is said alike of the gateway and of a tier: as whom it is asked, and in which words."""

    api_key: SecretName | None = None
    headers: Headers = Field(default_factory=dict)  # they go out with every request to it, whatever it is for
    # PEM: who vouches for its certificate, in place of those whom this machine trusts.
    ca_file: str | None = None
    # none: the model ends early of its own accord, at the end that it chooses. Of a tier that says nothing the gateway's
    # word holds.
    witness: WitnessWord | None = None
    # See `contract.caps`. Users' prompts call for some ten thousand words, the probe's for counting without end.
    max_tokens: int | None = Field(default=None, ge=1, le=8192, strict=True)
    probe_max_tokens: int | None = Field(default=None, ge=1, le=4096, strict=True)
    max_tokens_field: CapField = "max_tokens"  # what it calls the cap
    drop_params: list[Droppable] = Field(
        default_factory=list
    )  # parameters that it refuses: it never gets them

    @model_validator(mode="after")
    def _authorized_once(self) -> Self:
        if self.api_key is not None and any(name.lower() == "authorization" for name in self.headers):
            raise ValueError("headers: Authorization: api_key sets it too; give one of them")
        return self


class Tier(Server):
    """One of the backends that the gateway falls through."""

    name: Name
    match: Match
    engine: str | None = None  # vLLM, Ollama, ...: a word for the report's table
    url: BaseUrl | None = None
    api: Api = "openai"  # how it is asked directly
    model: str | None = None
    health: Url | None = None
    ignore_eos: bool = False  # the engine honours it; it is sent on direct requests only
    cloud: bool = False  # costs money; must serve only when nothing above can
    handles: Handles = Handles()

    @model_validator(mode="after")
    def _askable(self) -> Self:
        if self.url and not self.model:
            raise ValueError(f"tier {self.name!r} has a url but no model")
        if self.api == "ollama":
            if self.url and self.url.endswith("/v1"):
                raise ValueError(
                    f"tier {self.name!r}: api ollama uses /api/chat; give the url without /v1"
                )
            if self.max_tokens_field != "max_tokens":
                raise ValueError(
                    f"tier {self.name!r}: api ollama calls the cap num_predict; leave max_tokens_field out"
                )
            if self.ignore_eos:
                raise ValueError(f"tier {self.name!r}: api ollama has no ignore_eos; leave it out")
        return self


class Gateway(Server):
    """The gateway and what clients ask it for."""

    kind: str = gateways.DEFAULT  # one of contract/gateways/
    url: BaseUrl | None = None
    model: str
    cooldown: Duration | None = None  # its router's cooldown_time: tells sticky from spurious answers
    health: Url | None = None  # one that asks no tier: /health/liveliness
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
        """The tiers' names in the order of the fallback (see `contract.ranks`).

        Deployments of one group and one order stand in one rank; those of a higher order stand below them.
        """
        return [[t.name for t in found] for _, found in groupby(self.tiers, key=rank)]

    @property
    def balanced(self) -> dict[str, list[str]]:
        """Group → the deployments that a request for it is spread over, where there are several: those of the lowest order."""
        topmost: dict[str, list[str]] = {}
        for names in self.ranks:
            match = self.tier(names[0]).match
            if match.of_several:
                topmost.setdefault(str(match.group), names)
        return {group: names for group, names in topmost.items() if len(names) > 1}

    def targets(self) -> dict[str, Handles]:
        """What a step may name, and what chaos may take hold of there: the gateway, and the tiers in their order."""
        return {RESERVED[0]: self.gateway.handles} | {t.name: t.handles for t in self.tiers}

    def server(self, target: str) -> Gateway | Tier:
        """The gateway, or the tier of that name; it must exist."""
        return self.gateway if target in RESERVED else self.tier(target)

    def place(self, target: str) -> Place:
        """Where the handles of the gateway, or of the tier of that name, stand; it must exist."""
        server = self.server(target)
        cloud = isinstance(server, Tier) and server.cloud  # the stack gives no url to what must not be asked
        url = server.url and server_of(server.url)
        return Place(target, url, filled_in=self.embedded is not None and not cloud)

    def tier(self, name: str) -> Tier:
        """The tier of that name; it must exist."""
        for tier in self.tiers:
            if tier.name == name:
                return tier
        raise KeyError(name)

    def tier_of(self, group: str | None, api_base: str | None) -> str | None:
        """Who served, from the gateway's headers; None where no tier matches.

        Definition: LiteLLM's headers are right on every status 200, and on no other.
        """
        return next((t.name for t in self.tiers if t.match.fits(group, api_base)), None)

    def unmatched(self, group: str | None, api_base: str | None) -> str:
        """Why no tier matches an answer with these headers, in words."""
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
        matches = ", ".join(f"{t.name} ({t.match.told()})" for t in self.tiers)
        return f"no tier matches its group {group!r}, api_base {api_base!r}: {no_such(kind, came, known)}; tiers: {matches}"

    def ends_at_cap(self, via: str, tier: str | None) -> bool:
        """Whether an answer is known to end at its cap: by the tier's word, else the gateway's; else it is."""
        words = [t.witness for t in self.tiers if t.name == tier]
        if via in RESERVED:
            words.append(self.gateway.witness)
        return next((word for word in words if word is not None), "length") == "length"


def read(path: Path) -> Topology:
    """A topology from its file. Raises Refusal."""
    return load(path, Topology)


def read_text(text: str) -> Topology:
    """A topology from what `dump` wrote."""
    return validate(yaml.safe_load(text), Topology, "topology")


def chat_url(url: str, api: Api = "openai") -> str:
    """Where chat completions are asked for: `…/v1/chat/completions`, whether or not the url ends in /v1."""
    if api == "ollama":
        return f"{url.rstrip('/')}/api/chat"
    return f"{server_of(url)}/v1/chat/completions"


def secret(name: str | None) -> str | None:
    """The key from the environment. Raises Refusal where it is not set, or no header can carry it."""
    return None if name is None else environment(name, "a key")


def dump(topology: Topology) -> str:
    """YAML that `read` reads back: keys as references, never as values."""
    data = topology.model_dump(by_alias=True, exclude_defaults=True, mode="json")
    for part in (data["gateway"], *data["tiers"]):
        if "api_key" in part:
            part["api_key"] = "${" + part["api_key"] + "}"
    if "cooldown" in data["gateway"]:
        data["gateway"]["cooldown"] = f"{data['gateway']['cooldown']:g}s"
    return yaml.safe_dump(data, sort_keys=False)
