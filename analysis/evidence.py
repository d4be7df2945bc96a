"""What a run's tables show, computed once, so that checkers, tables and figures agree."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from analysis.frames import Frames
from analysis.metrics import (
    attribution,
    availability,
    by_tier,
    delivery,
    documents,
    health,
    ledger,
    outages,
    overhead,
    overload,
    parts,
    shares,
    target_loss,
)
from analysis.metrics.outages import Length
from analysis.metrics.windows import Trial, instant
from analysis.part_errors import Thrown

LOOK_BACK_S = 180.0  # longer than any request waits
BEARING = [
    "request_id", "scenario", "lane", "via", "stream", "sent_at", "outcome", "tier", "good", "ttft_ms", "latency_ms",
    "headers_at", "first_at", "ended_at", "scheduled_at", "touched", "clock_uncertainty_s",
]  # fmt: skip


@dataclass(frozen=True, eq=False)
class Evidence:
    """A run as checkers see it. All of it is derived from `frames` and can be recomputed. Instances compare by identity."""

    frames: Frames
    thrown: Thrown = field(default_factory=Thrown)
    """Exceptions raised while the run was judged and reported."""

    @property
    def trials(self) -> list[Trial]:
        return self.frames.trials

    def trials_of(self, step: str) -> list[Trial]:
        return [t for t in self.trials if t.step == step]

    @cached_property
    def parts(self) -> list[parts.Part]:
        """The run's parts: each fault's window, and the time before, between and after them."""
        f = self.frames
        return parts.parts_of(f.trials, f.started_at, f.ended_at)

    def around(self, trial: Trial) -> pd.DataFrame:
        """The requests that can affect a trial, with the columns BEARING: from LOOK_BACK_S before it (still waiting) to its end."""
        requests = self._bearing
        sent_at = requests["sent_at"].to_numpy(float)  # in order; those that were never sent are last
        begins_at = trial.gone_from if trial.gone_from is not None else trial.ends_at
        first = int(np.searchsorted(sent_at, begins_at - LOOK_BACK_S, "left"))
        last = int(np.searchsorted(sent_at, trial.ends_at, "right"))
        return requests.iloc[first:last]

    @cached_property
    def _bearing(self) -> pd.DataFrame:
        return self.frames.requests[shares.for_within(self.frames.requests, BEARING)]

    def fit(self, trial: Trial) -> pd.DataFrame:
        """`around` without the requests touched by an overloaded load generator: those that a failover may rest on."""
        requests = self.around(trial)
        return requests[~requests["touched"]] if requests["touched"].any() else requests

    def recovery(self, trial: Trial, limit_s: float) -> tuple[Length | None, str | None]:
        """How long the tier took to serve again, and why that is unknown, if it is.

        A touched request with a good answer by another tier counts: it shows that this tier did not serve, even if its
        times are wrong.
        """
        requests = self.around(trial)
        fit = ~requests["touched"] | (requests["good"] & ~target_loss.given_by(requests, trial.target))
        took = outages.recovery(
            requests if fit.all() else requests[fit], trial, self.trials, self.frames.ranks
        )
        since = trial.back_from
        if took is None or since is None:
            return took, None
        if trial.witness is not None and took.s > limit_s:
            return took, f"it took at most {took.s:.1f} s: chaos got no answer when {trial.target} was ready"
        return took, self._doubt(requests, fit, since, took, limit_s)

    @cached_property
    def lost(self) -> dict[tuple[str, int], target_loss.Lost]:
        """(step, trial) → when its target was lost, and the evidence; trials without evidence are missing."""
        f = self.frames
        found = {}
        for t in self.trials:
            seen = target_loss.lost(self.around(t), self.health, t, self.trials, f.ranks)
            if seen is not None:
                found[(t.step, t.trial)] = seen
        return found

    def lost_at(self, trial: Trial) -> float | None:
        seen = self.lost.get((trial.step, trial.trial))
        return None if seen is None else seen.at

    def loss(self, trial: Trial) -> str:
        """`lost at +40.31s (req-… was refused)`."""
        seen = self.lost.get((trial.step, trial.trial))
        if seen is None:
            return f"{trial.name}: nothing showed that {trial.target} was lost"
        return f"{trial.name}: {trial.target} lost at {self.instant(seen.at)} ({seen.evidence})"

    def instant(self, at: float | None) -> str:
        return instant(at, self.frames.started_at)

    def doubt(self, trial: Trial, since: float, took: Length, limit_s: float) -> str | None:
        """Why a length of a trial that began at `since` is unknown, in words; None: it is valid.

        A length beyond the limit needs a probe that sent requests: without requests there are no answers.
        """
        requests = self.around(trial)
        return self._doubt(requests, ~requests["touched"], since, took, limit_s)

    def _doubt(
        self, requests: pd.DataFrame, fit: pd.Series, since: float, took: Length, limit_s: float
    ) -> str | None:
        until = took.sent_at if took.sent_at is not None else since + took.s
        if overload.rests_on_overload(requests, fit, since, until):
            return "the load generator was overloaded in these seconds, and no other client sent requests"
        silent_s = self.unprobed.within(since, until).s
        if silent_s and (took.s > limit_s or took.censored):
            return f"the probe sent no request for {silent_s:.1f} s of it"
        return None

    def detection(self, took: Length, lost_at: float, to: str) -> tuple[float | None, float | None]:
        """Seconds until detection: by the calm TTFT of the tier that took over, and by its ledger."""
        calm_s = None if took.scenario is None else self._calm_ttft_s(to, took.scenario)
        by_ledger = outages.detection_by_ledger(took, lost_at, self.frames.ledgers.get(to))
        return outages.detection(took, calm_s), by_ledger

    def _calm_ttft_s(self, tier: str, scenario: str) -> float | None:
        if (tier, scenario) not in self._calm:
            self._calm[tier, scenario] = outages.calm_ttft_s(
                self.frames.requests, self.trials, tier, scenario
            )
        return self._calm[tier, scenario]

    @cached_property
    def _calm(self) -> dict[tuple[str, str], float | None]:
        return {}

    @cached_property
    def probed(self) -> tuple[float, float]:
        """When the probe was to send requests: from its first slot, or the first fault if that is earlier, to the run's end."""
        slots = [f["scheduled_at"].min() for f in (self._probe, self.frames.covered) if len(f)]
        begun = [t.begun_at for t in self.trials if t.begun_at is not None]
        return min([*slots, *begun], default=self.frames.started_at), self.frames.ended_at

    @cached_property
    def _probe(self) -> pd.DataFrame:
        requests = self.frames.requests
        return requests[BEARING][requests["lane"].isin(shares.PROBES)]

    @cached_property
    def unprobed(self) -> availability.Stretches:
        """Where the probe should have sent a request and did not."""
        return availability.unprobed(self._probe, self.frames.covered, self.trials, *self.probed)

    @cached_property
    def down(self) -> availability.Stretches | None:
        """Where the probe had no good answer, over the run; None: it sent no request."""
        return availability.down(self._probe, *self.probed)

    @cached_property
    def brown(self) -> availability.Stretches | None:
        """Where the probe's answers were good but outside the objectives, over the run."""
        return availability.brown(self._probe, *self.probed, self.ttft_max_ms)

    @property
    def ttft_max_ms(self) -> float | None:
        """The objective for TTFT."""
        return self.frames.timeline.objectives.ttft_ms if self.frames.timeline else None

    @cached_property
    def lower(self) -> pd.DataFrame:
        """Every answer by a lower tier, with its class."""
        f = self.frames
        at = {key: seen.at for key, seen in self.lost.items()}
        found = attribution.outages_of(self.trials, at, f.requests, f.topology.gateway.cooldown)
        return attribution.why_lower(f.requests, f.ranks, found, self.health)

    @cached_property
    def health(self) -> pd.DataFrame:
        """The health checks; contradicted ones are marked (`health.believed`)."""
        return health.believed(self.frames.samples["health"], self.frames.requests)

    @cached_property
    def clouds(self) -> list[str]:
        return [t.name for t in self.frames.topology.tiers if t.cloud]

    @cached_property
    def overloaded(self) -> pd.DataFrame:
        return overload.overloaded_seconds(self.frames.samples["client"])

    @cached_property
    def by_tier(self) -> list[by_tier.OfTier]:
        f = self.frames
        return by_tier.of_tiers(f.requests, f.topology.tiers, self.trials, self.ttft_max_ms)

    @cached_property
    def delivered(self) -> delivery.Delivery:
        return delivery.delivery(self.frames.requests, self.frames.samples["client"], self.overloaded)

    @cached_property
    def hidden(self) -> tuple[float, float, bool] | None:
        return delivery.hidden(self.frames.requests)

    @cached_property
    def classified(self) -> pd.DataFrame:
        """The requests through the gateway that classify a document, in the order in which they were sent."""
        return documents.through_gateway(self.frames.classified)

    @cached_property
    def documents(self) -> list[documents.OfTier]:
        """Each tier's results for documents; empty if the run classified none."""
        return documents.of_tiers(self.classified, self.frames.tiers) if len(self.classified) else []

    @cached_property
    def pairs(self) -> pd.DataFrame:
        return overhead.pairs_of(self.frames.requests)

    @cached_property
    def against_ledgers(self) -> ledger.Checked | None:
        """The recorded answers compared with the engines' ledgers; None: no ledgers."""
        f = self.frames
        if not f.has_ledgers:
            return None
        known = [requests["request_id"] for requests in (f.requests, f.warmup, f.covered)]
        return ledger.check(f.requests, known, f.ledgers, whole=f.cut_short is None and not f.torn)
