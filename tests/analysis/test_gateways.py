"""A gateway is one file: another with headers and counters of its own is used from the topology to the report."""

import textwrap

import pytest

from analysis import frames
from analysis.__main__ import main
from analysis.evidence import Evidence
from analysis.judging.reconciliation import rows
from contract import gateway_version, gateways, topology
from contract.counters import AFTER, BEFORE, BORN_AT, Scrape
from contract.framing import End, Exchange
from contract.refusal import Refusal
from contract.run import JsonLines
from scenarios.gateway import counters
from tests.analysis.reports import pictures
from tests.contract.exchanges import WHOLE, event, recorded
from tests.synthetic import make
from tests.synthetic_world import START

FILE = """
from contract.gateway_kind import GatewayKind

GATEWAY = GatewayKind(
    name="bifrost", title="Bifrost", group="x-served-by", version="x-bifrost-version", metrics="/metrics",
    answers="bifrost_success_total", answers_group="served_by",
)
"""
TOPOLOGY = """
gateway: {kind: bifrost, url: "http://127.0.0.1:1", model: vllm}
tiers:
  - {name: vllm, match: {group: vllm}}
  - {name: ollama, match: {group: ollama}}
  - {name: openai, match: {group: openai}, cloud: true}
"""


@pytest.fixture
def bifrost(tmp_path, monkeypatch):
    """A member of the catalogue, from a folder of its own."""
    folder = tmp_path / "gateways"
    folder.mkdir()
    (folder / "bifrost.py").write_text(textwrap.dedent(FILE))
    monkeypatch.setattr(gateways, "__path__", [*gateways.__path__, str(folder)])
    yield gateways.find("bifrost")
    gateways.find.cache_clear()


@pytest.fixture
def stack(bifrost, tmp_path):
    path = tmp_path / "topology.yaml"
    path.write_text(TOPOLOGY)
    return topology.read(path)


def test_the_headers_show_which_tier_served_and_which_version_answered(bifrost, stack):
    headers = {"x-served-by": "ollama", "x-bifrost-version": "2.0.1", "x-litellm-model-group": "vllm"}
    pieces = [(1.0, event(e) if isinstance(e, dict) else e) for e in WHOLE]
    exchange = Exchange(end=End.COMPLETE, status=200, headers=headers, pieces=pieces, sent_at=0.5, headers_at=0.9, ended_at=2.0)  # fmt: skip
    record = recorded(exchange, topology=stack)
    assert (record.tier, record.route_group, record.route_api_base, record.route_retries) == (
        "ollama",
        "ollama",
        None,
        None,
    )
    assert gateway_version.named(bifrost, "gateway", 200, headers) == "2.0.1"
    assert "without x-served-by: the serving tier is unknown; is it a Bifrost proxy" in stack.unmatched(
        None, None
    )


def test_its_own_counters_are_kept_and_compared_and_the_report_names_it(bifrost, tmp_path, capsys):
    made = make(tmp_path / "results", gateway={"2.0.1": 12})
    (made.path / "topology.yaml").write_text(TOPOLOGY)
    lines = JsonLines(made.path / "counters.jsonl")
    ends = [a.tier for a in made.requests if a.via == "gateway" and a.finish_reason]
    for when, of in ((BEFORE, lambda tier: 0), (AFTER, ends.count)):
        page = f"{BORN_AT} 1\n" + "\n".join(
            f'bifrost_success_total{{served_by="{tier}",key="s3cret"}} {of(tier)}'
            for tier in ("vllm", "ollama", "openai")
        )
        lines.append(
            Scrape(START, when, "gateway", "http://127.0.0.1:1/metrics", counters.read(page, bifrost))
        )
    lines.close()
    assert "s3cret" not in (made.path / "counters.jsonl").read_text()
    run = Evidence(frames.read(made.path))
    compared = {r.tier: (r.ours, r.theirs) for r in rows(run) if r.source == "gateway"}
    assert compared["vllm"] == (ends.count("vllm"), ends.count("vllm"))
    with pictures():
        main(["report", str(made.path)])
    assert "gateway: bifrost 2.0.1" in capsys.readouterr().out


def test_an_unknown_kind_is_refused_with_what_there_is(tmp_path):
    path = tmp_path / "topology.yaml"
    path.write_text(TOPOLOGY.replace("bifrost", "litelm"))
    with pytest.raises(
        Refusal, match=r"gateway: kind: no kind of gateway 'litelm'; did you mean 'litellm'\?"
    ):
        topology.read(path)
