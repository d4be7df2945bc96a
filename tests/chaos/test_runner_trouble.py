"""What an API server in trouble does to a step: what is delayed by it, what arrives late, and what is never restored."""

import asyncio
import json

import pytest
from aiohttp import web

from chaos import step
from tests.chaos.stand import until
from tests.chaos.walk import ALL, Walk


@pytest.mark.parametrize("status", [500, 429, 502], ids=["500", "429", "a page of HTML"])
def test_an_api_server_in_trouble_delays_the_restore_and_does_not_lose_it(stand, tmp_path, status):
    refused = []

    async def trouble(request, handler):
        if request.method in ("PATCH", "GET") and len(refused) < 4:
            refused.append(request.path)
            return web.Response(status=status, text="<html>Bad Gateway</html>", content_type="text/html")
        return await handler(request)

    found = Walk(stand, tmp_path, hold=True)
    found.await_("inject effective")
    stand.intercept = trouble
    found.pass_()
    assert not found.end().not_restored
    assert len(refused) == 4
    assert stand.ready() == 1


def test_a_status_without_a_message_is_trouble_as_any_other(stand, tmp_path):
    left = [2]

    async def trouble(request, handler):
        if not left[0] or not request.path.endswith("/scale"):
            return await handler(request)
        left[0] -= 1
        return web.json_response({"kind": "Status", "status": "Failure", "code": 500}, status=500)

    found = Walk(stand, tmp_path, hold=True)
    found.await_("inject effective")
    stand.intercept = trouble
    found.pass_()
    assert not found.end().not_restored
    assert left == [0]
    assert stand.ready() == 1


def test_a_restore_that_cannot_be_done_is_reported_as_not_restored_and_stays_open(stand, tmp_path):
    async def trouble(request, handler):
        return web.Response(status=500)

    found = Walk(stand, tmp_path, restore_within_s=1.0, hold=True)
    found.await_("inject effective")
    stand.intercept = trouble
    found.pass_()
    assert found.end().not_restored == ["ml/vllm-server"]
    stand.intercept = None
    assert "could not be restored" in found.events[-1].error
    assert len(found.journal.records()) == 1
    assert len(stand.leases()) == 1


def test_an_inject_whose_answer_is_lost_is_found_to_have_been_done(stand, tmp_path):
    async def trouble(request, handler):
        if request.method != "PATCH":
            return await handler(request)
        stand.intercept = None
        await handler(request)
        request.transport.close()  # done, and nobody hears of it
        return web.Response()

    stand.intercept = trouble
    found = Walk(stand, tmp_path)
    found.end()
    assert found.told == ALL
    assert stand.ready() == 1


def test_an_inject_that_was_given_up_and_arrives_after_the_restore_is_restored_again(stand, tmp_path):
    """Its first try is held back and its connection cut; so are the next ones, which never arrive."""
    held = []

    async def trouble(request, handler):
        if request.method != "PATCH" or stand.replicas_requested(await request.read()) != 0:
            return await handler(request)
        if not held:
            held.append(request)

            async def later() -> None:
                while "restore effective" not in found.told:
                    await asyncio.sleep(0.05)
                # Whether something has changed the object's version meanwhile, so that it is refused, is chance.
                body = json.loads(await request.read())
                body.get("metadata", {}).pop("resourceVersion", None)
                request._read_bytes = json.dumps(body).encode()
                await handler(request)

            held.append(asyncio.ensure_future(later()))
        request.transport.abort()
        return web.Response()

    stand.intercept = trouble
    found = Walk(stand, tmp_path)
    until(lambda: held, "the inject is on its way")
    found.time.stand_still()
    found.time.forward(step.INJECT_WITHIN_S)

    def restored_again() -> bool:
        """Reported, or, where it was put back before its Pod had gone, seen when the runner has ended: nothing was lost."""
        found.time.forward(0.02)  # half as fast as it is: what waits to look again must not wait for ever
        return not found._thread.is_alive() or bool(
            found.events[-1].detail and found.events[-1].detail.get("again")
        )

    until(restored_again, "it has come, and was restored")
    found.time.go_on()
    assert not found.end().not_restored
    assert held
    assert held[1].done()
    assert found.told[:2] == ["inject begin", "inject fail"]
    assert found.told[-1] == "restore effective"
    assert (stand.replicas(), stand.ready()) == (1, 1)
