"""Credentials are reloaded when they are refused, and never for another cluster."""

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from chaos.kube import credentials
from chaos.kube import wire as kube_wire
from chaos.kube.cluster import API_ERRORS, Cluster, api_error_text
from embedded.apiserver import certificate
from embedded.apiserver.rights import Identity, web_token
from tests.chaos.between import Between, Page, as_json
from tests.chaos.kubeconfigs import HOUR, data, kubeconfig, plugin, replace
from tests.chaos.small import Small


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    with Small(tmp_path_factory.mktemp("small")) as made:
        yield made


class Rotating:
    """The kubeconfig of an account with rotated tokens, in one of the usual ways."""

    def __init__(self, small: Small, folder: Path, way: str, url: str | None = None) -> None:
        self.small, self.folder, self.way = small, folder, way
        self.url = url or f"http://127.0.0.1:{small.port}"
        self.path = folder / "kubeconfig"
        self.give(self.accept())
        self.cluster = Cluster(str(self.path))

    def accept(self, ends_at: float | None = None) -> str:
        """A new token, which the API server accepts from now on; it refuses earlier ones."""
        token = web_token("rotated", ends_at or time.time() + HOUR)
        others = tuple(i for i in self.small.cluster.tokens if i.user != "rotated")
        self.small.cluster.tokens = (*others, Identity("rotated", token, admin=True, ends_at=ends_at))
        return token

    def give(self, token: str) -> None:
        """Write the token that our side reads from now on."""
        if self.way == "token":
            kubeconfig(self.path, {"token": token}, self.url)
        elif self.way == "tokenFile":
            replace(self.folder / "token", token + "\n")
            kubeconfig(self.path, {"tokenFile": "token"}, self.url)
        else:
            kubeconfig(self.path, {"exec": plugin(self.folder, json.dumps({"token": token}))}, self.url)


WAYS = ("token", "tokenFile", "exec")


@pytest.mark.parametrize("way", WAYS)
def test_a_credential_that_was_rotated_is_taken_up_by_every_call(small, tmp_path, way):
    found = Rotating(small, tmp_path, way)
    uid, _ = found.cluster.identity()
    for call in (
        lambda c: c.identity() == (uid, True),
        lambda c: not list(c.leases("ml", "a=b")),
        lambda c: c.workload("deployment", "ml", "none") is None,
        lambda c: c.allows("list", "", "pods", "ml", None),
        lambda c: list(c.watch_workload("deployment", "ml", "none", "", 1)) == [],
        lambda c: c.create_network_policy("ml", {"metadata": {"name": f"of-{way.lower()}"}, "spec": {"podSelector": {}}}),
    ):  # fmt: skip
        found.give(found.accept())
        found.cluster._wire._not_before = 0.0  # as if the last rotation were long ago
        assert call(found.cluster)


@pytest.mark.parametrize("way", WAYS)
def test_a_credential_that_ended_is_an_error_of_the_world_until_there_is_a_fresh_one(small, tmp_path, way):
    found = Rotating(small, tmp_path, way)
    found.cluster.identity()
    found.accept(ends_at=time.time() - 1)
    with pytest.raises(API_ERRORS) as caught:
        found.cluster.identity()
    assert api_error_text(caught.value) == "API server: Unauthorized (reloaded, the credentials are the same)"
    found.give(found.accept())
    found.cluster._wire._not_before = 0.0
    assert found.cluster.identity()


def test_a_token_that_has_ended_is_refused_by_the_embedded_cluster(small, tmp_path):
    found = Rotating(small, tmp_path, "token")
    found.give(found.accept(ends_at=time.time() + 0.2))
    found.cluster._wire.renew()
    while True:  # until it ends
        try:
            found.cluster.identity()
        except API_ERRORS:
            break
    assert json.loads(refused_by(found.cluster).body)["reason"] == "Unauthorized"


def refused_by(cluster: Cluster) -> Any:
    with pytest.raises(API_ERRORS) as caught:
        cluster.identity()
    return caught.value


def test_what_cannot_be_loaded_in_mid_rotation_leaves_the_old_in_use(small, tmp_path):
    found = Rotating(small, tmp_path, "tokenFile")
    found.cluster.identity()
    token = found.accept()
    for text in ("", "\n"):
        (tmp_path / "token").write_text(text)
        found.cluster._wire._not_before = 0.0
        assert "no fresh credential" in api_error_text(refused_by(found.cluster))
    (tmp_path / "kubeconfig").unlink()
    found.cluster._wire._not_before = 0.0
    assert "there is no such file" in api_error_text(refused_by(found.cluster))
    found.give(token)
    found.cluster._wire._not_before = 0.0
    assert found.cluster.identity()


def test_loading_is_bounded_however_often_the_server_refuses(tmp_path):
    now, loaded = [0.0], []
    path = str(kubeconfig(tmp_path / "k", {"token": "t"}))
    wire = kube_wire.Wire(lambda _: loaded.append(now[0]) or credentials.load(path), lambda: now[0])
    for _ in range(100):
        wire.renew()
        now[0] += 0.5
    assert loaded == [0.0, 0.0, 1.0, 3.0, 7.0, 15.0, 25.0, 35.0, 45.0]


def test_a_plugin_that_waits_for_a_person_holds_up_nothing_for_ever(small, tmp_path, monkeypatch):
    monkeypatch.setattr(kube_wire, "LOAD_WITHIN_S", 0.2)
    found = Rotating(small, tmp_path, "tokenFile")
    found.cluster.identity()
    found.accept()
    kubeconfig(found.path, {"exec": {"apiVersion": "v1", "command": "sleep", "args": ["5"]}}, found.url)
    assert "no response within" in api_error_text(refused_by(found.cluster))


def test_threads_that_are_refused_at_once_load_once(small, tmp_path):
    found = Rotating(small, tmp_path, "exec")
    found.cluster.identity()
    found.give(found.accept())
    before = len((tmp_path / "status.calls").read_text())
    came: list[Any] = []
    threads = [threading.Thread(target=lambda: came.append(found.cluster.identity())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(came) == 8
    assert len((tmp_path / "status.calls").read_text()) - before == 1


def test_a_kubeconfig_of_another_cluster_is_not_followed(small, tmp_path):
    """Neither to another address, nor to another cluster at the same address."""
    found = Rotating(small, tmp_path, "token")
    found.cluster.identity()
    with Small(tmp_path) as other:
        token = web_token("rotated", time.time() + HOUR)
        other.cluster.tokens = (*other.cluster.tokens, Identity("rotated", token, admin=True))
        found.accept()
        kubeconfig(found.path, {"token": token}, f"http://127.0.0.1:{other.port}")
        assert "points to another cluster" in api_error_text(refused_by(found.cluster))
    found.give(found.accept())
    found.cluster._wire._not_before = 0.0
    assert found.cluster.identity()


def test_before_the_cluster_was_seen_no_other_address_is_followed(small, tmp_path):
    found = Rotating(small, tmp_path, "token")
    token = found.accept()
    with Between(f"http://127.0.0.1:{small.port}") as between:
        kubeconfig(found.path, {"token": token}, between.url)
        assert "points to another server" in api_error_text(refused_by(found.cluster))


def test_the_same_cluster_at_another_address_is_followed(small, tmp_path):
    found = Rotating(small, tmp_path, "token")
    uid, _ = found.cluster.identity()
    with Between(f"http://127.0.0.1:{small.port}") as between:
        kubeconfig(found.path, {"token": found.accept()}, between.url)
        assert found.cluster.identity() == (uid, True)


def test_a_new_authority_is_followed_where_it_leads_to_the_same_cluster(small, tmp_path, pair):
    second = certificate.make(tmp_path)
    token = Rotating(small, tmp_path, "token").accept()
    context = pair.server_context()
    with Between(f"http://127.0.0.1:{small.port}") as between:
        between._server.socket = context.wrap_socket(between._server.socket, server_side=True)
        url = between.url.replace("http:", "https:")

        def trusting(made: certificate.Certificate) -> Path:
            authority = {"certificate-authority-data": data(made.certificate)}
            return kubeconfig(tmp_path / "tls", {"token": token}, url, **authority)

        found = Cluster(str(trusting(pair)))
        uid, _ = found.identity()
        context.load_cert_chain(second.certificate, second.key)
        words = api_error_text(refused_by(found))
        assert "TLS: " in words
        assert "the credentials are the same" in words
        trusting(second)
        found._wire._not_before = 0.0
        assert found.identity()[0] == uid


def test_a_switch_of_the_current_context_is_not_followed(small, tmp_path):
    found = Rotating(small, tmp_path, "token")
    found.cluster.identity()
    document = json.loads(found.path.read_text())
    other = {"name": "other", "context": {"cluster": "other", "user": "other"}}
    document["contexts"].append(other)
    document["clusters"].append({"name": "other", "cluster": {"server": "http://127.0.0.1:1"}})
    document["users"].append({"name": "other", "user": {"token": "of-another"}})
    document["users"][0]["user"]["token"] = found.accept()
    document["current-context"] = "other"
    replace(found.path, json.dumps(document))
    uid, _ = found.cluster.identity()
    again = Cluster(found.cluster.kubeconfig, context=found.cluster.context)
    assert again.identity()[0] == uid
    assert Cluster(found.cluster.kubeconfig).context == "other"


def test_a_certificate_that_was_rotated_is_taken_up(tmp_path, pair):
    files = {"client-certificate": str(tmp_path / "crt"), "client-key": str(pair.key)}
    (tmp_path / "crt").write_bytes(pair.certificate.read_bytes())
    path = str(kubeconfig(tmp_path / "k", files))
    before = credentials.load(path)
    assert before.same_as(credentials.load(path))
    (tmp_path / "crt").write_bytes(pair.certificate.read_bytes() + b"\n")
    assert not before.same_as(credentials.load(path))


def test_a_page_with_status_401_is_tried_again_once_and_no_more(tmp_path):
    with Between() as between:
        paths: list[str] = []
        between.page = lambda method, path: paths.append(path) or Page(401, b"<html>", "text/html")
        path = kubeconfig(tmp_path / "k", {"token": "a"}, between.url)
        cluster = Cluster(str(path))
        kubeconfig(path, {"token": "b"}, between.url)
        refused_by(cluster)
        assert len(paths) == 2


def test_a_redirect_is_not_followed_and_no_token_goes_elsewhere(tmp_path):
    with Between() as between:
        paths: list[str] = []
        between.page = lambda method, path: (
            paths.append(path) or (Page(302, b"", "text/html") if path != "/login" else as_json(200, {}))
        )
        refused_by(Cluster(str(kubeconfig(tmp_path / "k", {"token": "a"}, between.url))))
        assert "/login" not in paths
