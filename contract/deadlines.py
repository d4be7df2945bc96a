"""How long a request may take, and which deadline applies now: of users, probe, inspection and verification. Pure.

The values: of users in `scenarios/gateway/user_context.py`, of the probe in `chaos/probe/probe.py`.

Keep-alives do not move a deadline: comments, empty deltas, words and white space. Until the first token (a thought is one)
the deadline for the first token applies. After it, silence is counted from the last output (`contract.stream.LastOutput`).
"""

from dataclasses import dataclass

from contract.framing import End


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds."""

    connect: float  # name lookup, TCP and TLS together
    first_token: float  # from sent to the first token, shown or thought; of a plain answer, its body
    silence: float  # from the last output, once a token has come
    whole: float  # from sent to the end


@dataclass(frozen=True, slots=True)
class Due:
    """When an exchange is overdue (a reading of the monotonic clock), and how it is then ended."""

    at: float
    end: End
    why: str


def due(deadlines: Deadlines, sent_at: float, last_at: float | None) -> Due:
    """The earliest deadline. `last_at`: the instant of the last output; None before the first token."""
    whole_at = sent_at + deadlines.whole
    if last_at is None:
        first_at = sent_at + deadlines.first_token
        if first_at <= whole_at:
            return Due(first_at, End.LATE, f"no first token in {deadlines.first_token:g} s")
        return Due(whole_at, End.LATE, f"no first token in {deadlines.whole:g} s")
    silent_at = last_at + deadlines.silence
    if silent_at <= whole_at:
        return Due(silent_at, End.SILENT, f"silent for {deadlines.silence:g} s")
    return Due(whole_at, End.SILENT, f"not whole in {deadlines.whole:g} s")
