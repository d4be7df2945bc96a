"""Locust's web UI: Start opens a run with its faults, the page follows it to its end, and every field takes effect."""

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial

import pytest

from contract.run import read_arrow
from contract.schemas import REQUESTS
from tests.chaos.stand import until
from tests.scenarios.server import Server
from tests.whole.stack import SHORT, latest, with_urls
from tests.whole.test_bad_input import ANSWER
from tests.whole.ui import Ui

ANSWERS = ANSWER.replace(b"vlm-qwen\r\n", b"vllm-qwen\r\n")


UNREPORTED = ("-f", "tests/whole/unreported.py")


@pytest.fixture(scope="module")
def nowhere():
    """A port on which no gateway listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@pytest.fixture(scope="module")
def of_nowhere(tmp_path_factory, nowhere):
    """The web UI of a gateway that does not exist; and its folder."""
    folder = tmp_path_factory.mktemp("nowhere")
    (folder / "t.yaml").write_text(SHORT)
    with Ui(with_urls(folder, nowhere), folder / "t.yaml", folder / "results", *UNREPORTED) as ui:
        yield ui, folder


@pytest.fixture(scope="module")
def of_no_cluster(tmp_path_factory):
    """The web UI of a gateway that answers after a second, and of a cluster that cannot be reached: chaos refuses."""
    folder = tmp_path_factory.mktemp("no-cluster")
    with on_no_cluster(folder) as ui:
        yield ui


@contextmanager
def on_no_cluster(folder, *more):
    (folder / "t.yaml").write_text(SHORT)
    with Server([1.0, ANSWERS]) as server:
        path = with_urls(folder, server.port)
        with Ui(path, folder / "t.yaml", folder / "results", *UNREPORTED, *more) as ui:
            yield ui


def test_a_start_that_cannot_be_is_refused_in_the_page_before_anything_is_touched(of_nowhere, nowhere):
    ui, folder = of_nowhere
    (folder / "bad.yaml").write_text(SHORT.replace("target: vllm}", "target: vlm}"))
    gateway = f"http://127.0.0.1:{nowhere}"
    page = ui.template()
    assert page["host"] == gateway
    assert not page["missing_host_warning"]
    assert list(page["extra_options"]) == [
        "timeline",
        "duration",
        "restore_within",
        "scenarios",
        "arrivals",
        "seed",
    ]
    for form, words in (
        ({"timeline": "/no/such.yaml"}, "/no/such.yaml: cannot be read: No such file or directory"),
        ({"timeline": str(folder / "bad.yaml")}, "no tier 'vlm'; did you mean 'vllm'?"),
        ({"scenarios": "chat,dierct"}, "--scenarios: no scenario 'dierct'; did you mean 'direct'?"),
        ({"arrivals": "poison:8/s"}, "no kind of arrivals 'poison'; did you mean 'poisson'?"),
        ({"duration": "24"}, "--duration: '24' is not a duration; write 24s"),
        ({"restore_within": "20"}, "--restore-within: '20' is not a duration; write 20s"),
        ({"restore_within": "0s"}, "--restore-within: 0s leaves no time to restore; write it like 15m"),
        ({"seed": "one"}, "--seed: 'one' is not a whole number"),
        ({"users": "0"}, "users: 0 gives no load; give 1 or more"),
        ({"users": "six"}, "users: 'six' is not a whole number"),
        ({"spawn_rate": "0"}, "spawn_rate"),
        ({"run_time": "soon"}, "run time: 'soon' is not a duration; write it like 90s, 3m or 1h20m"),
        ({"host": "http://other:4000"}, f"host: the topology sets the gateway's url, {gateway}; do not change it"),
        ({"profile": "nightly"}, "profile: is not used; leave it empty"),
        ({"topology": "other.yaml"}, "--topology: is set on the command line and cannot be changed here"),
        ({"results": "/other"}, "--results: is set on the command line and cannot be changed here"),
        ({"user_classes": "ChatUser"}, "--user-classes: is set on the command line and cannot be changed here"),
    ):  # fmt: skip
        answer = ui.post("/swarm", **{"user_count": form.pop("users", 6), "spawn_rate": 6} | form)
        assert not answer["success"]
        assert words in answer["message"]
        assert ui.stats()["state"] == "ready"
    assert ui.runs() == []


def test_why_a_run_did_not_open_is_shown_in_the_page(of_nowhere, nowhere):
    ui, _ = of_nowhere
    for _ in range(2):
        ui.start()
        # It is refused within milliseconds: a poll may or may not find it "spawning".
        assert ui.states_until("ready") in (["spawning", "ready"], ["ready"])
        notice = ui.stats()["notice"]
        assert notice.startswith(f"gateway: http://127.0.0.1:{nowhere} gives no answer; refused")
    assert ui.runs() == []
    assert "Traceback" not in "".join(ui.out)


def test_what_chaos_refuses_is_shown_in_the_page(of_no_cluster):
    ui = of_no_cluster
    ui.start()
    assert ui.states_until("ready") == ["spawning", "ready"]
    assert "kubeconfig /none: cannot be used" in ui.stats()["notice"]
    assert ui.manifest()["status"] == "aborted"


def test_a_refused_autostart_ends_with_64_where_autoquit_is_given(tmp_path, topology, nowhere):
    (tmp_path / "t.yaml").write_text(SHORT)
    more = ("--autostart", "--autoquit", "0")
    ui = Ui(topology(nowhere), tmp_path / "t.yaml", tmp_path / "results", *more)
    assert ui.wait(60) == 64
    ui.__exit__()


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (("--host", "http://x"), "--host: 'http://x': the topology sets the gateway; remove the option"),
        (("--class-picker",), "--class-picker: choose scenarios with --scenarios"),
        (("--profile", "p"), "--profile: 'p': is not used; remove the option"),
        (
            ("--web-origin", "load.example.com"),
            "'load.example.com' is not an origin; write it like https://load.example.com",
        ),
    ],
)
def test_an_option_of_locusts_that_has_no_effect_on_a_run_is_refused(tmp_path, topology, option, words):
    (tmp_path / "t.yaml").write_text(SHORT)
    ui = Ui(topology(1), tmp_path / "t.yaml", tmp_path / "results", *option)
    assert ui.wait(60) == 64
    until(lambda: words in "".join(ui.out), "it logs the reason")


@pytest.mark.parametrize("host", ["127.0.0.1", "192.0.2.1"])
def test_an_address_on_which_the_page_cannot_be_is_refused_before_anything_is_touched(
    tmp_path, topology, host
):
    (tmp_path / "t.yaml").write_text(SHORT)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        more = ("--web-host", host, "--web-port", port)
        ui = Ui(topology(1), tmp_path / "t.yaml", tmp_path / "results", *more)
        assert ui.wait(60) == 64
    until(
        lambda: f"--web-host, --web-port: cannot listen on {host}, port {port}: " in "".join(ui.out),
        "it logs the reason",
    )


@pytest.mark.timeout(400)  # two runs, on a machine that may be busy
@pytest.mark.verify
@pytest.mark.parametrize("more", [(), ("--processes", "2")], ids=str)
def test_the_page_follows_a_run_and_every_field_takes_effect_in_the_next(stack, tmp_path, more):
    (tmp_path / "short.yaml").write_text(SHORT)
    (tmp_path / "other.yaml").write_text(SHORT.replace("baseline: 8s", "baseline: 7s"))
    with (
        Ui(stack.path, tmp_path / "short.yaml", tmp_path / "results", *more) as ui,
        ThreadPoolExecutor() as pool,
    ):
        here = partial(until, lambda: not more or ui.stats()["worker_count"] == 2, "the workers are here")
        here()
        ui.start(host=stack.topology.gateway.url, scenarios="chat,direct")
        assert not (again := ui.swarm())["success"]
        assert again["message"] == "a run is being opened; wait until it is running"
        assert ui.template()["state"] == "spawning"
        assert ui.states_until("running", users=1) == ["spawning", "running"]
        until(lambda: ui.aggregated()["num_requests"], "requests are counted")

        assert not ui.swarm(seed=7)["success"]
        assert ui.stats()["notice"].startswith("--seed: cannot be changed during a run")
        assert ui.swarm(users=9, scenarios="chat,direct")["success"]
        until(lambda: ui.stats()["user_count"] == 9, "there are more users")
        assert ui.stats()["notice"] is None

        stopping = pool.submit(ui.post, "/stop")
        assert ui.states_until("stopped") == ["running", "stopped"]
        assert "verdict_exit_code" in ui.manifest(), "the run is reported when it is shown as stopped"
        assert stopping.result()["success"]
        first, manifest = latest(ui.results), ui.manifest()
        assert manifest["reason"] == "signal: stopped before the end of the timeline"
        assert {r["scenario"] for r in users_of(first)} == {"chat", "direct"}
        assert ui.aggregated()["num_requests"] == len(users_of(first))

        stack.calm()
        here()
        ui.start(users=3, scenarios="chat", timeline=tmp_path / "other.yaml", seed=7, arrivals="constant:4/s")
        assert set(ui.states_until("running", users=1)) == {"spawning", "running"}
        second = latest(ui.results)
        assert second != first
        until(lambda: ui.aggregated()["num_requests"] > 8, "requests are counted")
        ui.post("/stop")
        arguments = ui.manifest()["arguments"]
        assert (arguments["scenarios"], arguments["arrivals"]) == ("chat", "constant:4/s")
        assert (arguments["num_users"], ui.manifest()["seed"]) == (3, 7)
        assert "baseline: 7s" in (second / "timeline.yaml").read_text()
        sent = users_of(second)
        assert {r["scenario"] for r in sent} == {"chat"}
        assert all(r["scheduled_at"] is not None for r in sent)
        assert ui.aggregated()["num_requests"] == len(sent)


def users_of(run):
    rows = read_arrow(run / "requests.arrow", REQUESTS)[0].to_pylist()
    return [r for r in rows if r["lane"] != "warmup"]


@pytest.mark.verify
@pytest.mark.timeout(400)
def test_the_end_of_the_timeline_ends_the_run_and_autoquit_the_page(stack, tmp_path):
    (tmp_path / "short.yaml").write_text(SHORT)
    more = ("--autostart", "--autoquit", "3")
    with Ui(stack.path, tmp_path / "short.yaml", tmp_path / "results", *more) as ui:
        seen = ui.states_until("stopped", 180)
        assert set(seen) <= {"ready", "spawning", "running", "stopped"}
        assert seen[-2:] == ["running", "stopped"]
        manifest = ui.manifest()
        assert (manifest["status"], manifest["verdict_exit_code"]) == ("finished", 0)
        assert ui.wait(60) == 0


@pytest.mark.verify
@pytest.mark.parametrize("more", [(), ("--processes", "1")], ids=str)
def test_a_stop_while_the_run_is_being_opened_ends_it(stack, tmp_path, more):
    (tmp_path / "short.yaml").write_text(SHORT)
    with Ui(stack.path, tmp_path / "short.yaml", tmp_path / "results", *more) as ui:
        until(lambda: not more or ui.stats()["worker_count"] == 1, "the worker is here")
        ui.start(run_time="50s")
        ui.states_until("spawning")
        assert ui.post("/stop")["success"]
        assert set(ui.states_until("stopped")) <= {"running", "stopped"}
        assert ui.stats()["user_count"] == 0
        manifest = ui.manifest()
        assert manifest["reason"] == "signal: stopped before the end of the timeline"
        assert manifest["arguments"]["run_time"] == 50
        assert len(ui.runs()) == 1


def test_a_stop_while_a_start_is_checked_ends_that_start(of_no_cluster):
    ui = of_no_cluster
    before = len(ui.runs())
    with ThreadPoolExecutor() as pool:
        for _ in range(5):  # the check may be over before the stop arrives
            start = pool.submit(ui.swarm)
            until(lambda: ui.stats()["state"] == "spawning", "the start is checked")
            ui.post("/stop")
            if not (answer := start.result())["success"]:
                break
            until(lambda: ui.stats()["state"] in ("ready", "stopped"), "it is over")
            before = len(ui.runs())
    assert answer["message"] == "the start was stopped before the run was opened"
    assert ui.stats()["state"] in ("ready", "stopped")
    assert len(ui.runs()) == before


@pytest.mark.parametrize("apart_s", [0.0, 0.3])
@pytest.mark.parametrize("more", [(), pytest.param(("--processes", "1"), marks=pytest.mark.verify)], ids=str)
def test_of_several_starts_at_once_one_opens_a_run_and_the_others_are_refused(
    of_no_cluster, tmp_path, more, apart_s
):
    """Each body comes after its head: all of them are in progress before one is read."""
    with on_no_cluster(tmp_path, *more) if more else nullcontext(of_no_cluster) as ui:
        before = len(ui.runs())
        until(lambda: not more or ui.stats()["worker_count"] == 1, "the worker is here")
        answers = starts(ui, 4, apart_s)
        until(lambda: ui.stats()["state"] in ("ready", "stopped"), "it is over")
        assert [a["success"] for a in answers].count(True) == 1, answers
        refused = {a["message"] for a in answers if not a["success"]}
        assert refused == {"a run is being opened; wait until it is running"}
        assert len(ui.runs()) == before + 1


def starts(ui, count, apart_s):
    """The answers to so many POSTs of Start, whose bodies are sent at once or one after the other."""
    body = b"user_count=6&spawn_rate=6"
    head = (
        f"POST /swarm HTTP/1.1\r\nHost: {ui.url[7:]}\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    ).encode()
    host, _, port = ui.url[7:].partition(":")
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_connection((host, int(port)), 60)) for _ in range(count)]
        for each in sockets:
            each.sendall(head)
        ui.stats()  # answered after the heads were read
        for each in sockets:
            each.sendall(body)
            time.sleep(apart_s)
        return [json.loads(each.makefile("rb").read().partition(b"\r\n\r\n")[2]) for each in sockets]


@pytest.mark.verify
@pytest.mark.parametrize("more", [(), ("--processes", "1")], ids=str)
def test_a_stop_of_a_start_that_is_refused_meanwhile_leaves_a_page_that_can_start_again(
    of_no_cluster, tmp_path, more
):
    with on_no_cluster(tmp_path, *more) if more else nullcontext(of_no_cluster) as ui:
        before = len(ui.runs())
        for _ in range(2):
            # A worker that was stopped leaves and comes back.
            until(lambda: not more or ui.stats()["worker_count"] == 1, "the worker is here")
            ui.start()
            assert ui.stats()["state"] == "spawning"
            assert ui.post("/stop")["success"]
            until(lambda: ui.stats()["state"] in ("ready", "stopped"), "it is over")
            assert "kubeconfig /none: cannot be used" in ui.stats()["notice"]
        assert len(ui.runs()) == before + 2
