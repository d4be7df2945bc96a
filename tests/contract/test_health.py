"""What a health url shows, and how it is requested."""

import pytest

from contract import health, topology
from contract.health import HealthUrl
from contract.refusal import Refusal
from contract.topology import Topology
from tests.contract.exchanges import head
from tests.embedded.engine import QUICK, running
from tests.ports import held_port
from tests.scenarios.server import Server

MESSAGES = [
    # status, up, the message of a plan with the correction
    (200, True, None),
    (204, True, None),
    (500, False, "answers 500: it reports that it is not healthy"),
    (503, False, "answers 503: it reports that it is not healthy"),
    (400, None, "answers 400: set a page that answers 200 while it serves"),
    (401, None, "answers 401: set api_key: ${NAME}"),
    (403, None, "answers 403: set api_key: ${NAME}"),
    (404, None, "answers 404: set a page that answers 200 while it serves"),
    (429, None, "answers 429: set a page"),
    (
        308,
        None,
        "answers 308, a redirect to https://there/health, which is not followed: set the url that answers",
    ),
]


@pytest.mark.parametrize(("status", "up", "message"), MESSAGES)
def test_a_status_that_does_not_come_from_the_engine_leaves_it_unknown(status, up, message):
    more = ["location: https://user:secret@there/health?token=secret"] if status == 308 else []
    with Server([head(f"{status} X", "content-length: 0", *more)]) as server:
        url = HealthUrl("vllm", f"{server.url}/health?token=secret", topology.Server())
        exchange = health.check(url, {})
    wrong = health.wrong(url, exchange)
    assert health.up(exchange.status) is up
    assert (message is None) is (wrong is None)
    assert (message or "") in (wrong or "")
    assert "secret" not in (wrong or "")


def test_a_server_that_does_not_answer_is_down():
    url = HealthUrl("vllm", f"http://127.0.0.1:{held_port()}/health", topology.Server())
    exchange = health.check(url, {})
    assert health.up(exchange.status) is False
    assert "does not answer: ConnectionRefusedError" in (health.wrong(url, exchange) or "")


def test_every_health_url_has_its_own_key_headers_and_query(monkeypatch):
    monkeypatch.setenv("ENGINE_KEY", "e")
    monkeypatch.setenv("GATEWAY_KEY", "g")
    monkeypatch.setenv("TENANT", "t")
    found = Topology.model_validate(
        {
            "gateway": {"url": "http://g", "model": "m", "health": "http://g/up?all=0", "api_key": "${GATEWAY_KEY}"},
            "tiers": [
                {"name": "a", "match": {"group": "a"}, "health": "http://a/health?model=a", "api_key": "${ENGINE_KEY}"},
                {"name": "b", "match": {"group": "b"}, "health": "http://b/health", "ca_file": "b.pem", "headers": {"X-Tenant": "${TENANT}"}},
                {"name": "c", "match": {"group": "c"}},
            ],
        }
    )  # fmt: skip
    urls = health.urls_of(found)
    assert [(u.name, u.url, u.server.ca_file) for u in urls] == [
        ("a", "http://a/health?model=a", None), ("b", "http://b/health", "b.pem"), ("gateway", "http://g/up?all=0", None),
    ]  # fmt: skip
    assert [u.headers() for u in urls] == [
        {"Authorization": "Bearer e"},
        {"X-Tenant": "t"},
        {"Authorization": "Bearer g"},
    ]
    monkeypatch.delenv("ENGINE_KEY")
    with pytest.raises(Refusal, match="ENGINE_KEY"):
        urls[0].headers()


def test_an_engine_behind_a_proxy_that_authenticates_is_up_with_its_key_and_unknown_without(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("ENGINE_KEY", "sk-right")
    env = {"ENGINE_KEY": "sk-right"}
    with running("vllm", tmp_path, *QUICK, "--api-key-env", "ENGINE_KEY", env=env) as engine:
        url = HealthUrl(
            "vllm", f"http://127.0.0.1:{engine.port}/health", topology.Server(api_key="${ENGINE_KEY}")
        )
        assert health.up(health.check(url, url.headers()).status) is True
        assert health.up(health.check(url, {}).status) is None
        monkeypatch.setenv("ENGINE_KEY", "sk-wrong")
        wrong = health.wrong(url, health.check(url, url.headers()))
    assert wrong is not None
    assert "answers 401: the key in ENGINE_KEY is not accepted there" in wrong
    assert "sk-wrong" not in wrong
