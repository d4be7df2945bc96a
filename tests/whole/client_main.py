"""Sends requests with the harness's own client in a separate process: a topology and requests as JSON in, records as JSON out.

gevent's patches must not reach the process of the tests.
"""

import gevent.monkey

gevent.monkey.patch_all()

import dataclasses  # noqa: E402
import json  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402

import gevent  # noqa: E402

from contract import topology  # noqa: E402
from contract.classification import Classification  # noqa: E402
from contract.clock import Clock  # noqa: E402
from contract.document import read  # noqa: E402
from contract.prompt import COUNT_UPWARDS  # noqa: E402
from contract.proper_end import JSON_OBJECT  # noqa: E402
from contract.request import Request  # noqa: E402
from scenarios.classify import LONGEST, SYSTEM, TEMPERATURE  # noqa: E402
from scenarios.gateway.recorder import Recorder  # noqa: E402
from scenarios.gateway.sender import Sender  # noqa: E402
from scenarios.gateway.user_context import DEADLINES, UserContext, endpoints  # noqa: E402
from tests.scenarios.user_contexts import Kept, kept  # noqa: E402

CORPUS = Path(__file__).parents[2] / "scenarios" / "documents"


def main(path: str, prefix: str, requests: list[dict], deadlines: dict, at_once: int) -> list[dict]:
    """`requests`: fields of a Request, plus `repeat` (default 1), `kill_after_s` and `document` (the id of a document
    to classify); `at_once`: how many in flight."""
    corpus = (
        {document.id: document for document in read(CORPUS)}
        if any("document" in one for one in requests)
        else {}
    )
    found = topology.read(Path(path))
    gateway, tiers = endpoints(found)
    user_context = UserContext(
        topology=found, recorder=Recorder(Kept(), print), clock=Clock(), seed=1, prefix=prefix, gateway=gateway,
        tiers=tiers, deadlines=dataclasses.replace(DEADLINES, **deadlines),
    )  # fmt: skip
    todo = [one for one in requests for _ in range(one.pop("repeat", 1))]

    def work() -> None:
        sender = Sender(user_context, "test", lambda record, size: None)
        while todo:
            one = dict(todo.pop(0))
            kill_after_s = one.pop("kill_after_s", None)
            if "document" in one:
                document = corpus[one.pop("document")]
                one = {
                    "prompt": document.text[:LONGEST], "stream": False, "capped": False, "history": (("system", SYSTEM),), "temperature": TEMPERATURE,
                    "proper_end": JSON_OBJECT, "classification": Classification(document, 1),
                } | one  # fmt: skip
            request = Request(**{"prompt": COUNT_UPWARDS} | one)
            if kill_after_s is None:
                sender.send(request)
            else:
                client = gevent.spawn(sender.send, request)
                gevent.sleep(kill_after_s)
                client.kill()
        sender.close()

    gevent.joinall([gevent.spawn(work) for _ in range(at_once)], raise_error=True)
    return [dataclasses.asdict(record) for record in kept(user_context)]


if __name__ == "__main__":
    print(json.dumps(main(**json.load(sys.stdin))))
