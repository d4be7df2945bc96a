"""The probe's kept connection: asked again once in the keep-alive race, and not when a server died under the ask."""

import pytest

from chaos.wire import Connection, Deadlines
from contract.endpoint import Endpoint
from contract.framing import End
from tests.contract.exchanges import WHOLE, streamed
from tests.scenarios.server import CLOSE, RST, Server

GOOD = streamed(*WHOLE)


@pytest.mark.parametrize(
    ("script", "end", "asked"),
    [
        ([0.1, RST], End.COMPLETE, 3),
        ([0.1, CLOSE], End.CLOSED, 2),  # it was read, and died with its server
        ([b"H", CLOSE], End.CLOSED, 2),
    ],
)
def test_the_second_ask_on_a_kept_connection(script, end, asked):
    with Server([GOOD], script, [GOOD]) as server:
        endpoint = Endpoint.of(server.url, "m")
        connection = Connection(endpoint, Deadlines(connect=1, silence=2, whole=3))
        found = [connection.exchange(endpoint.request("ask-1", "hi", 5, True)) for _ in range(2)]
        connection.close()
        assert [f.end for f in found] == [End.COMPLETE, end]
        assert len(server.requests) == asked
