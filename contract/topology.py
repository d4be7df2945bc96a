"""The stack under test: a gateway, the tiers behind it in the order of the fallback, and what chaos may take hold of."""

import re
from itertools import combinations, groupby
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

import yaml
from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from contract import gateways
from contract.duration import Duration
from contract.gateway_kind import GatewayKind
from contract.headers import Headers, environment
from contract.refusal import no_such
from contract.strict import Strict, load, validate

_NAME = re.compile(r"[a-z0-9]([a-z0-9_-]*[a-z0-9])?")
_ENV = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
RESERVED = ("gateway",)  # the word for "through the gateway" in records


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{text!r} is no url; write it like http://host:port")
    if parts.username or parts.password:
        raise ValueError("a url must not carry a user or a password; use api_key: ${NAME}")
    shown = text.partition("?")[0]  # a query may be secret
    if re.search(r"[\x00-\x20\x7f]", text):  # a request's first line cannot hold it
        raise ValueError(f"{shown!r} holds white space, which a url may not; write it like %20")
    try:
        parts.port  # noqa: B018  it is read here, and refused
    except ValueError:
        raise ValueError(f"{shown!r} has a port that there is not; write one from 1 to 65535") from None
    return text if parts.query else text.rstrip("/")


def _base_url(text: str) -> str:
    # A path is put behind it: one put behind a query or a fragment would be no path.
    url = _url(text)
    if "?" in url or "#" in url:
        raise ValueError(
            f"{url.partition('?')[0].partition('#')[0]!r} has a query or a fragment behind it, which cannot be sent; leave it out"
        )
    return url


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError(f"{text!r} is no name; use lower-case letters, digits, - and _")
    if text in RESERVED:
        raise ValueError(f"{text!r} is the gateway's own word; name the tier otherwise")
    return text


def _secret(text: object) -> str:
    # The value itself is never repeated: a refusal must not print the key that it refuses.
    found = _ENV.fullmatch(text) if isinstance(text, str) else None
    if not found:
        raise ValueError("a literal key is refused; write ${NAME} and put the key into the environment")
    return found.group(1)


def _handle(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9.-]+/[a-z0-9.-]+", text):
        raise ValueError(f"{text!r} is no handle; write namespace/name")
    namespace = text.split("/")[0]
    if namespace.startswith(("kube-", "openshift-")):
        raise ValueError(f"{text!r}: the namespace {namespace} is the cluster's own; chaos does not touch it")
    return text


def _object(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", text):
        raise ValueError(f"{text!r} is no name of an object; use lower-case letters, digits, - and .")
    return text


def _unit_name(text: str) -> str:
    # What begins with a dash would be taken for an option.
    if not re.fullmatch(r"[A-Za-z0-9:_.@\\][A-Za-z0-9:_.@\\-]*\.service", text):
        raise ValueError(f"{text!r} is no unit; write name.service")
    return text


def _ssh_host(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.][A-Za-z0-9_.@:-]*", text):
        raise ValueError(f"{text!r} is no host for ssh; write host or user@host")
    return text


Url = Annotated[str, AfterValidator(_url)]
BaseUrl = Annotated[str, AfterValidator(_base_url)]
"""Of a server, whose paths come behind it; a `Url` is one page, with its query."""
Name = Annotated[str, AfterValidator(_name)]
SecretName = Annotated[str, BeforeValidator(_secret)]
"""`${NAME}` in YAML; the name of the environment variable in Python. The secret itself is read where it is used."""
NamespacedName = Annotated[str, AfterValidator(_handle)]
ObjectName = Annotated[str, AfterValidator(_object)]
UnitName = Annotated[str, AfterValidator(_unit_name)]
SshHost = Annotated[str, AfterValidator(_ssh_host)]
Argv = Annotated[list[str], Field(min_length=1)]
Api = Literal["openai", "ollama"]
WitnessWord = Literal["length", "none"]
CapField = Literal["max_tokens", "max_completion_tokens"]
Droppable = Literal["temperature"]


class Unit(Strict):
    """A systemd unit: of the system or of the user, here or on another host."""

    name: UnitName
    user: bool = False
    ssh: SshHost | None = None  # as ssh takes it: host, user@host, or a Host of its configuration


class Process(Strict):
    """A process known by the file that holds its pid; `start` begins it anew where nothing else does."""

    pidfile: str
    start: Argv | None = None


class Command(Strict):
    """Commands of the operator's own, each a list of arguments; there is no shell. Exit status 0 is success.

    `check` succeeds while the target is there, and fails while it is away.
    """

    inject: Argv
    check: Argv
    mend: Argv
    deadman: Argv | None = None  # arms what mends without us; {seconds} is replaced by the time it has


EMBEDDED: Final = "embedded"
"""In an embedded topology: the process, or the engine, that is started for this tier. The stack fills it in."""


class Handles(Strict):
    """What chaos may take hold of: the blast radius. What is not listed here is not touched."""

    deployment: NamespacedName | None = None
    statefulset: NamespacedName | None = None
    node: ObjectName | None = None
    unit: Unit | None = None
    process: Process | Literal["embedded"] | None = None
    command: Command | None = None
    engine: BaseUrl | Literal["embedded"] | None = (
        None  # an embedded engine's own switch for faults inside answers
    )
    unprotected: bool = (
        False  # a fault may be made though nothing mends it when every process of ours is killed
    )

    @field_validator("unit", mode="before")
    @classmethod
    def _unit(cls, value: object) -> object:
        return {"name": value} if isinstance(value, str) else value

    def kinds(self) -> list[str]:
        """The words of the handles that are given."""
        return [k for k in type(self).model_fields if k != "unprotected" and getattr(self, k) is not None]

    def on_cluster(self) -> bool:
        return any(kind in CLUSTER_KINDS for kind in self.kinds())


CLUSTER_KINDS = ("deployment", "statefulset", "node")


class Match(Strict):
    """How a tier's answers are known by the gateway's headers; by both where it is one of several deployments of a group."""

    group: str | None = None  # by the header with the group that served, see contract/gateways/
    # By the header with the deployment; in an embedded topology the api_base that the gateway's configuration gives the deployment
    api_base: str | None = None
    # The deployment's order in the gateway's configuration: those of a higher one are asked when those below cannot answer.
    order: int | None = Field(default=None, ge=0, strict=True)

    @field_validator("api_base")
    @classmethod
    def _without_slash(cls, text: str | None) -> str | None:
        return None if text is None else text.rstrip("/")

    @model_validator(mode="after")
    def _known(self) -> Self:
        if self.group is None and self.api_base is None:
            raise ValueError("give group, or api_base, or both for one of several deployments of a group")
        if self.order is not None and not self.of_several:
            raise ValueError(
                "order is for one of several deployments of a group: give its group and api_base too"
            )
        return self

    @property
    def of_several(self) -> bool:
        """Whether it is one deployment of a group: known by both."""
        return self.group is not None and self.api_base is not None

    def fits(self, group: str | None, api_base: str | None) -> bool:
        """Whether an answer with these headers is this tier's."""
        return self.group in (None, group) and self.api_base in (None, (api_base or "").rstrip("/"))

    def told(self) -> str:
        """`group vllm-qwen, api_base http://vllm-a:8000/v1`: all that an answer shows of it."""
        parts = (("group", self.group), ("api_base", self.api_base))
        return ", ".join(f"{word} {value}" for word, value in parts if value is not None)


class Server(Strict):
    """What is said alike of the gateway and of a tier: as whom it is asked, and in which words."""

    api_key: SecretName | None = None
    headers: Headers = Field(default_factory=dict)  # they go out with every request to it, whatever it is for
    ca_file: str | None = (
        None  # PEM: who vouches for its certificate, in place of those whom this machine trusts
    )
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
    ignore_eos: bool = False  # the engine honours it; it is sent on direct asks only
    cloud: bool = False  # costs money; must serve only when nothing above can
    handles: Handles = Handles()

    @model_validator(mode="after")
    def _askable(self) -> Self:
        if self.url and not self.model:
            raise ValueError(f"tier {self.name!r} has a url but no model to ask there for")
        if self.api == "ollama":
            if self.url and self.url.endswith("/v1"):
                raise ValueError(
                    f"tier {self.name!r}: api ollama is asked at /api/chat; give the url without /v1"
                )
            if self.max_tokens_field != "max_tokens":
                raise ValueError(
                    f"tier {self.name!r}: api ollama calls the cap num_predict; leave max_tokens_field out"
                )
            if self.ignore_eos:
                raise ValueError(f"tier {self.name!r}: api ollama knows no ignore_eos; leave it out")
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

    @model_validator(mode="after")
    def _no_engine(self) -> Self:
        if self.handles.engine is not None:
            raise ValueError("gateway: handles: engine is for tiers: a gateway has no switch for faults")
        return self


class InferenceService(Strict):
    """A tier of an embedded stack as KServe would serve it: its Deployment is that of a predictor."""

    autoscaler_class: Literal["hpa", "keda", "external", "none"] | None = (
        None  # None: the annotation is not given
    )
    min_replicas: int = Field(default=1, ge=0)


class Embedded(Strict):
    """A stack that is started on this machine for the run; `python -m embedded` fills in the urls."""

    gateway: str  # a LiteLLM configuration, beside the topology
    engines: dict[str, dict[str, Any]]  # tier → which engine, and its parameters
    kserve: dict[str, InferenceService] = Field(
        default_factory=dict
    )  # tier → the InferenceService whose predictor it is


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
            raise ValueError(f"tiers: the name {sorted(twice)[0]!r} stands twice")
        self._refuse_mixed_matches()
        if self.embedded is None:
            if self.gateway.url is None:
                raise ValueError("gateway: url is missing")
            for name, handles in self.targets().items():
                if EMBEDDED in (handles.process, handles.engine):
                    raise ValueError(f"{name!r}: handles: the word embedded needs a part embedded")
            if self.cluster is None and any(h.on_cluster() for h in self.targets().values()):
                raise ValueError(
                    "cluster is missing: the uid of the namespace kube-system "
                    "(kubectl get ns kube-system -o jsonpath={.metadata.uid}); chaos touches that cluster and no other"
                )
        else:
            for name in self.embedded.engines:
                if name not in names:
                    raise ValueError(f"embedded: engines: {name!r} is none of the tiers {', '.join(names)}")
            for name in self.embedded.kserve:
                handle = next((t.handles.deployment for t in self.tiers if t.name == name), None)
                if handle is None or not handle.endswith("-predictor"):
                    raise ValueError(
                        f"embedded: kserve: {name!r} needs a tier with handles: deployment: namespace/<name>-predictor"
                    )
        return self

    def _refuse_mixed_matches(self) -> None:
        """Every answer must be one tier's, and every tier's place in the fallback's order one."""
        for a, b in combinations(self.tiers, 2):
            one, other, which = a.match, b.match, f"tiers {a.name!r} and {b.name!r}"
            if (one.group, one.api_base) == (other.group, other.api_base):
                raise ValueError(
                    f"{which}: match: both are {one.told()}; deployments of one group are told apart by their api_base"
                )
            for kind, told_by in (("group", "api_base"), ("api_base", "group")):
                value = getattr(one, kind)
                alone = getattr(one, told_by) is None or getattr(other, told_by) is None
                if value is not None and value == getattr(other, kind) and alone:
                    raise ValueError(
                        f"{which}: match: {kind} {value!r} stands alone in one of them, which takes the other's answers "
                        f"too; give both {told_by}"
                    )
        groups: dict[str | None, list[Tier]] = {}
        for tier in self.tiers:
            if tier.match.of_several:
                groups.setdefault(tier.match.group, []).append(tier)
        for group, deployments in groups.items():
            self._refuse_a_group(group, deployments)

    def _refuse_a_group(self, group: str | None, deployments: list[Tier]) -> None:
        """The deployments of a group stand together, in their order, and those of one rank are alike in what they cost."""
        first = self.tiers.index(deployments[0])
        if self.tiers[first : first + len(deployments)] != deployments:
            raise ValueError(
                f"tiers: the deployments of group {group!r} stand apart; the gateway tries all of a group before it falls "
                "back to another one: write them one after the other"
            )
        orders = [t.match.order for t in deployments]
        given = [order for order in orders if order is not None]
        if given and len(given) < len(orders):
            raise ValueError(
                f"tiers: group {group!r} has deployments with an order and others without; give it for all of them: one that "
                "has none in the gateway's configuration comes last, and only when all others are cooled down"
            )
        if given != sorted(given):
            raise ValueError(
                f"tiers: the deployments of group {group!r} stand in the order {', '.join(map(str, given))}; the lowest is "
                "asked first: write them in that order"
            )
        for _, rank in groupby(deployments, key=_rank):
            if len({t.cloud for t in rank}) > 1:
                raise ValueError(
                    f"tiers: group {group!r} has deployments that are cloud and others that are not, and balances between "
                    "them, into the cloud without need: give the cloud a group of its own, or a higher "
                    "order (in the gateway's configuration too)"
                )

    @property
    def ranks(self) -> list[list[str]]:
        """The tiers' names in the order of the fallback (see `contract.ranks`).

        Deployments of one group and one order stand in one rank; those of a higher order stand below them.
        """
        return [[t.name for t in found] for _, found in groupby(self.tiers, key=_rank)]

    @property
    def balanced(self) -> dict[str, list[str]]:
        """Group → the deployments that a request for it is spread over, where there are several: those of the lowest order."""
        topmost: dict[str, list[str]] = {}
        for rank in self.ranks:
            match = self.tier(rank[0]).match
            if match.of_several:
                topmost.setdefault(str(match.group), rank)
        return {group: rank for group, rank in topmost.items() if len(rank) > 1}

    def targets(self) -> dict[str, Handles]:
        """What a step may name, and what chaos may take hold of there: the gateway, and the tiers in their order."""
        return {RESERVED[0]: self.gateway.handles} | {t.name: t.handles for t in self.tiers}

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
                f"without {' or '.join(names)}: nobody can say which tier served; "
                f"is it a {program.title} proxy, and does all before it pass headers on?"
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


def _rank(tier: Tier) -> tuple[str | None, int | None, str | None]:
    """Equal for deployments of one group and one order, and for no others."""
    match = tier.match
    return (match.group, match.order, None) if match.of_several else (None, None, tier.name)


def read(path: Path) -> Topology:
    """A topology from its file. Raises Refusal."""
    return load(path, Topology)


def read_text(text: str) -> Topology:
    """A topology from what `dump` wrote."""
    return validate(yaml.safe_load(text), Topology, "topology")


def chat_url(url: str, api: Api = "openai") -> str:
    """Where chat completions are asked for: `…/v1/chat/completions`, whether or not the url ends in /v1."""
    base = url.rstrip("/")
    if api == "ollama":
        return f"{base}/api/chat"
    return f"{base}/chat/completions" if base.endswith("/v1") else f"{base}/v1/chat/completions"


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
