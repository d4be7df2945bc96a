"""Before the clock starts: wakes every way through the stack, and refuses a topology that the gateway's answers belie.

The first answer after a gateway's boot takes seconds; no metric may rest on it.
"""

import gevent.pool

from contract import early_end, health
from contract.caps import Use, advice
from contract.prompt import COUNT_UPWARDS
from contract.records import GATEWAY, Lane, Outcome, RequestRecord
from contract.refusal import Refusal
from contract.request import Request
from contract.topology import Topology
from scenarios.gateway.sender import Sender
from scenarios.gateway.user_context import Stage

TURNS = 5  # so many asks for each deployment of a group, streamed and plain: a shuffle leaves one out seldom enough


def warm_up(stage: Stage) -> list[RequestRecord]:
    """Ask every group and every engine, streamed and plain. Cloud tiers are left alone.

    The gateway's own group comes first and alone: where it gives no answer `preflight` will refuse, and there is no
    point in waiting for the others' deadlines.
    """
    first, *others = ways(stage)
    requests = _wake(stage, *first)
    if any(_answered(a) for a in requests):
        for woken in gevent.pool.Group().map(lambda way: _wake(stage, *way), others):
            requests += woken
        for rank in stage.topology.balanced.values():
            requests += _wake_each(stage, rank)
    return requests


def knock(stage: Stage) -> list[RequestRecord]:
    """A worker's own, once the master has woken the stack: does the gateway answer from here, with the key held here?"""
    return _wake(stage, *ways(stage)[0])


def _wake(stage: Stage, via: str, model: str | None) -> list[RequestRecord]:
    sender = Sender(stage, "warmup", lambda record, body_bytes: None)
    try:
        return [sender.send(_request(stream, via, model)) for stream in (True, False)]
    finally:
        sender.close()


def _wake_each(stage: Stage, rank: list[str]) -> list[RequestRecord]:
    """Ask a group until each of its deployments has answered, streamed and plain, or had its TURNS."""
    tier = stage.topology.tier(rank[0])
    if tier.cloud:
        return []
    sender, requests = Sender(stage, "warmup", lambda record, body_bytes: None), []
    try:
        for stream in (True, False):
            missing = set(rank)
            for _ in range(TURNS * len(rank)):
                if not missing:
                    break
                requests.append(sender.send(_request(stream, GATEWAY, tier.match.group)))
                missing.discard(requests[-1].tier or "")
    finally:
        sender.close()
    return requests


def _request(stream: bool, via: str, model: str | None) -> Request:
    return Request(
        prompt=COUNT_UPWARDS, stream=stream, use=Use.WARMUP, via=via, model=model, lane=Lane.WARMUP
    )


def ways(stage: Stage) -> list[tuple[str, str | None]]:
    """Via whom and for which model (None: its own), the gateway's own group first."""
    topology = stage.topology
    groups = [t.match.group for t in topology.tiers if t.match.group and not t.cloud]
    others = [g for g in dict.fromkeys(groups) if g != topology.gateway.model]
    return [(GATEWAY, None), *((GATEWAY, g) for g in others), *((t.name, None) for t in stage.direct_tiers())]


def preflight(requests: list[RequestRecord], topology: Topology) -> None:
    """Raises Refusal when the gateway did not answer, or when nobody can say which tier did."""
    through = [a for a in requests if a.via == GATEWAY]
    answers = [a for a in through if _answered(a)]
    if not answers:
        why = next((f"{a.outcome}: {a.error}" for a in through), "it was not asked")
        helps = advice(next((a.error for a in through), None))
        right = f"; {helps} (in the section gateway)" if helps else ""
        raise Refusal(f"gateway: {topology.gateway.url} gives no answer; {why}{right}")
    for record in answers:
        if record.tier is None:
            raise Refusal(
                f"gateway: {topology.gateway.url} answers, but {topology.unmatched(record.route_group, record.route_api_base)}"
            )


def ended_early(requests: list[RequestRecord], topology: Topology) -> list[str]:
    """Of which tiers answers ended before their cap, in the sentence that a plan has for it.

    The cap of a warm-up is small, so that many a model that ends early is found by a plan alone.
    """
    return early_end.by_tier(requests, topology)


def unhealthy(topology: Topology) -> list[str]:
    """What is wrong with the health urls, a sentence each; each is asked once. Raises Refusal where a key is missing."""
    asked = [(url, url.headers()) for url in health.urls_of(topology)]
    found = gevent.pool.Group().map(lambda of: health.wrong(of[0], health.check(*of)), asked)
    return [f"{url.name}: {wrong}" for (url, _), wrong in zip(asked, found, strict=True) if wrong]


def _answered(record: RequestRecord) -> bool:
    return record.status == 200 and (record.ttft_ms is not None or record.outcome == Outcome.OK)
