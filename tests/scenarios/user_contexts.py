"""User contexts for tests: a topology of three tiers, some with urls, and a recorder that keeps its records."""

from collections.abc import Sequence
from typing import Any

from contract.clock import Clock
from contract.deadlines import Deadlines
from contract.records import RequestRecord
from contract.topology import Topology
from scenarios.gateway.recorder import Recorder
from scenarios.gateway.user_context import UserContext, endpoints

CAP, DIRECT_CAP = 5, 4


class Kept:
    """Replaces an ArrowFile."""

    def __init__(self) -> None:
        self.records: list[RequestRecord] = []
        self.closed = 0

    def append(self, records: Sequence[RequestRecord]) -> None:
        self.records += records

    def close(self) -> None:
        self.closed += 1


def topology(
    gateway: str, vllm: str | None = None, ollama: str | None = None, api: str = "openai"
) -> Topology:
    return Topology.model_validate(
        {
            "gateway": {"url": gateway, "model": "a", "max_tokens": CAP},
            "tiers": [
                {
                    "name": "vllm",
                    "match": {"group": "a"},
                    "url": vllm,
                    "model": "qwen",
                    "ignore_eos": True,
                    "max_tokens": DIRECT_CAP,
                },
                {"name": "ollama", "match": {"group": "b"}, "url": ollama, "model": "qwen", "api": api},
                {"name": "openai", "match": {"group": "c"}, "url": gateway, "model": "gpt", "cloud": True},
            ],
        }
    )


def user_context(
    gateway: str,
    vllm: str | None = None,
    ollama: str | None = None,
    recorder: Recorder | None = None,
    api: str = "openai",
    **given: Any,
) -> UserContext:
    found = topology(gateway, vllm, ollama, api)
    front, tiers = endpoints(found)
    return UserContext(
        topology=found, recorder=recorder or Recorder(Kept(), print), clock=Clock(), seed=1, prefix="3f9c01",
        gateway=front, tiers=tiers,
        **({"deadlines": Deadlines(connect=1, first_token=0.5, silence=0.4, whole=2)} | given),
    )  # fmt: skip


def kept(user_context: UserContext) -> list[RequestRecord]:
    """The records so far."""
    user_context.recorder.flush()
    file = user_context.recorder._file
    assert isinstance(file, Kept)
    return file.records
