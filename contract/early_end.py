"""Answers that ended before their cap with a proper finish_reason: by the model, or cut? One sentence for plan and warm-up. Pure.

One such answer proves neither: behind a gateway a terminated engine looks the same, because the gateway turns its "abort" into
"stop". So the sentence gives the counts, and the setting for a model that ends early.
"""

from collections.abc import Sequence

from contract.outcome import ended_early
from contract.records import GATEWAY, Outcome, RequestRecord
from contract.topology import Topology


def sentence(requests: Sequence[RequestRecord], topology: Topology) -> str | None:
    """For requests that one server answered for one tier; None: no answer ended early.

    Only answers that were judged by their cap are counted.
    """
    early = [a for a in requests if ended_early(a)]
    if not early:
        return None
    empty = sum(a.outcome == Outcome.BROKEN and a.finish_reason is not None for a in requests)
    judged = len(early) + empty + sum(a.outcome == Outcome.OK for a in requests)
    first = early[0]
    counted = f"{len(early)} of {judged} answers ended before the cap ({first.error})"
    if empty:
        counted += f" and {empty} before the first token, which is broken with any witness"
    where = f"tier {first.tier!r}" if first.tier is not None else "the `gateway:` section"
    if first.via != GATEWAY and topology.tier(first.via).ignore_eos:
        counted += ", although ignore_eos was sent: this engine does not honour it"
    right = f"write witness: none in {where}, and a cut of its answers is no longer detected"
    if len(early) == judged > 1:
        return f"{counted}: if the model ends early by itself, {right}"
    return f"{counted}: the model ends early now and then, or an answer was cut; only if it is the model, {right}"


def by_tier(requests: Sequence[RequestRecord], topology: Topology) -> list[str]:
    """A sentence for each way to a tier whose answers ended early, in the order of the requests."""
    ways: dict[tuple[str, str | None], list[RequestRecord]] = {}
    for record in requests:
        ways.setdefault((record.via, record.tier), []).append(record)
    found = ((via, sentence(of, topology)) for (via, _), of in ways.items())
    return [f"{via}: {words}" for via, words in found if words is not None]
