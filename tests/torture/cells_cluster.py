"""Cells of faults while credentials are rotated or end, and while proxies answer in the API server's place."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from random import Random

from embedded.apiserver.kubeconfig import write
from embedded.apiserver.rights import Identity, web_token
from tests.chaos.between import PAGES, Between, Page
from tests.chaos.stand import TOKEN
from tests.torture.bench import Bench, Controller
from tests.torture.cells import SHORT_S, Cell, _closed, _settled

USER = "rotated"
START_WITHIN_S = 90.0  # a machine may be busy with other trials
SLOW = Page(504, b"<html>504 Gateway Timeout</html>", "text/html", delay_s=1.0)
WHERE: dict[str, Callable[[str, str], bool]] = {
    "everywhere": lambda method, path: True,
    "at the scale": lambda method, path: path.endswith("/scale"),
    "at the Leases": lambda method, path: "/leases" in path,
    "at what is read": lambda method, path: method == "GET",
    "at what is written": lambda method, path: method != "GET",
}


class Account:
    """An account whose token is rotated: in the file that its kubeconfig names, or in the kubeconfig itself."""

    def __init__(self, bench: Bench, way: str) -> None:
        self._bench, self._way = bench, way
        self._path = bench.run / "kubeconfig"
        self.give(self.accept())

    def accept(self) -> str:
        """A new token, which the API server accepts from now on; it refuses those before it."""
        token = web_token(USER, time.time() + 3600)
        self._accept(Identity(USER, token, admin=True))
        return token

    def end(self) -> None:
        """Its credentials end now."""
        self._accept(Identity(USER, "ended", admin=True, ends_at=time.time()))

    def give(self, token: str) -> None:
        write(self._path, self._bench.stand.url, token, "ml")
        if self._way == "tokenFile":
            part = self._bench.run / "token.part"
            part.write_text(token)
            part.replace(self._bench.run / "token")
            document = json.loads(self._path.read_text())
            document["users"][0]["user"] = {"tokenFile": "token"}
            self._path.write_text(json.dumps(document))

    @contextmanager
    def used(self) -> Iterator[None]:
        """A controller that is started meanwhile uses this account."""
        before, self._bench.stand.kubeconfig = self._bench.stand.kubeconfig, self._path
        try:
            yield
        finally:
            self._bench.stand.kubeconfig = before

    def _accept(self, identity: Identity) -> None:
        cluster = self._bench.stand.cluster
        cluster.tokens = (*(i for i in cluster.tokens if i.user != USER), identity)


def credentials_rotated(bench: Bench, rng: Random) -> float:
    """The old token is refused at once; the restorer finds the new one a little later."""
    account, controller = _in_effect(bench, rng)
    killed = rng.random() < 0.5
    at = time.time()
    token = account.accept()
    if killed:
        os.kill(controller.pid, signal.SIGKILL)
    time.sleep(rng.uniform(0.0, 0.5))
    account.give(token)
    _restored(bench, controller, killed)
    return at


def credentials_ended(bench: Bench, rng: Random) -> float:
    """No credentials are accepted for a while, past the end of the step; fresh ones come later."""
    account, controller = _in_effect(bench, rng)
    killed = rng.random() < 0.5
    at = time.time()
    account.end()
    if killed:
        os.kill(controller.pid, signal.SIGKILL)
    time.sleep(rng.uniform(1.0, SHORT_S + 3))
    assert bench.open_records(), "the record was closed though the API server refused every request"
    assert bench.stand.replicas() == 0, "a refused client changed the target"
    account.give(account.accept())
    _restored(bench, controller, killed)
    return at


def _in_effect(bench: Bench, rng: Random) -> tuple[Account, Controller]:
    account = Account(bench, rng.choice(("tokenFile", "kubeconfig")))
    with account.used():
        controller = bench.chaos(SHORT_S)
        controller.await_event("inject", "effective", START_WITHIN_S)
    controller.guardian()
    return account, controller


def _restored(bench: Bench, controller: Controller, killed: bool) -> None:
    code = controller.wait(90)
    assert killed or code == 0, f"exit {code}: {controller.log()}"
    _settled(bench, controller)


def page_while_restoring(by: str, bench: Bench, rng: Random) -> float:
    """A proxy answers for a while: its answers close no record, and the target is restored."""
    page = rng.choice([SLOW, *PAGES.values()])
    where = WHERE[rng.choice(list(WHERE))]
    with Between(bench.stand.url) as between:
        path = bench.run / "kubeconfig"
        write(path, between.url, TOKEN, "ml")
        before, bench.stand.kubeconfig = bench.stand.kubeconfig, path
        try:
            controller = bench.chaos(SHORT_S)
            controller.await_event("inject", "effective", START_WITHIN_S)
            guardian = controller.guardian()
            at = time.time()
        finally:
            bench.stand.kubeconfig = before
        between.page = lambda method, path: page if where(method, path.partition("?")[0]) else None
        if by == "restore":
            os.kill(guardian, signal.SIGKILL)
        if by != "controller":
            os.kill(controller.pid, signal.SIGKILL)
        if by == "restore":
            restoring = bench.command("restore")
        assert between.met.wait(60), "no request got the page"
        time.sleep(rng.uniform(0.2, 3.0) + (SHORT_S if by == "controller" else 0.0))
        assert bench.open_records(), "the record was closed by a page"
        between.page = lambda method, path: None
        if by == "restore":
            assert restoring.wait(90) == 0, (bench.run / "log").read_text()
            bench.await_up()
            _closed(bench)
        else:
            _restored(bench, controller, killed=by == "guardian")
    return at


def cells() -> dict[str, Cell]:
    found: dict[str, Cell] = {
        "credentials rotated mid-fault": credentials_rotated,
        "credentials ended mid-fault, fresh ones later": credentials_ended,
    }
    for by in ("controller", "guardian", "restore"):
        found[f"a page from between while restoring · {by}"] = partial(page_while_restoring, by)
    return found
