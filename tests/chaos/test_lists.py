"""Lists are read in pages: whatever others have created, none is lost and no answer is larger than memory allows."""

import json
import threading
import time

import pytest
from aiohttp import web

from chaos.kube import wire
from chaos.kube.cluster import API_ERRORS
from chaos.kube.names import LABEL
from chaos.stop import Stop
from chaos.undo import reaper, restorer
from chaos.undo.reaper import Reaper
from contract.clock import Clock
from tests.chaos.reaping import Running, abandon, replicas
from tests.chaos.small import Small, sleepers
from tests.chaos.test_hostile_leases import FORGED, forge, record
from tests.embedded.recorded.stand import until


class Seen:
    """The lists that were requested: the limit and the size of each answer. `answer`: in place of the server's."""

    def __init__(self) -> None:
        self.lists: list[tuple[str, int]] = []
        self.answer = None

    @web.middleware
    async def __call__(self, request, handler):
        if "labelSelector" not in request.query or "watch" in request.query:
            return await handler(request)
        if self.answer is not None:
            return web.json_response(self.answer)
        response = await handler(request)
        if request.path.endswith("/leases"):
            self.lists.append((request.query.get("limit", ""), len(response.body)))
        return response


@pytest.fixture
def seen():
    return Seen()


@pytest.fixture
def small(tmp_path, monkeypatch, seen):
    monkeypatch.setattr(restorer, "WATCH_ON_S", 0.05)
    monkeypatch.setattr(reaper, "EVERY_S", 0.1)
    manifests = [sleepers(name, replicas=1) for name in ("engine", FORGED)]
    with Small(tmp_path, *manifests, middlewares=[seen.__call__]) as made:
        for name in ("engine", FORGED):
            made.up(name)
        yield made


def put(small: Small, number: int, text: str = "{}") -> None:
    key, _, value = LABEL.partition("=")
    meta = {"name": f"a-{number:04}", "namespace": "ml", "labels": {key: value}}
    meta["annotations"] = {"brownout.dev/undo": text}
    small.apply({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta, "spec": {}})


def names(small: Small) -> list[str]:
    return [found["metadata"]["name"] for found in small.admin.leases("ml", LABEL)]


@pytest.mark.parametrize("count", [0, 1, 3, 4, 7])
def test_all_pages_of_a_list_are_read_once(small, monkeypatch, seen, count):
    monkeypatch.setattr(wire, "PAGE", 3)
    for number in range(count):
        put(small, number)
    assert names(small) == [f"a-{number:04}" for number in range(count)]
    assert len(seen.lists) == max(1, -(-count // 3))
    assert len(small.admin.pods("ml", {"matchLabels": {"app": "engine"}})) == 1


def test_a_page_that_is_too_large_is_requested_in_smaller_ones(small, monkeypatch, seen):
    monkeypatch.setattr(wire, "PAGE_MOST_BYTES", 100_000)
    for number in range(9):
        put(small, number, "x" * 30_000)
    assert len(names(small)) == 9
    assert [limit for limit, _ in seen.lists[:3]] == ["100", "25", "6"]


def test_200_leases_of_200_kb_are_never_in_one_answer(small, seen):
    abandon(small, "engine", late_s=5)
    for number in range(200):
        put(small, number, "x" * 200_000)
    with Running(small.admin) as running:
        until(lambda: replicas(small, "engine") == 1, "the dead run's tier is back")
        until(lambda: any("ml: 200 Leases hold no record" in line for line in running.lines), "counted")
    read = [size for _, size in seen.lists if size <= wire.PAGE_MOST_BYTES]
    assert sum(read) >= 200 * 200_000


def test_a_list_that_names_the_same_page_again_is_an_error(small, seen):
    seen.answer = {"kind": "LeaseList", "items": [], "metadata": {"resourceVersion": "1", "continue": "more"}}
    with pytest.raises(API_ERRORS, match="the same page of a list twice"):
        names(small)


def test_600_forged_records_start_no_more_than_the_pools_threads_and_the_tier_is_back(small):
    """They name targets that do not exist, and are more overdue."""
    abandon(small, "engine", late_s=5)
    uid = small.admin.identity()[0]
    for number in range(600):
        name = f"a{number}"
        key, _, value = LABEL.partition("=")
        text = json.dumps(record(handle=f"ml/{name}", cluster=uid))
        meta = {"name": f"brownout-deployment-{name}", "namespace": "ml", "labels": {key: value}}
        meta["annotations"] = {"brownout.dev/undo": text}
        small.apply({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta, "spec": {}})
    clock = Clock(time.time, time.time)
    found = Reaper(small.admin, ["ml"], clock, Stop(), lambda words: None)
    before = threading.active_count()
    found.look("ml")
    most = 0

    def back() -> bool:
        nonlocal most
        most = max(most, sum(thread.name == "restore" for thread in threading.enumerate()))
        return replicas(small, "engine") == 1

    until(back, "the dead run's tier is back, after those that are more overdue")
    assert 0 < most <= reaper.RESTORES_MOST
    assert threading.active_count() <= before + reaper.RESTORES_MOST
    found._overdue.close()


def test_what_was_found_before_a_list_broke_off_is_restored(small, monkeypatch, seen):
    abandon(small, "engine", late_s=5)
    monkeypatch.setattr(wire, "PAGE", 1)
    forge(small, "{}", "z")
    really = wire.rest_of
    monkeypatch.setattr(wire, "rest_of", lambda listed: really(listed) and "not a token")
    with Running(small.admin) as running:
        until(lambda: replicas(small, "engine") == 1, "the dead run's tier is back")
        until(
            lambda: any("continue key is not valid" in line for line in running.lines), "it reports the list"
        )
