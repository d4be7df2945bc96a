"""What a run's tables show, worked out once: checkers, tables and figures all read from here and agree."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from analysis import attribution, lost, metrics
from analysis.frames import Frames
from analysis.windows import Trial, instant

LOOK_BACK_S = 180.0  # longer than any ask waits


@dataclass(frozen=True)
class Evidence:
    """A run as checkers see it. Everything here is derived from `frames` and can be made again."""

    frames: Frames

    @property
    def trials(self) -> list[Trial]:
        return self.frames.trials

    def trials_of(self, step: str) -> list[Trial]:
        return [t for t in self.trials if t.step == step]

    def around(self, trial: Trial) -> pd.DataFrame:
        """The asks that can bear on a trial: from a while before it (those that were still waiting) to its end."""
        asks = self.frames.asks
        sent_at = asks["sent_at"].to_numpy(float)  # in order; those that were never sent are last
        begins_at = trial.gone_from if trial.gone_from is not None else trial.ends_at
        first = int(np.searchsorted(sent_at, begins_at - LOOK_BACK_S, "left"))
        last = int(np.searchsorted(sent_at, trial.ends_at, "right"))
        return asks.iloc[first:last]

    @cached_property
    def lost(self) -> dict[tuple[str, int], lost.Lost]:
        """(step, trial) → when and by what its target was seen to be lost; those without evidence are missing."""
        f = self.frames
        found = {}
        for t in self.trials:
            seen = lost.lost(self.around(t), f.health, t, self.trials, f.tiers)
            if seen is not None:
                found[(t.step, t.trial)] = seen
        return found

    def lost_at(self, trial: Trial) -> float | None:
        seen = self.lost.get((trial.step, trial.trial))
        return None if seen is None else seen.at

    def loss(self, trial: Trial) -> str:
        """`lost at +40.31s (ask-… was refused)`."""
        seen = self.lost.get((trial.step, trial.trial))
        if seen is None:
            return f"{trial.name}: nothing showed that {trial.target} was lost"
        return f"{trial.name}: {trial.target} lost at {self.instant(seen.at)} ({seen.evidence})"

    def instant(self, at: float | None) -> str:
        return instant(at, self.frames.started_at)

    @cached_property
    def lower(self) -> pd.DataFrame:
        """Every answer that a lower tier gave, with its class."""
        f = self.frames
        at = {key: seen.at for key, seen in self.lost.items()}
        found = attribution.outages_of(self.trials, at, f.asks, f.topology.gateway.cooldown)
        return attribution.why_lower(f.gateway_asks, f.tiers, found, f.health)

    @cached_property
    def clouds(self) -> list[str]:
        return [t.name for t in self.frames.topology.tiers if t.cloud]

    @cached_property
    def overloaded(self) -> pd.DataFrame:
        return metrics.overloaded_seconds(self.frames.client)

    @cached_property
    def pairs(self) -> pd.DataFrame:
        return metrics.overhead_pairs(self.frames.asks, self.overloaded)
