"""Headers of an operator's own: named in the topology, valued in the environment, and seen nowhere."""

import pytest

from contract import topology
from contract.endpoint import Endpoint, headers_of
from contract.foreign import without
from contract.refusal import Refusal
from contract.request import Request
from contract.strict import validate
from contract.topology import Topology

SECRET = "s3cret-of-the-proxy"


def read(gateway=None, tier=None) -> Topology:
    data = {
        "gateway": {"url": "http://g", "model": "a"} | (gateway or {}),
        "tiers": [{"name": "vllm", "match": {"group": "a"}, "url": "http://v", "model": "m"} | (tier or {})],
    }
    return validate(data, Topology, "t.yaml")


def test_headers_are_sent_with_every_request_and_only_their_references_are_written(monkeypatch):
    monkeypatch.setenv("SSO", SECRET)
    monkeypatch.setenv("TENANT", "home lab")
    found = read(
        {"headers": {"Authorization": "Bearer ${SSO}", "X-Tenant": "${TENANT}"}}, {"api_key": "${SSO}"}
    )
    assert headers_of(found.gateway) == {"Authorization": f"Bearer {SECRET}", "X-Tenant": "home lab"}
    assert headers_of(found.tiers[0]) == {"Authorization": f"Bearer {SECRET}"}
    endpoint = Endpoint.of_gateway(found.gateway)
    head = (
        endpoint.request("req-1", Request(prompt="hi", max_tokens=1, stream=True))
        .partition(b"\r\n\r\n")[0]
        .split(b"\r\n")
    )
    assert f"Authorization: Bearer {SECRET}".encode() in head
    assert b"X-Tenant: home lab" in head
    assert endpoint.secrets == (SECRET, "home lab")
    assert SECRET not in repr(endpoint)
    written = topology.dump(found)
    assert SECRET not in written
    assert "Bearer ${SSO}" in written
    assert topology.read_text(written) == found


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("X-A", f"Bearer {SECRET}", "X-A: a literal value is refused; write ${NAME} or Bearer ${NAME}"),
        ("X-A", f"${{A}}{SECRET}", "X-A: a literal value is refused"),
        ("X-A", f"{SECRET} ${{A}}", "X-A: a literal value is refused"),
        ("X-A", "${A} ${B}", "X-A: a literal value is refused"),
        ("X-A", "", "X-A: a literal value is refused"),
        ("X-A", 5, "X-A: a literal value is refused"),
        ("X-A", None, "X-A: a literal value is refused"),
        ("Host", "${A}", "Host: is set by the request itself; leave it out"),
        ("content-length", "${A}", "content-length: is set by the request itself"),
        ("Transfer-Encoding", "${A}", "Transfer-Encoding: is set by the request itself"),
        ("Connection", "${A}", "Connection: is set by the request itself"),
        ("Keep-Alive", "${A}", "Keep-Alive: is set by the request itself"),
        ("Content-Type", "${A}", "Content-Type: is set by the request itself"),
        ("Accept-Encoding", "${A}", "Accept-Encoding: is set by the request itself"),
        ("TE", "${A}", "TE: is set by the request itself"),
        ("Upgrade", "${A}", "Upgrade: is set by the request itself"),
        ("Expect", "${A}", "Expect: is set by the request itself"),
        ("X A", "${A}", "characters that are not allowed"),
        (f"X-A: {SECRET}\r\nX-B", "${A}", "characters that are not allowed"),
        ("X-Ä", "${A}", "characters that are not allowed"),
        ("", "${A}", "characters that are not allowed"),
        (5, "${A}", "characters that are not allowed"),
    ],
)
@pytest.mark.parametrize("whose", ["gateway", "tier"])
def test_a_header_that_must_not_be_is_refused_and_its_value_never_repeated(name, value, words, whose):
    with pytest.raises(Refusal) as refused:
        read(**{whose: {"headers": {name: value}}})
    assert words in str(refused.value)
    where = {"gateway": "gateway", "tier": "tier 'vllm'"}[whose]
    assert f"{where}: headers: " in str(refused.value)
    assert SECRET not in str(refused.value)


def test_two_names_of_one_header_are_refused():
    with pytest.raises(Refusal, match="x-tenant: is given twice"):
        read({"headers": {"X-Tenant": "${A}", "x-tenant": "${B}"}})
    with pytest.raises(Refusal, match="headers: Authorization: api_key sets it too; give one of them"):
        read({"api_key": "${A}", "headers": {"authorization": "${B}"}})
    with pytest.raises(Refusal, match="a mapping of at most 32 names"):
        read({"headers": ["X-Tenant"]})
    with pytest.raises(Refusal, match="a mapping of at most 32 names"):
        read({"headers": {f"X-{n}": "${A}" for n in range(33)}})


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "the environment variable SSO is not set; the topology takes a header from it"),
        ("", "the environment variable SSO is not set"),
        (
            f"{SECRET}\r\nX-Evil: 1",
            "the environment variable SSO cannot be sent as a header: it has a line end",
        ),
        (f"{SECRET}\n", "the environment variable SSO cannot be sent as a header"),
        (f" {SECRET}", "the environment variable SSO cannot be sent as a header"),
        (f"{SECRET}ä", "the environment variable SSO cannot be sent as a header"),
        (f"{SECRET}\x7f", "the environment variable SSO cannot be sent as a header"),
        (SECRET * 1000, "the environment variable SSO cannot be sent as a header"),
    ],
)
def test_a_value_that_no_header_can_carry_is_refused_before_anything_is_sent(monkeypatch, value, words):
    if value is None:
        monkeypatch.delenv("SSO", raising=False)
    else:
        monkeypatch.setenv("SSO", value)
    found = read({"headers": {"X-Sso": "${SSO}"}}, {"api_key": "${SSO}"})
    with pytest.raises(Refusal) as refused:
        Endpoint.of_gateway(found.gateway)
    assert words in str(refused.value)
    assert SECRET not in str(refused.value)
    with pytest.raises(Refusal, match=r"the environment variable SSO .* a key"):
        Endpoint.of_tier(found.tiers[0])


@pytest.mark.parametrize(
    ("secrets", "words", "left"),
    [
        ((SECRET,), f"401: bad {SECRET}!", "401: bad (key)!"),
        ((SECRET,), f"401: bad {SECRET[:9]}", "401: bad (key)"),  # cut at the end of what is kept
        (("42",), "tenant 42 has 421 models", "tenant (key) has 421 models"),
        ((SECRET, SECRET + "-longer"), f"{SECRET}-longer", "(key)"),
        ((), "401: bad", "401: bad"),
    ],
)
def test_a_servers_words_lose_what_is_secret(secrets, words, left):
    assert without(secrets, words) == left
