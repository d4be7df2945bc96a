"""How a tier's answers are identified, and the check that each answer belongs to one tier."""

from collections.abc import Sequence
from itertools import combinations, groupby
from typing import Protocol, Self

from pydantic import Field, field_validator, model_validator

from contract.strict import Strict


class Match(Strict):
    """Identifies a tier's answers by the gateway's headers; by both if it is one of several deployments of a group."""

    group: str | None = None  # the header with the group that served, see contract/gateways/
    # The header with the deployment; in an embedded topology the api_base of the deployment in the gateway's configuration.
    api_base: str | None = None
    # The deployment's order in the gateway's configuration: a higher one gets requests only if the lower ones cannot answer.
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
        """Whether it is one deployment of a group: identified by both."""
        return self.group is not None and self.api_base is not None

    def fits(self, group: str | None, api_base: str | None) -> bool:
        """Whether an answer with these headers is this tier's."""
        return self.group in (None, group) and self.api_base in (None, (api_base or "").rstrip("/"))

    def describe(self) -> str:
        """`group vllm-qwen, api_base http://vllm-a:8000/v1`."""
        parts = (("group", self.group), ("api_base", self.api_base))
        return ", ".join(f"{key} {value}" for key, value in parts if value is not None)


class Matched(Protocol):
    """The part of a tier that is used here."""

    @property
    def name(self) -> str: ...
    @property
    def match(self) -> Match: ...
    @property
    def cloud(self) -> bool: ...


def rank(tier: Matched) -> tuple[str | None, int | None, str | None]:
    """Equal for deployments of one group and one order, and for no others."""
    match = tier.match
    return (match.group, match.order, None) if match.of_several else (None, None, tier.name)


def refuse_mixed(tiers: Sequence[Matched]) -> None:
    """Every answer must belong to one tier, and every tier must have one place in the fallback order. Raises ValueError."""
    for a, b in combinations(tiers, 2):
        one, other, which = a.match, b.match, f"tiers {a.name!r} and {b.name!r}"
        if (one.group, one.api_base) == (other.group, other.api_base):
            raise ValueError(
                f"{which}: match: both are {one.describe()}; deployments of one group are distinguished by their api_base"
            )
        for kind, distinguished_by in (("group", "api_base"), ("api_base", "group")):
            value = getattr(one, kind)
            alone = getattr(one, distinguished_by) is None or getattr(other, distinguished_by) is None
            if value is not None and value == getattr(other, kind) and alone:
                raise ValueError(
                    f"{which}: match: {kind} {value!r} is the only key in one of them, which also matches the other's "
                    f"answers; give both {distinguished_by}"
                )
    groups: dict[str | None, list[Matched]] = {}
    for tier in tiers:
        if tier.match.of_several:
            groups.setdefault(tier.match.group, []).append(tier)
    for group, deployments in groups.items():
        _refuse_a_group(tiers, group, deployments)


def _refuse_a_group(tiers: Sequence[Matched], group: str | None, deployments: list[Matched]) -> None:
    """The deployments of a group are adjacent and in their order; those of one rank are all cloud or all not."""
    first = list(tiers).index(deployments[0])
    if list(tiers[first : first + len(deployments)]) != deployments:
        raise ValueError(
            f"tiers: the deployments of group {group!r} are not adjacent; the gateway tries all of a group before it falls "
            "back to another one: list them one after the other"
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
            f"tiers: the deployments of group {group!r} are listed in the order {', '.join(map(str, given))}; the gateway "
            "tries the lowest first: list them in ascending order"
        )
    for _, peers in groupby(deployments, key=rank):
        if len({t.cloud for t in peers}) > 1:
            raise ValueError(
                f"tiers: group {group!r} has deployments that are cloud and others that are not, and balances between "
                "them, into the cloud without need: give the cloud a group of its own, or a higher "
                "order (in the gateway's configuration too)"
            )
