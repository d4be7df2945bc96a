"""What verdict.json holds, field by field: docs/verdict.schema.json is made of this, and what is written is held to it."""

import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from analysis.judging.finding import Status


class _Told(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, from_attributes=True, use_attribute_docstrings=True
    )


class TrialJson(_Told):
    """What one trial of a step gave."""

    step: str
    """The step's name in the timeline."""
    trial: int = Field(ge=1)
    """Which walk of the timeline, from 1."""
    value: float | None
    """In the finding's `unit`; null: nothing was seen, and `why` says what was missing."""
    censored: bool
    """It is longer than `value`; how much longer nobody saw."""
    why: str | None
    """Of a null: what was missing."""


class FindingJson(_Told):
    """What was found out about one expectation."""

    name: str
    """The word under `expect:` in the timeline; or what every run is asked: `restored`, `run`, and `reconciled` where engines keep ledgers."""
    id: str | None
    """The operator's own number for it."""
    target: str
    """What was wanted, in words."""
    measured: str
    """What was found, in words."""
    status: Status
    """Whether what was wanted was found; without evidence it is `unknown`."""
    evidence: str
    """Which asks or events it rests on, in words."""
    value: float | None
    """The number that was judged."""
    unit: str | None
    """The unit of `value`, of `interval` and of the trials' values."""
    n: int | None = Field(ge=0)
    """How many trials, requests or pairs it rests on."""
    interval: tuple[float, float | None] | None
    """[low, high] of `value`, 95 %; a high of null: it is censored."""
    trials: list[TrialJson]
    """Each trial by itself; none where trials are not what is judged."""


class VerdictJson(_Told):
    """What a run proved. null is "nobody knows"; it is never 0."""

    run: str
    """The run's name."""
    status: Literal["not_restored", "aborted", "fail", "unknown", "pass"]
    """The worst of the findings, in this order."""
    exit_code: Literal[4, 3, 1, 5, 0]
    """Of `python -m analysis report`; in the order of `status`."""
    cut_short: str | None
    """Why the run did not come to its end; null: it did."""
    torn: list[str]
    """Files whose torn tail was skipped."""
    gateway_versions: dict[str, int] | None
    """Each version of the gateway that answers named → how many named it, the earliest first; null: none named one."""
    findings: list[FindingJson]
    """One for each expectation, then what every run is asked."""

    def plain(self) -> dict[str, Any]:
        """As JSON holds it: what is no finite number is null."""
        return dict(json.loads(self.model_dump_json()))


def schema() -> str:
    """The text of docs/verdict.schema.json."""
    told = VerdictJson.model_json_schema(mode="serialization")
    told = {"$schema": "https://json-schema.org/draft/2020-12/schema", **told, "title": "verdict.json"}
    return json.dumps(told, indent=1, ensure_ascii=False) + "\n"
