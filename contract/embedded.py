"""The section `embedded:` of a topology: a stack that is started on this machine for the run."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from contract.blast_radius import Handles
from contract.strict import Strict


class InferenceService(Strict):
    """A tier of an embedded stack served as by KServe: its Deployment is a predictor's."""

    # None: the annotation is not given.
    autoscaler_class: Literal["hpa", "keda", "external", "none"] | None = None
    min_replicas: int = Field(default=1, ge=0)


class Embedded(Strict):
    """A stack that is started on this machine for the run; `python -m embedded` fills in the urls."""

    gateway: str  # a LiteLLM configuration, beside the topology
    engines: dict[str, dict[str, Any]]  # tier → which engine, and its parameters
    kserve: dict[str, InferenceService] = Field(
        default_factory=dict
    )  # tier → the InferenceService whose predictor it is

    def refused(self, tiers: Mapping[str, Handles]) -> str | None:
        """Why it does not fit these tiers; None: it does."""
        for name in self.engines:
            if name not in tiers:
                return f"embedded: engines: {name!r} is not one of the tiers {', '.join(tiers)}"
        for name in self.kserve:
            handle = tiers[name].get("deployment") if name in tiers else None
            if handle is None or not handle.endswith("-predictor"):
                return f"embedded: kserve: {name!r} needs a tier with handles: deployment: namespace/<name>-predictor"
        return None
