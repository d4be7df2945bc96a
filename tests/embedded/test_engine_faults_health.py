"""The health pages of an engine while a fault is set."""

import pytest

from embedded.engine.faults.flapping import Flapping
from tests.embedded.engine import Running, until
from tests.embedded.faults import CATALOGUE, LONG_S, control, entry_of, fault, send_request


@pytest.mark.parametrize(
    ("age_s", "healthy"),
    # down for two seconds, up for three, and again
    [(0.0, False), (1.9, False), (2.0, True), (4.9, True), (5.0, False), (7.1, True), (10.5, False)],
)
def test_flapping_begins_down_and_alternates(age_s: float, healthy: bool) -> None:
    assert Flapping(up_s=3.0, down_s=2.0).is_healthy(age_s) == healthy


HEALTH = {
    "vllm": ("/health",),
    "ollama": ("/", "/api/version", "/api/tags"),
    "cloud": ("/v1/models",),
}


def healths(engine: Running, personality: str) -> set[int]:
    return {engine.request(path).status for path in HEALTH[personality]}


@pytest.mark.parametrize("personality", HEALTH)
def test_flapping_is_seen_on_requests_and_on_the_health_page(
    personality: str, request: pytest.FixtureRequest
) -> None:
    engine: Running = request.getfixturevalue(personality)
    with fault(engine, "flapping", down_s=LONG_S, up_s=LONG_S):
        assert healths(engine, personality) == {503}
        assert send_request(engine).status == 503
    with fault(engine, "flapping", down_s=0.3, up_s=LONG_S):
        until(lambda: healths(engine, personality) == {200})
        assert send_request(engine).status == 200


@pytest.mark.parametrize("personality", HEALTH)
def test_unhealthy_affects_the_health_page_only(personality: str, request: pytest.FixtureRequest) -> None:
    engine: Running = request.getfixturevalue(personality)
    with fault(engine, "unhealthy"):
        assert healths(engine, personality) == {503}
        received = send_request(engine)
        assert (received.status, entry_of(engine, received.nonce).fault) == (200, None)
    assert healths(engine, personality) == {200}


@pytest.mark.parametrize("name", sorted(set(CATALOGUE) - {"flapping", "unhealthy"}))
def test_the_pages_stay_healthy_and_the_control_is_not_a_request(vllm: Running, name: str) -> None:
    requests = len(vllm.entries())
    with fault(vllm, name):
        for page in ("/health", "/v1/models", "/metrics", "/ledger"):
            assert vllm.request(page).status == 200
        status, answer = control(vllm, "GET")
        assert (status, answer["fault"]["fault"]) == (200, name)
    assert len(vllm.entries()) == requests
