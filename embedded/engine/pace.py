"""When each token is due. Does no I/O and reads no clock.

Law: a token's due time counts from the *due* time of the previous token, not from its write. So delays do not add up,
and tokens that became due while the process was frozen are sent at once when it thaws.
"""

from dataclasses import dataclass
from random import Random

# Measured on vLLM 0.32, relative to its time with a prompt of 10 words (1500 words: 190 ms, 10 words: 20 ms), and to its
# time per token with one sequence (1, 4, 8 and 16 sequences: 6.7, 7.7, 9.4 and 12.0 ms per token).
PREFILL_PER_TOKEN = 0.0057
PER_SEQUENCE = 0.053
SHORT_PROMPT = 10  # tokens


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast an engine is, and how much slower it gets as its slots fill."""

    time_to_first_token_s: float
    time_to_first_token_std_dev_s: float
    inter_token_latency_s: float
    inter_token_latency_std_dev_s: float
    time_factor_under_load: float
    max_num_seqs: int
    prefill_time_per_token_s: float = 0.0
    """Per prompt token beyond SHORT_PROMPT."""

    def factor(self, running: int) -> float:
        """The factor on times: linear from 1 with one sequence to `time_factor_under_load` with every slot taken."""
        if self.max_num_seqs == 1:
            return 1.0
        share = (running - 1) / (self.max_num_seqs - 1)
        return 1.0 + (self.time_factor_under_load - 1.0) * min(max(share, 0.0), 1.0)


class TokenClock:
    """Computes when each token of one answer is due."""

    def __init__(self, pace: Pace, chance: Random, started_s: float, prompt_tokens: int = 0) -> None:
        self._pace = pace
        self._chance = chance
        self._due_s = started_s
        self._first = True
        self._prefill_s = max(prompt_tokens - SHORT_PROMPT, 0) * pace.prefill_time_per_token_s

    def resume(self, at_s: float) -> None:
        """Nothing was generated until `at_s`: later tokens count from then."""
        self._due_s = max(self._due_s, at_s)

    def next_due_s(self, running: int) -> float:
        """When the next token is due, on the clock of `started_s`, with `running` sequences."""
        pace = self._pace
        if self._first:
            self._first = False
            length_s = self._chance.gauss(pace.time_to_first_token_s, pace.time_to_first_token_std_dev_s)
            length_s = max(length_s, 0.0) + self._prefill_s
        else:
            length_s = self._chance.gauss(pace.inter_token_latency_s, pace.inter_token_latency_std_dev_s)
        # A wide deviation may draw a negative time; a token cannot come before its predecessor.
        self._due_s += max(length_s, 0.0) * pace.factor(running)
        return self._due_s
