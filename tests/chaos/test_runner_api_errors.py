"""A step during errors of the API server: what is delayed, what arrives late, and what is never restored."""

import asyncio
import json

import pytest
from aiohttp import web

from chaos import step
from tests.chaos.round_thread import ALL, RoundThread
from tests.chaos.stand import until


@pytest.mark.parametrize("status", [500, 429, 502], ids=["500", "429", "a page of HTML"])
def test_errors_of_the_api_server_delay_the_restore_and_do_not_lose_it(stand, tmp_path, status):
    refused = []

    async def failing(request, handler):
        if request.method in ("PATCH", "GET") and len(refused) < 4:
            refused.append(request.path)
            return web.Response(status=status, text="<html>Bad Gateway</html>", content_type="text/html")
        return await handler(request)

    found = RoundThread(stand, tmp_path, hold=True)
    found.await_("inject effective")
    stand.intercept = failing
    found.pass_()
    assert not found.end().not_restored
    assert len(refused) == 4
    assert stand.ready() == 1


def test_a_status_without_a_message_is_an_error_as_any_other(stand, tmp_path):
    left = [2]

    async def failing(request, handler):
        if not left[0] or not request.path.endswith("/scale"):
            return await handler(request)
        left[0] -= 1
        return web.json_response({"kind": "Status", "status": "Failure", "code": 500}, status=500)

    found = RoundThread(stand, tmp_path, hold=True)
    found.await_("inject effective")
    stand.intercept = failing
    found.pass_()
    assert not found.end().not_restored
    assert left == [0]
    assert stand.ready() == 1


def test_a_restore_that_cannot_be_done_is_reported_as_not_restored_and_stays_open(stand, tmp_path):
    async def failing(request, handler):
        return web.Response(status=500)

    found = RoundThread(stand, tmp_path, restore_within_s=1.0, hold=True)
    found.await_("inject effective")
    stand.intercept = failing
    found.pass_()
    assert found.end().not_restored == ["ml/vllm-server"]
    stand.intercept = None
    assert "could not be restored" in found.events[-1].error
    assert len(found.journal.records()) == 1
    assert len(stand.leases()) == 1


def test_an_inject_whose_answer_is_lost_is_found_to_have_been_done(stand, tmp_path):
    async def failing(request, handler):
        if request.method != "PATCH":
            return await handler(request)
        stand.intercept = None
        await handler(request)
        request.transport.close()  # done, but the answer is lost
        return web.Response()

    stand.intercept = failing
    found = RoundThread(stand, tmp_path)
    found.end()
    assert found.stages == ALL
    assert stand.ready() == 1


def test_an_inject_that_was_given_up_and_arrives_after_the_restore_is_restored_again(stand, tmp_path):
    """The first attempt is delayed and its connection cut. Later attempts are cut too, and never arrive."""
    held = []

    async def failing(request, handler):
        if request.method != "PATCH" or stand.replicas_requested(await request.read()) != 0:
            return await handler(request)
        if not held:
            held.append(request)

            async def later() -> None:
                while "restore effective" not in found.stages:
                    await asyncio.sleep(0.05)
                # Without the version: whether it has changed meanwhile, which would refuse the patch, is random.
                body = json.loads(await request.read())
                body.get("metadata", {}).pop("resourceVersion", None)
                request._read_bytes = json.dumps(body).encode()
                await handler(request)

            held.append(asyncio.ensure_future(later()))
        request.transport.abort()
        return web.Response()

    stand.intercept = failing
    found = RoundThread(stand, tmp_path)
    until(lambda: held, "the inject is on its way")
    found.time.stand_still()
    found.time.forward(step.INJECT_WITHIN_S)

    def restored_again() -> bool:
        """Reported as restored again, or the runner has ended: it restored before the Pod had gone, and nothing was lost."""
        found.time.forward(0.02)  # time runs at half speed: a wait for the next check must end
        return not found._thread.is_alive() or bool(
            found.events[-1].detail and found.events[-1].detail.get("again")
        )

    until(restored_again, "it has come, and was restored")
    found.time.go_on()
    assert not found.end().not_restored
    assert held
    assert held[1].done()
    assert found.stages[:2] == ["inject begin", "inject fail"]
    assert found.stages[-1] == "restore effective"
    assert (stand.replicas(), stand.ready()) == (1, 1)
