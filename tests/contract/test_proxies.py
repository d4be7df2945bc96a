"""A run is refused if a proxy of the environment applies, and the proxy's password is not shown."""

import pytest

from contract.proxies import applying, refuse
from contract.refusal import Refusal
from contract.topology import Topology

HTTP, HTTPS = "http://llm.ml.svc:4000", "https://llm.ml.svc/v1"
PROXY = "http://me:s3cret@proxy:3128"
APPLYING = [
    # url, environment, the variable that applies
    (HTTP, {}, None),
    (HTTP, {"http_proxy": PROXY}, "http_proxy"),
    (HTTP, {"HTTP_PROXY": PROXY}, "HTTP_PROXY"),
    (HTTP, {"http_proxy": ""}, None),
    (HTTP, {"http_proxy": "", "HTTP_PROXY": PROXY}, "HTTP_PROXY"),
    (HTTP, {"https_proxy": PROXY}, None),
    (HTTPS, {"https_proxy": PROXY}, "https_proxy"),
    (HTTPS, {"HTTPS_PROXY": PROXY}, "HTTPS_PROXY"),
    (HTTPS, {"http_proxy": PROXY}, None),
    (HTTP, {"all_proxy": PROXY}, "all_proxy"),
    (HTTPS, {"ALL_PROXY": PROXY}, "ALL_PROXY"),
    (HTTP, {"http_proxy": PROXY, "no_proxy": "other"}, "http_proxy"),
    (HTTP, {"http_proxy": PROXY, "no_proxy": "llm.ml.svc"}, None),
    (HTTP, {"http_proxy": PROXY, "NO_PROXY": "a, LLM.ml.svc ,b"}, None),
    (HTTP, {"http_proxy": PROXY, "no_proxy": "svc"}, None),
    (HTTP, {"http_proxy": PROXY, "no_proxy": ".svc"}, None),
    (HTTP, {"http_proxy": PROXY, "no_proxy": "*.svc"}, None),
    (HTTP, {"http_proxy": PROXY, "no_proxy": "vc"}, "http_proxy"),
    (HTTP, {"http_proxy": PROXY, "no_proxy": "*"}, None),
    (HTTP, {"http_proxy": PROXY, "no_proxy": "llm.ml.svc:4000"}, None),
    (HTTP, {"http_proxy": PROXY, "no_proxy": "llm.ml.svc:80"}, "http_proxy"),
    (HTTP, {"http_proxy": PROXY, "no_proxy": ","}, "http_proxy"),
    ("http://127.0.0.1:4000", {"http_proxy": PROXY}, "http_proxy"),  # also for loopback
    ("http://127.0.0.1:4000", {"http_proxy": PROXY, "no_proxy": "localhost"}, "http_proxy"),
    ("http://127.0.0.1:4000", {"http_proxy": PROXY, "no_proxy": "localhost,127.0.0.1"}, None),
    ("http://10.1.2.3:4000", {"http_proxy": PROXY, "no_proxy": "10.0.0.0/8"}, None),
    ("http://11.1.2.3:4000", {"http_proxy": PROXY, "no_proxy": "10.0.0.0/8"}, "http_proxy"),
    ("http://[fd00::1]:4000", {"http_proxy": PROXY, "no_proxy": "fd00::/8"}, None),
]  # fmt: skip


@pytest.mark.parametrize(("url", "environment", "name"), APPLYING)
def test_which_proxy_applies(url, environment, name):
    assert applying(url, environment) == name


def _topology(**embedded):
    tiers = [
        {
            "name": "a",
            "match": {"group": "a"},
            "url": "http://a:1",
            "model": "m",
            "health": "http://a:1/health",
        },
        {"name": "b", "match": {"group": "b"}, "health": "https://b/health"},
    ]
    return Topology.model_validate({"gateway": {"url": HTTP, "model": "a"}, "tiers": tiers} | embedded)


def test_a_refusal_gives_the_place_the_error_and_the_correction():
    with pytest.raises(Refusal) as e:
        refuse(_topology(), {"HTTP_PROXY": PROXY})
    assert str(e.value).splitlines() == [
        f"{where}: HTTP_PROXY is set, and names a proxy for {host}; unset it, or put {host} into NO_PROXY: "
        "a proxy would hide outages and hold streams back"
        for where, host in (("gateway", "llm.ml.svc"), ("tier 'a'", "a"))
    ]


def test_every_host_that_gets_requests_is_checked():
    with pytest.raises(Refusal) as e:
        refuse(_topology(), {"all_proxy": PROXY, "no_proxy": "llm.ml.svc,a"})
    assert str(e.value).startswith("tier 'b': all_proxy is set")
    refuse(_topology(), {"all_proxy": PROXY, "no_proxy": "llm.ml.svc,a,b"})
    refuse(_topology(), {})


def test_an_embedded_stack_is_on_loopback():
    stack = _topology(embedded={"gateway": "litellm.yaml", "engines": {}})
    with pytest.raises(Refusal, match=r"the embedded stack: http_proxy is set, and names a proxy for 127\.0"):
        refuse(stack, {"http_proxy": PROXY})
