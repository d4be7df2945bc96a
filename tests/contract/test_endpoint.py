"""A request as bytes: the body for each API, and that unusable settings are refused before it is sent."""

import json

import pytest

from contract.endpoint import Endpoint
from contract.match import Match
from contract.refusal import Refusal
from contract.request import Request
from contract.topology import Gateway, Tier
from tests import tls

BEFORE = (("system", "be brief"), ("user", "a"), ("assistant", "b"))
MESSAGES = [
    *({"role": role, "content": text} for role, text in BEFORE),
    {"role": "user", "content": "req-1 hi"},
]
BODIES = [
    # api, streamed, cap, ignore_eos, temperature; the other keys beside model and messages
    ("openai", True, 5, False, None, {"stream": True, "stream_options": {"include_usage": True}, "max_tokens": 5}),
    ("openai", False, None, False, None, {"stream": False}),
    ("openai", False, 5, True, None, {"stream": False, "max_tokens": 5, "ignore_eos": True}),
    ("openai", False, None, False, 0.3, {"stream": False, "temperature": 0.3}),
    ("ollama", True, 5, False, None, {"stream": True, "options": {"num_predict": 5}}),
    ("ollama", False, None, False, None, {"stream": False}),
    ("ollama", False, None, False, 0.3, {"stream": False, "options": {"temperature": 0.3}}),
    ("ollama", True, 5, False, 0.0, {"stream": True, "options": {"num_predict": 5, "temperature": 0.0}}),
]  # fmt: skip


@pytest.mark.parametrize(("api", "stream", "cap", "ignore_eos", "temperature", "beside"), BODIES)
def test_the_body_for_each_api(api, stream, cap, ignore_eos, temperature, beside):
    endpoint = Endpoint.of("http://h:1", "m", "the-key", api)
    given = Request(
        prompt="hi",
        stream=stream,
        max_tokens=cap,
        ignore_eos=ignore_eos,
        history=BEFORE,
        temperature=temperature,
    )
    request = endpoint.request("req-1", given)
    head, _, body = request.partition(b"\r\n\r\n")
    assert json.loads(body) == {"model": "m", "messages": MESSAGES} | beside
    assert head.startswith(b"POST /api/chat " if api == "ollama" else b"POST /v1/chat/completions ")
    assert b"Authorization: Bearer the-key" in head
    assert f"Content-Length: {len(body)}".encode() in head
    accepted = (
        {"openai": "text/event-stream", "ollama": "application/x-ndjson"}[api]
        if stream
        else "application/json"
    )
    assert f"Accept: {accepted}".encode() in head


@pytest.mark.parametrize(
    ("words", "beside"),
    [
        ({}, {"max_tokens": 5, "temperature": 0.3}),
        ({"max_tokens_field": "max_completion_tokens"}, {"max_completion_tokens": 5, "temperature": 0.3}),
        ({"drop_params": ["temperature"]}, {"max_tokens": 5}),
    ],
)
def test_newer_models_have_the_cap_under_its_newer_name_and_no_temperature(words, beside):
    for endpoint in (
        Endpoint.of_gateway(Gateway(url="http://h", model="m", **words)),
        Endpoint.of_tier(Tier(name="t", match=Match(group="g"), url="http://h", model="m", **words)),
    ):
        body = json.loads(
            endpoint.request(
                "req-1", Request(prompt="hi", max_tokens=5, stream=False, temperature=0.3)
            ).partition(b"\r\n\r\n")[2]
        )
        assert {k: v for k, v in body.items() if k not in ("model", "messages", "stream")} == beside


def test_a_key_is_not_shown():
    assert "the-key" not in repr(Endpoint.of("http://h:1", "m", "the-key"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "cannot be read: No such file or directory"),
        ("", "has no certificate in PEM (-----BEGIN CERTIFICATE-----)"),
        ("-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n", "has no certificate in PEM"),
    ],
)
def test_an_authority_that_cannot_be_used_is_refused(tmp_path, text, words):
    path = tmp_path / "ca.pem"
    if text is not None:
        path.write_text(text)
    for made, where in (
        (
            lambda: Endpoint.of_gateway(Gateway(url="https://h", model="m", ca_file=str(path))),
            "gateway: ca_file: ",
        ),
        (
            lambda: Endpoint.of_tier(
                Tier(name="a", match=Match(group="a"), url="https://h", model="m", ca_file=str(path))
            ),
            "tier 'a': ca_file: ",
        ),
    ):
        with pytest.raises(Refusal) as e:
            made()
        assert f"{where}{path} {words}" in str(e.value)


def test_an_authority_is_passed_on(tmp_path):
    path, _ = tls.certificate(tmp_path)
    assert Endpoint.of_gateway(Gateway(url="https://h", model="m", ca_file=str(path))).ca_file == str(path)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("api", ["openai", "ollama"])
def test_no_request_lets_its_answer_be_compressed(api, stream):
    request = Endpoint.of("http://h/v1", "m", api=api).request(
        "req-1", Request(prompt="hi", max_tokens=5, stream=stream)
    )
    assert b"\r\nAccept-Encoding: identity\r\n" in request.partition(b"\r\n\r\n")[0] + b"\r\n"
