"""The probe's kept connection: asked again once in the keep-alive race, and not when a server died under the ask."""

import pytest

from chaos.health import check
from chaos.wire import Connection, Deadlines
from contract.clock import Clock
from contract.endpoint import Endpoint
from contract.framing import End
from contract.health import HealthUrl
from tests import tls
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


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return tls.certificate(tmp_path_factory.mktemp("tls"))


@pytest.mark.parametrize(
    ("given", "host", "error"),
    [
        (True, "127.0.0.1", None),
        (False, "127.0.0.1", "certificate verify failed: self-signed certificate"),
        (True, "localhost", "Hostname mismatch, certificate is not valid for 'localhost'"),
    ],
)
def test_a_certificate_is_believed_by_its_own_authority_and_name_alone(certificate, given, host, error):
    ca_file = str(certificate[0]) if given else None
    with Server([GOOD], tls=certificate[1]) as server:
        url = server.url.replace("127.0.0.1", host)
        endpoint = Endpoint.of(url, "m", ca_file=ca_file)
        connection = Connection(endpoint, Deadlines(connect=2, silence=2, whole=3))
        found = connection.exchange(endpoint.request("ask-1", "hi", 5, True))
        connection.close()
        assert check(HealthUrl("vllm", url, ca_file=ca_file), {}, Clock()).up is (error is None)
    assert found.end is (End.REFUSED if error else End.COMPLETE)
    assert (error or "") in (found.error or "")


def test_a_name_that_no_lookup_takes_is_refused():
    endpoint = Endpoint.of("http://no..name:1", "m")
    found = Connection(endpoint, Deadlines()).exchange(endpoint.request("ask-1", "hi", 5, True))
    assert found.end is End.REFUSED
