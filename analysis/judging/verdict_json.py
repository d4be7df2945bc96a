"""The fields of verdict.json. docs/verdict.schema.json is generated from these models, and the written file is validated by them."""

import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from analysis.judging.finding import Status


class _Model(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, from_attributes=True, use_attribute_docstrings=True
    )


class TrialJson(_Model):
    """The result of one trial of a step."""

    step: str
    """The step's name in the timeline."""
    trial: int = Field(ge=1)
    """Which round of the timeline, from 1."""
    value: float | None
    """In the finding's `unit`; null: nothing was seen, and `why` states what was missing."""
    censored: bool
    """It is longer than `value`; how much longer is unknown."""
    why: str | None
    """If `value` is null: what was missing."""


class FindingJson(_Model):
    """The result of one expectation."""

    name: str
    """The key under `expect:` in the timeline; or a check of every run: `restored`, `run`, and `reconciled` if engines keep ledgers."""
    id: str | None
    """The operator's ID of the requirement."""
    target: str
    """What was expected, in words."""
    measured: str
    """What was measured, in words."""
    status: Status
    """Whether it was met; without evidence it is `unknown`."""
    evidence: str
    """The requests or events that it rests on, in words."""
    value: float | None
    """The number that was judged."""
    unit: str | None
    """The unit of `value`, of `interval` and of the trials' values."""
    n: int | None = Field(ge=0)
    """Number of trials, requests or pairs that it rests on."""
    interval: tuple[float, float | None] | None
    """[low, high] of `value`, 95 %; a high of null: censored."""
    trials: list[TrialJson]
    """Each trial; empty if the expectation does not judge trials."""


class VerdictJson(_Model):
    """The verdict of a run. null means unknown, never 0."""

    run: str
    """The run's name."""
    status: Literal["not_restored", "aborted", "fail", "unknown", "pass"]
    """The worst of the findings, in this order."""
    exit_code: Literal[4, 3, 1, 5, 0]
    """Of `python -m analysis report`; in the order of `status`."""
    cut_short: str | None
    """Why the run did not finish; null: it did."""
    torn: list[str]
    """Files whose torn tail was skipped."""
    gateway_versions: dict[str, int] | None
    """Gateway version → number of answers that named it, the earliest first; null: no answer named one."""
    findings: list[FindingJson]
    """One for each expectation, then the checks of every run."""

    def plain(self) -> dict[str, Any]:
        """As JSON: numbers that are not finite become null."""
        return dict(json.loads(self.model_dump_json()))


def schema() -> str:
    """The text of docs/verdict.schema.json."""
    schema = VerdictJson.model_json_schema(mode="serialization")
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "verdict.json"}
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"
