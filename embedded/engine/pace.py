"""When each token is due. Does no I/O and reads no clock.

Law: a token is due after the one before it was *due*, not after it was written. So lateness never adds up, and what
fell due while the process was frozen comes at once when it thaws.
"""

from dataclasses import dataclass
from random import Random

# Of a vLLM 0.32, relative to its time with a prompt of ten words (190 ms with 1500 words to 20 ms), and with one sequence
# (6.7, 7.7, 9.4 and 12.0 ms a token with 1, 4, 8 and 16 of them).
PREFILL_PER_TOKEN = 0.0057
PER_SEQUENCE = 0.053
SHORT_PROMPT = 10  # tokens


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast an engine is, and how much slower when its slots fill."""

    time_to_first_token_s: float
    time_to_first_token_std_dev_s: float
    inter_token_latency_s: float
    inter_token_latency_std_dev_s: float
    time_factor_under_load: float
    max_num_seqs: int
    prefill_time_per_token_s: float = 0.0
    """Of each token of a prompt beyond a short one."""

    def factor(self, running: int) -> float:
        """What times are multiplied by: 1 with one sequence, linear, the whole factor with every slot taken."""
        if self.max_num_seqs == 1:
            return 1.0
        share = (running - 1) / (self.max_num_seqs - 1)
        return 1.0 + (self.time_factor_under_load - 1.0) * min(max(share, 0.0), 1.0)


class TokenClock:
    """Tells, token after token, when one answer's next token is due."""

    def __init__(self, pace: Pace, chance: Random, started_s: float, prompt_tokens: int = 0) -> None:
        self._pace = pace
        self._chance = chance
        self._due_s = started_s
        self._first = True
        self._prefill_s = max(prompt_tokens - SHORT_PROMPT, 0) * pace.prefill_time_per_token_s

    def resume(self, at_s: float) -> None:
        """Nothing was generated meanwhile: what follows is counted from this instant."""
        self._due_s = max(self._due_s, at_s)

    def next_due_s(self, running: int) -> float:
        """The instant of the next token, on the clock that started_s was read from, with so many running now."""
        pace = self._pace
        if self._first:
            self._first = False
            length_s = self._chance.gauss(pace.time_to_first_token_s, pace.time_to_first_token_std_dev_s)
            length_s = max(length_s, 0.0) + self._prefill_s
        else:
            length_s = self._chance.gauss(pace.inter_token_latency_s, pace.inter_token_latency_std_dev_s)
        # A wide deviation may draw below zero; a token cannot come before the one it follows.
        self._due_s += max(length_s, 0.0) * pace.factor(running)
        return self._due_s
