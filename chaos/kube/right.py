"""What a cluster must allow, verb by verb."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Right:
    """One thing that the cluster must allow us."""

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
