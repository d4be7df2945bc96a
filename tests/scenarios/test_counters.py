"""Counters of the gateway and the engines: what is kept of their pages, and that no page can end a run."""

import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from contract import topology
from contract.clock import Clock
from contract.counters import AFTER, BEFORE
from contract.gateways.litellm import GATEWAY as LITELLM
from scenarios.gateway import counters

ANSWERS = "litellm_deployment_success_responses_total"
PAGE = f"""# HELP {ANSWERS} Total number of successful LLM API calls via litellm
# TYPE {ANSWERS} counter
{ANSWERS}{{api_base="http://h/v1",hashed_api_key="88dc28d0f030c55ed4ab77ed8faf098196cb1c05df778539800c9f1243fe6b4b",model_group="a \\"b\\" \\\\ c",user_agent="x}} 7"}} 6.0
{ANSWERS.replace("_total", "_created")}{{model_group="a"}} 1.79e+09
process_start_time_seconds 1.79554643542e+09
vllm:request_success_total{{engine="0",finished_reason="length"}} 3 1795546586000
vllm:request_success_total{{finished_reason="abort"}} what
llamacpp:tokens_predicted_total 1244
llamacpp:tokens_predicted_seconds_total 2
"""
KEPT = [
    {"name": ANSWERS, "labels": {"model_group": 'a "b" \\ c', "api_base": "http://h/v1"}, "value": 6.0},
    {"name": "process_start_time_seconds", "labels": {}, "value": 1.79554643542e9},
    {"name": "vllm:request_success_total", "labels": {"finished_reason": "length"}, "value": 3.0},
    {"name": "llamacpp:tokens_predicted_total", "labels": {}, "value": 1244.0},
]


def test_of_a_page_only_the_known_counters_are_kept_and_no_key() -> None:
    assert counters.read(PAGE, LITELLM) == KEPT
    assert "88dc" not in str(counters.read(PAGE, LITELLM))


@pytest.mark.parametrize("page", ["", "<html>", "\0", ANSWERS, ANSWERS + "{", f"{ANSWERS}{{}} ", '{"a": 1}'])
def test_any_other_page_gives_no_counters(page) -> None:
    assert counters.read(page, LITELLM) == []


class Pages(http.server.BaseHTTPRequestHandler):
    requests: list[tuple[str, str]]
    counts: int

    def do_GET(self) -> None:
        keys = (self.headers["Authorization"], self.headers["X-Sso"])
        self.requests.append((self.path, " ".join(word for word in keys if word)))
        if self.path == "/gone/metrics":
            self.send_response(302)
            self.send_header("Location", "/elsewhere")
            self.end_headers()
            return
        if self.path == "/none/metrics":
            self.send_error(404)
            return
        type(self).counts = min(self.counts + 1, 3)  # the gateway counts with a delay
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f'{ANSWERS}{{model_group="g"}} {self.counts}\n'.encode())

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[int]:
    Pages.requests, Pages.counts = [], 0
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages) as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield found.server_address[1]
        found.shutdown()


def test_both_scrapes_stand_in_the_run_with_what_could_not_be_read(server, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("G_KEY", "sk-secret")
    monkeypatch.setenv("G_SSO", "sso-secret")
    url = f"http://127.0.0.1:{server}"

    def tier(name: str) -> dict:
        return {"name": name, "match": {"group": name}, "model": "m"}

    found = topology.Topology.model_validate(
        {
            "gateway": {"url": url, "model": "g", "api_key": "${G_KEY}", "headers": {"X-Sso": "${G_SSO}"}},
            "tiers": [
                {"url": f"{url}/gone/v1", **tier("gone")}, {"url": f"{url}/none", **tier("none")},
                {"url": "http://127.0.0.1:1", **tier("refused")},
                {"url": f"{url}/money", "cloud": True, **tier("money")}, {"name": "unknown", "match": {"group": "g"}},
            ],
        }
    )  # fmt: skip
    for when in (BEFORE, AFTER):
        counters.keep(tmp_path, found, when, Clock())
    text = (tmp_path / "counters.jsonl").read_text()
    assert "secret" not in text
    lines = [json.loads(line) for line in text.splitlines()]
    assert [(line["when"], line["source"]) for line in lines] == [
        (when, source) for when in (BEFORE, AFTER) for source in ("gateway", "gone", "none", "refused")
    ]
    gateway, gone, none, refused = lines[:4]
    assert gateway["counters"][0]["value"] == 3.0
    assert "302" in gone["error"]
    assert "404" in none["error"]
    assert "refused" in refused["error"]
    # The key goes to the gateway alone, and follows no redirect.
    assert {(path, key) for path, key in Pages.requests if key} == {
        ("/metrics/", "Bearer sk-secret sso-secret")
    }
    assert {path for path, _ in Pages.requests} == {"/metrics/", "/gone/metrics", "/none/metrics"}


def test_a_run_that_cannot_be_written_to_goes_on(tmp_path, capsys) -> None:
    found = topology.Topology.model_validate(
        {
            "gateway": {"url": "http://127.0.0.1:1", "model": "g"},
            "tiers": [{"name": "t", "match": {"group": "g"}}],
        }
    )
    counters.keep(tmp_path / "missing", found, BEFORE, Clock())
    assert "counters.jsonl cannot be written" in capsys.readouterr().err
