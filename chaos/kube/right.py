"""The rights that we need on a cluster, one for each verb."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Right:
    """One right that we need."""

    verb: str
    group: str
    resource: str  # deployments, deployments/scale
    namespace: str | None  # None: it is not in a namespace
    name: str | None = None

    def __str__(self) -> str:
        where = f" in {self.namespace}" if self.namespace else ""
        return (
            f"{self.verb} {self.resource}{'.' + self.group if self.group else ''} {self.name or ''}".rstrip()
            + where
        )
