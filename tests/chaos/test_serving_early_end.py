"""A plan's report of answers that end before the cap, by the model itself or not."""

import pytest

from contract.topology import Topology
from tests.chaos.answering import LOCAL, NONE, SLOWLY, report
from tests.chaos.gateways import Gateway, Group
from tests.embedded.engine import running

NEVER_EARLY = [
    # the gateway's part, the tier's part, and whether an early end is reported
    ({}, {}, True), ({}, {"witness": "none"}, False), ({"witness": "none"}, {}, False),
    ({"witness": "none"}, {"witness": "length"}, True), ({"witness": "length"}, {"witness": "none"}, False),
]  # fmt: skip


@pytest.mark.parametrize(("finish", "tokens"), [("stop", 5), ("length", 32)])
@pytest.mark.parametrize(("gateways", "tiers", "reported"), NEVER_EARLY)
def test_with_witness_none_in_the_topology_an_early_end_is_well(finish, tokens, gateways, tiers, reported):
    with Gateway({"m": Group("m", LOCAL, tokens=tokens, finish=finish)}, ["m"]) as gateway:
        data = {
            "gateway": {"url": gateway.url, "model": "m"} | gateways,
            "tiers": [{"name": "vllm", "match": {"group": "m"}} | tiers],
        }
        lines = report(Topology.model_validate(data))
    early = [line for line in lines if "NOT WELL" in line]
    assert len(early) == (finish == "stop" and reported)
    assert all("ended before the cap (finish_reason stop at 5 of 32 tokens)" in line for line in early)


ENDS_EARLY = [
    # the engine's personality, its parameters, the tier's part, how its answers end
    ("vllm", ("--natural-length", "5"), {}, "stop at 5 of 32"),
    ("vllm", ("--natural-length", "5", "--reasoning", "reasoning", "--reasoning-tokens", "8"), {}, "stop at 13 of 32"),
    ("vllm", ("--natural-length", "5", "--reasoning", "hidden", "--reasoning-tokens", "8"), {}, "stop at 13 of 32"),
    ("ollama", ("--natural-length", "9"), {"api": "ollama"}, "stop at 9 of 32"),
    ("vllm", ("--natural-length", "32"), {}, None), ("vllm", ("--natural-length", "5"), {"ignore_eos": True}, None),
    ("vllm", ("--natural-length", "5"), {"witness": "none"}, None),
    ("ollama", ("--natural-length", "9"), {"ignore_eos": True}, "stop at 9 of 32"),
]  # fmt: skip


@pytest.mark.parametrize(("personality", "parameters", "tier", "end"), ENDS_EARLY)
def test_a_plan_reports_an_engine_that_ends_early_by_itself(
    tmp_path, topology, personality, parameters, tier, end
):
    with running(personality, tmp_path, *SLOWLY, *parameters) as engine:
        (line,) = [line for line in report(topology(engine, **tier))[1:] if end is None or "NOT WELL" in line]
    if end is None:
        assert "NOT WELL" not in line
    else:
        ignored = (
            ", although ignore_eos was sent: this engine does not honour it" if "ignore_eos" in tier else ""
        )
        assert line == (
            f"  vllm: NOT WELL: 2 of 2 answers ended before the cap (finish_reason {end} tokens){ignored}: "
            f"if the model ends early by itself, {NONE}"
        )
