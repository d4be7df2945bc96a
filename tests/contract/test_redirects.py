"""A redirect is reported with its target, and is not followed."""

import pytest

from tests.contract.exchanges import head, received, recorded

REDIRECTS = [
    # Location, words
    ("https://user:pass@llm.example:8443/v1/chat?key=secret#x", "https://llm.example:8443/v1/chat"),
    ("/v1/chat/completions/", "/v1/chat/completions/"),
    ("//other.example/v1?token=a", "//other.example/v1"),
    ("https://[2001:db8::1]/v1", "https://[2001:db8::1]/v1"),
    ("v1?key=secret", "v1"),
]


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 Other", "307 Temporary", "308 Permanent"])
@pytest.mark.parametrize(("location", "place"), REDIRECTS)
def test_a_redirect_is_shown_with_its_target_and_no_secret(status, location, place):
    raw = head(status, "content-length: 0", f"Location: {location}")
    record = recorded(received((1.0, raw))[0])
    assert record.outcome == "broken"
    assert record.error == f"status {status[:3]}, a redirect to {place}, which is not followed"


@pytest.mark.parametrize(
    ("location", "error"),
    [(None, "status 308"), ("", "status 308"), ("http://[", "status 308, a redirect to an invalid URL"),
     ("http://a:b/", "status 308, a redirect to an invalid URL")],
)  # fmt: skip
def test_a_redirect_without_a_valid_target_is_still_one(location, error):
    given = [] if location is None else [f"location: {location}"]
    record = recorded(received((1.0, head("308 Permanent", "content-length: 0", *given)))[0])
    assert (record.outcome, record.error) == ("broken", error)
