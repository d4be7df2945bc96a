"""report.html as parsed: its structure, texts, links and network accesses."""

import json
import random
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis import frames, html, judge
from analysis.evidence import Evidence
from analysis.html import checks, drawn, headline, records, strips, timeline
from analysis.reporting import tables
from contract.records import Lane, Outcome
from tests.synthetic import make, rounds, three_tier
from tests.synthetic_world import OLLAMA, VLLM, Engine, Hole, World, answer, cut

VOID = {"meta", "link", "br", "img", "input"}
NASTY = '</script><script>document.title="owned"</script><img src=x onerror="1"> & "q"'


class Page(HTMLParser):
    """The content of a page: elements with their attributes, scripts by id, text outside of scripts."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.scripts, self.texts, self.badly = [], [], {}, [], []
        self.inside = None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("script", "style"):
            self.inside = dict(attrs).get("id", f"{tag}-{len(self.elements)}")

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.badly.append(tag)
        self.inside = None

    def handle_data(self, data):
        if self.inside is None:
            self.texts.append(data)
        else:
            self.scripts[self.inside] = self.scripts.get(self.inside, "") + data

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())

    def ids(self):
        return [a["id"] for _, a in self.elements if "id" in a]

    def of(self, tag):
        return [a for t, a in self.elements if t == tag]


def page_of(made):
    run = Evidence(frames.read(made.path))
    found = judge.judge(run)
    csv = {"summary": tables.summary(run), "failover": tables.failovers(run), "phases": tables.phases(run)}
    return html.page(run, found, csv)


@pytest.fixture(scope="module")
def page(reported):
    return Page((reported.path / "report" / "report.html").read_text())


def test_the_page_is_well_nested_and_its_headings_are_in_order(page):
    assert not page.badly
    assert not page.open
    levels = [int(t[1]) for t, _ in page.elements if re.fullmatch(r"h\d", t)]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_the_parts_stand_in_the_order_in_which_a_reader_needs_them(page):
    parts = [a["id"] for a in page.of("section") if "id" in a]
    assert parts == [
        "verdict", "load", "timeline", "tiers", "trials", "checks", "figures", "inputs", "definitions",
    ]  # fmt: skip


def test_every_link_within_the_page_arrives_and_no_id_is_there_twice(page):
    ids = page.ids()
    assert len(ids) == len(set(ids))
    assert {a["href"][1:] for a in page.of("a") if a["href"].startswith("#")} <= set(ids)


def test_links_to_files_beside_the_page_arrive(page, reported):
    for name in (a["href"] for a in page.of("a") if not a["href"].startswith("#")):
        assert (reported.path / "report" / name).exists(), name


def test_nothing_is_loaded_from_anywhere(page):
    for tag, attributes in page.elements:
        for name in ("src", "href", "action", "data", "poster", "srcset", "xlink:href"):
            value = attributes.get(name, "")
            assert not re.match(r"(?i)\s*([a-z]+:)?//", value), (tag, value)
    assert "src" not in {name for a in page.of("script") for name in a}
    policy = next(a["content"] for a in page.of("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert "http" not in policy
    assert "connect-src" not in policy  # so that default-src holds
    ours = page.scripts[list(page.scripts)[-1]]
    assert "http" not in ours
    assert "showSendToCloud: false" in ours  # Plotly's own default has a button that sends the picture away
    assert not re.search(r"@import|url\(", next(iter(page.scripts.values())))  # the stylesheet


def test_each_finding_of_the_verdict_is_a_row_with_its_numbers(page, reported):
    verdict = json.loads((reported.path / "report" / "verdict.json").read_text())
    text = page.text
    assert f"{verdict['status']} Every expectation was met" in text
    for f in verdict["findings"]:
        name = " ".join(x for x in (f["id"], f["name"]) if x)
        n = "–" if f["n"] is None else f["n"]
        row_text = f"{f['status']} {name} {f['target']} {f['measured']}"
        assert row_text in text
        interval = text.partition(row_text)[2].partition("evidence")[0].split()
        assert interval[-1] == str(n)
        assert (interval[0] == "–") == (f["interval"] is None)
        for part in f["evidence"].split("; "):
            assert " ".join(part.split()) in text


def test_the_tables_show_the_numbers_of_the_csv_files(page, reported):
    failover = pd.read_csv(reported.path / "report" / "failover.csv")
    for row in failover.to_dict("records"):
        assert f"{row['failover_s']:.2f} s" in page.text
        least, most = row["gap_new_lower_s"], row["gap_new_upper_s"]
        assert f"at least {least:.2f} s, in [{least:.2f}, {most:.2f}] s" in page.text
        assert f"{row['recovery_s']:.2f} s" in page.text
    run = Evidence(frames.read(reported.path))
    for part in tables.by_part(run).to_dict("records"):
        counts = " ".join(str(part[name]) for name in ("requests", "good"))
        assert f"{part['part']} {counts} " in page.text
    for of in run.by_tier:
        p50 = of.users.latency["p50"]
        assert f"latency, from sent {of.users.good} {p50 / 1000:.2f} s" in page.text or (
            f"latency, from sent {of.users.good} {p50:.0f} ms" in page.text
        )


def test_the_timeline_has_every_sent_request_with_its_record(page, reported):
    shown = json.loads(page.scripts["timeline-json"])
    kept = shown["records"]
    requests = {a.request_id: a for a in reported.requests if a.sent_at is not None}
    assert set(kept["id"]) == set(requests)
    for i in (0, 100, kept["n"] - 1):
        record = requests[kept["id"][i]]
        assert kept["sent"][i] == pytest.approx(record.sent_at - shown["started_at"], abs=0.001)
        assert kept["latency_ms"][i] == pytest.approx(record.latency_ms, abs=0.1)
        place = kept["outcome"]["at"][i]
        assert kept["outcome"]["values"][place] == record.outcome
    assert [s["name"] for s in shown["strips"]][:2] == ["gaming-mode", "cpu-tier-too"]
    assert len(shown["strips"][0]["start"]) == 3  # transition, in effect, restoring


def test_what_operators_and_servers_wrote_is_text_and_nothing_else(tmp_path):
    error = cut(answer(World((VLLM,), (), random.Random(1)).new(5.0, Lane.LOAD), "vllm", 0.1, [0.1] * 9), 0.5)
    error.error = NASTY
    error.request_id = "<b>id</b>"
    made = make(
        tmp_path, [Hole("gaming-mode", "vllm", 10, 20)], engines=(VLLM, OLLAMA), extra=[error], duration_s=50, pairs=0,
        expect={"cuts": {"id": "<i>NFR</i>", "max_per_trial": 0}},
    )  # fmt: skip
    topology = made.path / "topology.yaml"
    topology.write_text(topology.read_text().replace("model-of-vllm", "<script>alert(1)</script>"))
    manifest = made.path / "manifest.json"
    manifest.write_text(manifest.read_text().replace("by tests", "<img src=x>"))
    plain = Page(page_of(three_tier(tmp_path / "plain")))
    found = Page(page_of(made))
    assert not found.badly
    assert not found.of("img")
    assert not found.of("b")
    assert len(found.of("script")) == len(plain.of("script"))
    assert NASTY in json.loads(found.scripts["timeline-json"])["records"]["error"]["values"]
    assert "<script>alert(1)</script>" in found.text
    assert "<i>NFR</i> cuts" in found.text


def test_inputs_stand_as_the_run_kept_them(tmp_path):
    made = make(tmp_path, duration_s=10)
    kept = "# As it was used; values that may be secret are replaced by (redacted).\nmaster_key: (redacted)\n"
    (made.path / "gateway.yaml").write_text(kept)
    found = Page(page_of(made))
    assert " ".join(kept.split()) in found.text
    assert "timeline.yaml: not in this run." in found.text


def _whole(made):
    found = Page(page_of(made))
    assert not found.badly
    return found.text


def test_a_killed_run_is_reported_first(tmp_path):
    made = make(
        tmp_path, [Hole("s", "vllm", 10, 20)], duration_s=30, status=None, drop=[("restore", "effective")]
    )
    file = made.path / "probe.arrow"
    file.write_bytes(file.read_bytes()[:-700])
    text = _whole(made)
    first = text.index("Cut short: the run was never closed")
    assert (
        first
        < text.index("Torn tails were skipped: probe.arrow")
        < text.index("not restored A fault was injected")
    )


def test_a_run_without_requests_is_reported_as_such(tmp_path):
    text = _whole(make(tmp_path, rate=0, probe_rate=0, pairs=0, duration_s=10))
    assert "No request was sent through the gateway." in text
    assert "No request was sent: there is nothing to draw." in text
    assert "unknown No expectation is known to have failed" in text


def test_a_run_with_one_tier_has_no_lower_one(tmp_path):
    made = make(tmp_path, [Hole("away", "vllm", 10, 10)], engines=(VLLM,), duration_s=40, pairs=0)
    assert "There is only one rank of tiers." in _whole(made)


def test_a_ramp_without_timeline_and_chaos_has_its_page(tmp_path):
    made = make(tmp_path, duration_s=20, probe_rate=0, pairs=0, health=False)
    assert "No fault was injected." in _whole(made)


def test_repeated_trials_are_summed_up_with_median_and_interval(tmp_path):
    made = make(tmp_path, rounds(Hole("s", "vllm", 10, 8, hole_s=1.0), 6, 20), duration_s=140, pairs=0)
    text = _whole(made)
    assert re.search(r"s 6 [\d.]+ s \(median of 6; 95 % in \[[\d.]+, [\d.]+\]; max of 6: [\d.]+ s\)", text)


def crowd(n, failed=0):
    """So many requests in an hour, of three tiers, the first `failed` of them rejected, one very slow."""
    r = np.random.default_rng(1)
    latency_ms = r.lognormal(6, 0.5, n)
    latency_ms[n // 2] = 90_000.0
    good = np.arange(n) >= failed
    tier = pd.Categorical(np.where(good, np.array(["vllm", "ollama", "openai"])[r.integers(0, 3, n)], None))
    same = dict.fromkeys(("finish_reason", "witness", "route_group", "route_api_base", "worker"), "x")
    counts = dict.fromkeys(("status", "prompt_tokens", "max_tokens", "route_fallbacks", "route_retries"), 12)
    sent_at = np.sort(r.uniform(0, 3600, n))
    return pd.DataFrame(
        {
            "request_id": [f"req-57bc01-{i:07d}" for i in range(n)], "sent_at": sent_at, "scheduled_at": sent_at - 0.001,
            "latency_ms": latency_ms, "ttft_ms": latency_ms / 3, "headers_ms": latency_ms / 4, "good": good, "tier": tier,
            "outcome": np.where(good, Outcome.OK, Outcome.REJECTED), "via": "gateway", "lane": "load", "scenario": "chat",
            "output_tokens": r.integers(1, 200, n), "error": [None if g else f"500: failed, request {i}" * 9 for i, g in enumerate(good)],
        }
        | same
        | counts
    )  # fmt: skip


@pytest.mark.parametrize(("n", "failed", "all_failed"), [(300_000, 4000, True), (300_000, 100_000, False)])
def test_many_answers_are_thinned_so_that_a_page_stays_small(n, failed, all_failed):
    """Beside Plotly's 4.9 MB there is room for 5: a record costs much the same whatever the number of requests was."""
    requests = crowd(n, failed)
    found = drawn.choose(requests)
    assert found.sent == n
    assert (found.failed_drawn == failed) == all_failed
    assert len(found.requests) <= drawn.MOST_GOOD + drawn.MOST_FAILED
    assert (found.requests["latency_ms"] == 90_000.0).any()
    assert f"{failed:,}" in found.caption
    as_json = json.dumps(records.records(found.requests, 0.0, pd.DataFrame()), separators=(",", ":"))
    assert len(as_json) < 4_800_000


def test_few_answers_are_all_drawn():
    found = drawn.choose(crowd(1000, 10))
    assert found.caption == "n = 1,000 requests, all drawn."


def test_strips_mark_what_was_put_in(tmp_path):
    made = make(
        tmp_path, [Hole("gaming-mode", "vllm", 20, 20, hole_s=4)], duration_s=60, pairs=0, overloaded=((50, 53),),
        engines=(Engine("vllm", 0.08, 0.02), OLLAMA),
    )  # fmt: skip
    run = Evidence(frames.read(made.path))
    found = {s["name"]: s for s in strips.strips(run)}
    assert found["gaming-mode"]["start"] == [20.0, 21.5, 40.0]
    assert sum(found["no good answer"]["length"]) == pytest.approx(4.0, abs=0.3)
    assert sum(found["client overloaded"]["length"]) == pytest.approx(3.0, abs=1.1)
    assert sum(found["vllm unhealthy"]["length"]) == pytest.approx(22, abs=2)


def test_served_counts_the_requests_that_were_sent(reported):
    run = Evidence(frames.read(reported.path))
    f = run.frames
    found = timeline.served(f.requests[f.through_gateway], f.tiers, f.started_at, f.ended_at)
    assert sum(found["requests"]) == len(f.requests[f.through_gateway])
    assert sum(map(sum, found["good"].values())) == int(f.requests[f.through_gateway]["good"].sum())


def test_the_clients_health_shows_its_worst_second(reported):
    f = frames.read(reported.path)
    client = f.samples["client"].copy()
    client.loc[100, "hub_lag_ms"] = 77.0
    found = checks.client(client, f.started_at, f.ended_at)
    assert max(found["hub_lag_ms"]) == 77.0
    assert max(found["cpu_percent"]) == client["cpu_percent"].max()
    script = (Path(html.__file__).parent / "client.js").read_text()
    assert set(re.findall(r'line\("(\w+)"', script)) <= set(found), "every line of the picture has data"


def test_every_status_has_its_words():
    assert (
        set(headline.MARKS) == set(headline.MEANS) == {"pass", "fail", "unknown", "not_restored", "aborted"}
    )
