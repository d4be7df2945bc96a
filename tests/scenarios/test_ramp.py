"""A real ramp against a server of known capacity finds that capacity."""

import json
import threading

from contract.run import read_arrow
from contract.schemas import REQUESTS
from tests.contract.exchanges import WHOLE, chunked, head
from tests.forked import run
from tests.scenarios.server import Server, Step

GOOD = head("200 OK", "transfer-encoding: chunked", "x-litellm-model-group: b") + chunked(*WHOLE)
SERVICE_S = 0.05


class OneAtATime(Server):
    """Takes SERVICE_S per answer, one at a time: 20 per second; the others wait."""

    def __init__(self) -> None:
        super().__init__([SERVICE_S, GOOD])
        self._busy = threading.Lock()

    def _run_step(self, connection, step: Step) -> bool:
        with self._busy:
            return super()._run_step(connection, step)


def test_the_knee_of_a_server_that_answers_twenty_a_second_is_found_below_that(tmp_path):
    options = "--ramp-from 4 --ramp-to 200 --ramp-factor 12 --ramp-hold 3s --objective-ttft-ms 1500"
    with OneAtATime() as server:
        given = {"gateway": server.url, "folder": str(tmp_path), "options": options.split()}
        done = run("tests.scenarios.ramped", input=json.dumps(given), timeout=120)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "ramp.json").read_text())
    (ramp,) = found["ramps"]
    rates = [s["rate"] for s in ramp["steps"]]
    assert rates in ([4, 48, 48], [4, 4, 48, 48]), (
        done.stdout
    )  # on a machine that is busy the first is held once more
    assert ramp["answer"]["rate"] == 4
    assert ramp["answer"]["bound"] in ("highest", "unknown_beyond")  # the second where this process was late
    calm, drowned = ramp["steps"][-3], ramp["steps"][-2]
    assert calm["good"] == 1.0
    assert drowned["ttft_p99_ms"] > 1500
    assert drowned["in_flight"] > 20
    conclusion = json.loads(done.stdout.splitlines()[-1])
    assert conclusion["code"] == (0 if ramp["answer"]["bound"] == "highest" else 5)
    assert "highest rate within the objective (p99 TTFT 1.5 s, 99% good): 4/s" in conclusion["text"]
    requests = read_arrow(tmp_path / "requests.arrow", REQUESTS)[0].to_pylist()
    assert len(requests) == sum(s["scheduled"] for s in ramp["steps"])
    assert {a["outcome"] for a in requests} == {"ok"}, "no step began before the one before it was answered"
