"""A plan on a real gateway whose tiers' models end early by themselves: each way to each tier, and what to write."""

from pathlib import Path

import pytest
import yaml

from chaos.probe import serving
from contract import topology as topologies
from contract.topology import Topology
from tests.chaos.stand import ROOT
from tests.whole.real import Real

pytestmark = [pytest.mark.verify, pytest.mark.timeout(600)]  # a gateway of its own

TURNS = 8  # of plans, until the first answer of the model of random weights has a token
EARLY = {"natural-length": 9}
# A real llama.cpp with a model of random weights: of 150 answers none had 32 tokens, and 19 had none.
ENGINES = {
    "vllm": {"reasoning": "reasoning", "reasoning-tokens": 8, **EARLY}, "ollama": EARLY, "llamacpp": {"eos-bias": 1.6},
}  # fmt: skip


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    folder: Path = tmp_path_factory.mktemp("early")
    data = yaml.safe_load((ROOT / "topologies/llamacpp_chain.yaml").read_text())
    for name, more in ENGINES.items():
        data["embedded"]["engines"][name] |= more
    gateway = folder / data["embedded"]["gateway"]
    gateway.write_text((ROOT / "topologies" / gateway.name).read_text())
    path = folder / "topology.yaml"
    path.write_text(yaml.safe_dump(data))
    found = Real(folder, str(path))
    yield topologies.read(found.path)
    found.close()


def wrong(stack: Topology, **witness: str) -> dict[str, list[str]]:
    """The errors that a plan reports, by target; `witness`: tier → its `witness`."""
    tiers = [
        t.model_copy(update={"witness": witness.get(t.name), "ignore_eos": t.name == "llamacpp"})
        for t in stack.tiers
    ]
    found = serving.look(stack.model_copy(update={"tiers": tiers}))
    return {one.target: list(one.wrong) for one in found}


def test_a_plan_names_each_tier_whose_answers_ended_early_and_no_other(stack):
    reported = next(
        found for found in (wrong(stack) for _ in range(TURNS)) if "'llamacpp'" in "".join(found["gateway"])
    )
    early = (
        "2 of 2 answers ended before the cap (finish_reason stop at {} of 32 tokens): if the model ends early"
    )
    assert reported["vllm"][0].startswith(early.format(17))
    assert reported["ollama"][0].startswith(early.format(9))
    assert reported["llamacpp"] == [], "a direct request with ignore_eos reaches the cap"
    gateway = "\n".join(reported["gateway"])
    for words in (early.format(17), f"group ollama-qwen: {early.format(9)}", "group llamacpp-random: "):
        assert words in gateway
    for tier in ("vllm", "ollama", "llamacpp"):
        assert f"write witness: none in tier '{tier}'" in gateway


def test_with_witness_none_a_plan_reports_nothing(stack):
    reported = wrong(stack, vllm="none", ollama="none", llamacpp="none")
    # An answer that ends before its first token is an error with every witness.
    assert [line for lines in reported.values() for line in lines if "got no token" not in line] == []
