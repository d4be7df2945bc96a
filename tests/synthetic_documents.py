"""Documents that are classified in the world of `tests/synthetic_world.py`, by tiers of a stated accuracy.

    made = make(tmp_path, steps, extra=classify(steps, {"vllm": 0.95, "ollama": 0.9}, duration_s=200))

Like a client: one document after another, up to three calls for each, with a back-off between them. The stated accuracy is
exact over the whole corpus: the documents that a tier has wrong are drawn by rank.
"""

import random
from collections.abc import Mapping, Sequence

from contract.document import FIELDS
from contract.records import Lane, Outcome, RequestRecord, Witness
from tests.synthetic_world import OLLAMA, OPENAI, VLLM, Engine, Hole, World

CALLS = 3


def classify(
    steps: Sequence[Hole],
    accuracy: Mapping[str, float],
    documents: int = 60,
    invalid: Mapping[str, float] | None = None,
    duration_s: float = 200.0,
    users: int = 3,
    pause_s: float = 0.2,
    engines: Sequence[Engine] = (VLLM, OLLAMA, OPENAI),
    seed: int = 1,
) -> list[RequestRecord]:
    """Every call. `invalid`: the share of documents for which a tier's answer is not what the client can use, of the wrong ones."""
    world = World(engines, steps, random.Random(seed))
    ids = [f"paper_{i:03d}" for i in range(documents)]
    of_tier = {t: _worth(t, ids, share, (invalid or {}).get(t, 0.0), seed) for t, share in accuracy.items()}
    free = [0.3 + u * 0.1 for u in range(users)]
    turn = 0
    while (at := min(free)) < duration_s - 5:
        free[free.index(at)] = _one(world, at, ids[turn % documents], of_tier) + pause_s
        turn += 1
    for record in world.requests:
        record.request_id = f"doc-{record.request_id}"
    return world.requests


Worth = dict[str, tuple[bool, list[str] | None]]


def _worth(tier: str, ids: Sequence[str], accuracy: float, invalid: float, seed: int) -> Worth:
    """Document → (valid, wrong fields) of this tier's answer."""
    rank = list(ids)
    random.Random(f"{seed} {tier}").shuffle(rank)
    right, useless = round(accuracy * len(ids)), round(invalid * len(ids))
    assert right + useless <= len(ids)
    worth: Worth = {i: (True, []) for i in rank[:right]}
    worth |= dict.fromkeys(rank[right : right + useless], (False, None))
    worth |= {i: (True, [FIELDS[n % 4]]) for n, i in enumerate(rank[right + useless :])}
    return worth


def _one(world: World, at: float, document: str, of_tier: Mapping[str, Worth]) -> float:
    """Up to three calls for one document; when the last of them ended."""
    for attempt in range(1, CALLS + 1):
        record = world.through(at, Lane.LOAD)
        record.scenario, record.stream, record.max_tokens = "classify", False, None
        record.document, record.attempt = document, attempt
        record.ttft_ms, record.gaps_ms = (record.latency_ms if record.ttft_ms is not None else None), []
        assert record.latency_ms is not None
        at += record.latency_ms / 1000
        if record.tier is not None:
            if record.outcome == Outcome.OK:
                record.valid, record.wrong = of_tier[record.tier][document]
                record.finish_reason, record.witness = (
                    "stop",
                    Witness.CONTENT if record.valid else Witness.NONE,
                )
            return at
        at += 0.5 * 2 ** (attempt - 1)
    return at
