"""An engine that takes long to load: at start, or, as Ollama, at the first request."""

import asyncio
import selectors
import sys
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from contract.topology import Tier
from embedded import program
from embedded.apiserver.pod import is_ready
from embedded.engine.loading import Model
from embedded.engine.slots import Closed, Full
from embedded.program import Place
from tests.embedded.engine import HOUSE, QUICK, Running, chat, next_event, running
from tests.embedded.recorded.stand import LocalCluster, until, workload
from tests.ports import held_port

SLOW_AGAIN = ("--startup-duration", "10m", "--first-startup-duration", "1ms")
PAGES = ("/", "/api/tags", "/api/version", "/v1/models")


def test_only_the_first_start_is_quick_and_a_restarted_engine_loads_long(tmp_path: Path) -> None:
    pidfile = tmp_path / "pid"
    again = (*SLOW_AGAIN, "--pidfile", str(pidfile))
    with running("vllm", tmp_path, *QUICK, *again) as first:
        assert first.request_json("/v1/chat/completions", chat(max_tokens=1))[0] == 200
    with running("vllm", tmp_path, *QUICK, *again, port=first.port, listening=False) as second:
        until(lambda: pidfile.read_text() == f"{second.process.pid}\n", "it has begun")
        assert not second.accepts()
        assert second.process.poll() is None


def test_a_pod_whose_engine_loads_runs_and_is_not_ready(tmp_path: Path) -> None:
    port, pidfile = held_port(), tmp_path / "pid"
    command = [sys.executable, "-m", "embedded.engine", "--personality", "vllm", "--port", str(port)]
    made = workload("vllm", port=port, command=[*command, *SLOW_AGAIN, "--pidfile", str(pidfile)])
    (container,) = made["spec"]["template"]["spec"]["containers"]
    container |= {
        "readinessProbe": {"httpGet": {"path": "/health", "port": port}},
        "env": [{"name": "PYTHONPATH", "value": str(HOUSE)}],
    }

    def pods(ready: bool) -> list[dict[str, Any]]:
        found = local.pods("vllm")
        return [pod for pod in found if is_ready(pod) is ready and "deletionTimestamp" not in pod["metadata"]]

    with LocalCluster(made) as local:
        (first,) = until(lambda: pods(ready=True), "the first start is quick")
        was = pidfile.read_text()
        local.request("DELETE", f"/api/v1/namespaces/ml/pods/{first['metadata']['name']}")
        until(lambda: pidfile.read_text() != was, "its successor runs")
        (second,) = pods(ready=False)
        (status,) = second["status"]["containerStatuses"]
        assert (status["ready"], status["restartCount"], list(status["state"])) == (False, 0, ["running"])


def test_an_engine_that_listens_while_it_loads_answers_503_on_every_page(tmp_path: Path) -> None:
    with running("vllm", tmp_path, "--startup-duration", "10m", "--while-loading", "503") as engine:
        for path, body in (("/health", None), ("/v1/models", None), ("/v1/chat/completions", chat())):
            status, answer = engine.request_json(path, body)
            assert (status, answer["error"]["message"]) == (503, "Loading model")
        assert engine.request_json("/faults")[0] == 200


def test_an_engine_that_listened_while_it_loaded_serves_in_the_end(tmp_path: Path) -> None:
    loading = ("--startup-duration", "300ms", "--while-loading", "503")
    with running("vllm", tmp_path, *QUICK, *loading) as engine:
        until(lambda: engine.request("/health").status == 200, "it is loaded")
        assert engine.request_json("/v1/chat/completions", chat(max_tokens=1))[0] == 200


@pytest.fixture(scope="module")
def loads_long(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("loads_long")
    with running("ollama", folder, *QUICK, "--load-at-first-request", "10m") as engine:
        yield engine


def listed(engine: Running) -> list[str]:
    return [row["name"] for row in engine.request_json("/api/ps")[1]["models"]]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", ["/api/chat", "/v1/chat/completions"])
def test_ollamas_pages_answer_while_a_request_waits_for_the_model_and_the_load_ends_with_its_client(
    loads_long: Running, path: str, stream: bool
) -> None:
    engine = loads_long
    before = len(engine.entries())
    assert listed(engine) == []
    waiting = engine.send(path, chat(stream=stream))
    until(lambda: listed(engine) == ["m"], "the load has begun")
    assert [engine.request(page).status for page in PAGES] == [200] * len(PAGES)
    waiting.close()
    until(lambda: listed(engine) == [], "the load was given up")
    entry = engine.entries()[before]
    assert (entry.how, entry.started_at, entry.status) == ("gone", None, None)


def test_ollama_loads_at_the_first_request_and_reports_how_long(tmp_path: Path) -> None:
    with running("ollama", tmp_path, *QUICK, "--load-at-first-request", "300ms") as engine:
        plain = engine.request_json("/api/chat", chat(stream=False, options={"num_predict": 2}))[1]
        assert plain["load_duration"] >= 0.3e9
        (loaded,) = engine.request_json("/api/ps")[1]["models"]
        assert (loaded["name"], loaded["expires_at"] > "2") == ("m", True)
        # A loaded model serves every request, streamed ones too.
        assert next_event(engine.request("/v1/chat/completions", chat(stream=True, max_tokens=1))) is not None
        engine.request_json("/api/chat", chat(stream=False, keep_alive=0, options={"num_predict": 1}))
        until(lambda: listed(engine) == [], "keep_alive 0 unloads it")
        entry = engine.entries()[0]
        assert entry.started_at is not None
        assert entry.started_at - entry.arrived_at >= 0.3


@pytest.mark.parametrize("keep_alive", ["soon", "5 m", True, [1]])
def test_ollama_refuses_a_keep_alive_that_is_not_a_duration(loads_long: Running, keep_alive: object) -> None:
    status, answer = loads_long.request_json("/api/chat", chat(keep_alive=keep_alive))
    assert (status, "keep_alive" in answer["error"]) == (400, True)


class _Jumps(selectors.DefaultSelector):
    """Does not wait: moves the loop's clock to the next timer."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        self.now += timeout or 0.0
        return super().select(0)


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jumps = _Jumps()
        super().__init__(self._jumps)

    def time(self) -> float:
        return self._jumps.now


def run_in_virtual_time(story: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=_Loop) as runner:
        runner.run(story)


async def use(model: Model, for_s: float = 0.0, keep_alive_s: float | None = None) -> tuple[float, float]:
    """(when it was loaded, when the use ended)."""
    loop = asyncio.get_running_loop()
    async with model.in_use(keep_alive_s):
        began = loop.time()
        await asyncio.sleep(for_s)
    return began, loop.time()


def test_requests_that_wait_for_the_same_load_share_it() -> None:
    async def story() -> None:
        model = Model(25.0, 300.0, 512)
        many = [asyncio.create_task(use(model, 1.0)) for _ in range(3)]
        assert [began for began, _ in await asyncio.gather(*many)] == [pytest.approx(25.0)] * 3

    run_in_virtual_time(story())


def test_the_next_request_loads_from_the_start_when_the_loading_client_disconnects() -> None:
    async def story() -> None:
        model = Model(25.0, 300.0, 512)
        first, second = (asyncio.create_task(use(model)) for _ in range(2))
        await asyncio.sleep(20.0)
        first.cancel()
        assert (await second)[0] == pytest.approx(45.0)

    run_in_virtual_time(story())


def test_a_waiting_client_that_disconnects_does_not_end_the_load() -> None:
    async def story() -> None:
        model = Model(25.0, 300.0, 512)
        first, second = (asyncio.create_task(use(model)) for _ in range(2))
        await asyncio.sleep(20.0)
        second.cancel()
        assert (await first)[0] == pytest.approx(25.0)

    run_in_virtual_time(story())


@pytest.mark.parametrize(
    ("keep_alive_s", "after_s", "loaded"),
    [
        (None, 299.0, True), (None, 301.0, False), (0.0, 0.1, False), (-1.0, 1e6, True), (10.0, 9.0, True), (10.0, 11.0, False),
    ],
)  # fmt: skip
def test_the_model_is_unloaded_after_its_idle_time(
    keep_alive_s: float | None, after_s: float, loaded: bool
) -> None:
    async def story() -> None:
        model = Model(25.0, 300.0, 512)
        await use(model, 5.0, keep_alive_s)
        await asyncio.sleep(after_s)
        assert model.is_listed is loaded

    run_in_virtual_time(story())


def test_a_model_in_use_is_not_unloaded_and_a_requests_keep_alive_ends_with_the_load() -> None:
    async def story() -> None:
        model = Model(25.0, 300.0, 512)
        long = asyncio.create_task(use(model, 1000.0))
        await use(model, 0.0, keep_alive_s=1.0)
        await asyncio.sleep(900.0)
        assert model.is_listed
        await long
        await asyncio.sleep(2.0)
        assert not model.is_listed
        await use(model)
        await asyncio.sleep(200.0)
        assert model.is_listed  # by the engine's own keep-alive again

    run_in_virtual_time(story())


def test_too_many_waits_for_a_load_are_refused_and_the_rest_end_when_it_shuts_down() -> None:
    async def story() -> None:
        model = Model(25.0, 300.0, 1)
        waiting = [asyncio.create_task(use(model)) for _ in range(2)]
        await asyncio.sleep(1.0)
        with pytest.raises(Full):
            await use(model)
        model.close()
        ends = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(end) for end in ends] == [Closed, Closed]

    run_in_virtual_time(story())


@pytest.mark.parametrize(
    ("given", "starts_s"),
    [
        ({}, 0.0), ({"startup-duration": "10m"}, 600.0),
        ({"startup-duration": "600s", "first-startup-duration": "1s"}, 1.0),
    ],
)  # fmt: skip
def test_a_stack_waits_for_the_startup_of_its_engines(
    tmp_path: Path, given: dict[str, str], starts_s: float
) -> None:
    tier = Tier.model_validate({"name": "vllm", "match": {"group": "g"}})
    place = Place(1, tmp_path / "ledger", tmp_path / "pid")
    assert program.of(tier, {"personality": "vllm"} | given, place, "here", tmp_path).starts_s == starts_s
