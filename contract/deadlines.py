"""How long a request may take, and which deadline it is held to now: of users, probe, inspection and verification. Pure.

How long it is stands where it is decided: of users in `scenarios/gateway/user_context.py`, of the probe in `chaos/probe/probe.py`.

Pings are no life: comments, empty deltas, words and white space move no deadline, as if they had not come. Until the first
token (be it a thought) the deadline for that holds, whatever a server pings while it reads the prompt; from then on silence
is counted from what was said last (`contract.stream.Said`).
"""

from dataclasses import dataclass

from contract.framing import End


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds."""

    connect: float  # name lookup, TCP and TLS together
    first_token: float  # from sent to the first token, shown or thought; of a plain answer, its body
    silence: float  # from what was said last, once a token is there
    whole: float  # from sent to the end


@dataclass(frozen=True, slots=True)
class Due:
    """When an exchange is overdue (a reading of the monotonic clock), and as what it is ended then."""

    at: float
    end: End
    why: str


def due(deadlines: Deadlines, sent_at: float, last_at: float | None) -> Due:
    """The deadline that comes first. `last_at`: when something was last said, None as long as there is no token."""
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
