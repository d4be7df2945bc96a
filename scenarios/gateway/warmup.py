"""Before the run starts: warms up every route through the stack, and refuses a topology that contradicts the gateway's answers.

The first answer after a gateway's start takes seconds and must not be in any metric.
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
from scenarios.gateway.user_context import UserContext

TURNS = (
    5  # requests per deployment of a group, streamed and unstreamed: enough that a shuffle rarely misses one
)


def warm_up(user_context: UserContext) -> list[RequestRecord]:
    """Send requests to every group and every engine, streamed and unstreamed. Cloud tiers get none.

    The gateway's own group comes first and alone: if it does not answer, `preflight` refuses, and waiting for the other
    deadlines is useless.
    """
    first, *others = routes(user_context)
    requests = _warm_route(user_context, *first)
    if any(_answered(a) for a in requests):
        for found in gevent.pool.Group().map(lambda route: _warm_route(user_context, *route), others):
            requests += found
        for rank in user_context.topology.balanced.values():
            requests += _warm_each(user_context, rank)
    return requests


def check_gateway(user_context: UserContext) -> list[RequestRecord]:
    """A worker's warm-up, after the master's: checks that the gateway answers from this host, with this worker's key."""
    return _warm_route(user_context, *routes(user_context)[0])


def _warm_route(user_context: UserContext, via: str, model: str | None) -> list[RequestRecord]:
    sender = Sender(user_context, "warmup", lambda record, body_bytes: None)
    try:
        return [sender.send(_request(stream, via, model)) for stream in (True, False)]
    finally:
        sender.close()


def _warm_each(user_context: UserContext, rank: list[str]) -> list[RequestRecord]:
    """Send requests to a group until each of its deployments has answered, streamed and unstreamed, or TURNS are used up."""
    tier = user_context.topology.tier(rank[0])
    if tier.cloud:
        return []
    sender, requests = Sender(user_context, "warmup", lambda record, body_bytes: None), []
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


def routes(user_context: UserContext) -> list[tuple[str, str | None]]:
    """(via, model; None: the default model) of each route, the gateway's own group first."""
    topology = user_context.topology
    groups = [t.match.group for t in topology.tiers if t.match.group and not t.cloud]
    others = [g for g in dict.fromkeys(groups) if g != topology.gateway.model]
    return [
        (GATEWAY, None),
        *((GATEWAY, g) for g in others),
        *((t.name, None) for t in user_context.direct_tiers()),
    ]


def preflight(requests: list[RequestRecord], topology: Topology) -> None:
    """Raises Refusal if the gateway did not answer, or if the tier that answered is unknown."""
    through = [a for a in requests if a.via == GATEWAY]
    answers = [a for a in through if _answered(a)]
    if not answers:
        why = next((f"{a.outcome}: {a.error}" for a in through), "no request was sent")
        helps = advice(next((a.error for a in through), None))
        right = f"; {helps} (in the `gateway:` section)" if helps else ""
        raise Refusal(f"gateway: {topology.gateway.url} gives no answer; {why}{right}")
    for record in answers:
        if record.tier is None:
            raise Refusal(
                f"gateway: {topology.gateway.url} answers, but {topology.unmatched(record.route_group, record.route_api_base)}"
            )


def ended_early(requests: list[RequestRecord], topology: Topology) -> list[str]:
    """One sentence for each tier whose answers ended before their cap, as in a plan.

    The cap of a warm-up is small, so many models that end early are found only by a plan.
    """
    return early_end.by_tier(requests, topology)


def unhealthy(topology: Topology) -> list[str]:
    """One sentence per failing health url; each url gets one request. Raises Refusal if a key is missing."""
    urls = [(url, url.headers()) for url in health.urls_of(topology)]
    found = gevent.pool.Group().map(lambda of: health.wrong(of[0], health.check(*of)), urls)
    return [f"{url.name}: {wrong}" for (url, _), wrong in zip(urls, found, strict=True) if wrong]


def _answered(record: RequestRecord) -> bool:
    return record.status == 200 and (record.ttft_ms is not None or record.outcome == Outcome.OK)
