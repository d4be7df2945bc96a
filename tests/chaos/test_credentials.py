"""The credential in a kubeconfig: when it expires, and what is refused before it is used.

Each kubeconfig is a file, and is read by the real client.
"""

import json
import time
from pathlib import Path

import pytest
from kubernetes.config import incluster_config

from chaos import preflight
from chaos.kube import credentials
from chaos.kube.cluster import Cluster
from contract.refusal import Refusal
from embedded.apiserver.rights import web_token
from tests.chaos.kubeconfigs import HOUR, data, kubeconfig, plugin, replace

OIDC = {"id-token": "", "client-id": "c", "client-secret": "s", "idp-issuer-url": "http://127.0.0.1:9"}


SOON, LATER, DAY = "a token that ends soon", "a token that ends later", "the certificate's day"
ENDS = {
    "token": (lambda now, f, p: {"token": web_token("u", now + 60)}, SOON),
    "token that lasts": (lambda now, f, p: {"token": web_token("u", now + HOUR)}, LATER),
    "token without an expiry": (lambda now, f, p: {"token": "sha256~opaque"}, None),
    "token of three parts that are none": (lambda now, f, p: {"token": "a.b.c"}, None),
    "tokenFile": (lambda now, f, p: {"tokenFile": file(f, web_token("u", now + 60))}, None),
    "token and tokenFile": (lambda now, f, p: {"token": web_token("u", now + 60), "tokenFile": file(f, "t")}, None),
    "exec": (lambda now, f, p: {"exec": plugin(f, json.dumps({"token": web_token("u", now + 60)}))}, None),
    "token and exec": (lambda now, f, p: {"token": web_token("u", now + 60), "exec": plugin(f, "{}")}, SOON),
    "exec and certificate": (
        lambda now, f, p: {"exec": plugin(f, '{"token": "t"}'), "client-certificate": str(p.certificate), "client-key": str(p.key)}, DAY),
    "exec that gives a certificate": (
        lambda now, f, p: {"exec": plugin(f, json.dumps({"clientCertificateData": p.certificate.read_text(), "clientKeyData": p.key.read_text()}))}, None),
    "certificate": (lambda now, f, p: {"client-certificate": str(p.certificate), "client-key": str(p.key)}, DAY),
    "certificate as data": (lambda now, f, p: {"client-certificate-data": data(p.certificate), "client-key-data": data(p.key)}, DAY),
    "token and certificate": (
        lambda now, f, p: {"token": web_token("u", now + 60), "client-certificate": str(p.certificate), "client-key": str(p.key)}, SOON),
    "token that lasts longer than the certificate": (
        lambda now, f, p: {"token": web_token("u", now + 48 * HOUR), "client-certificate": str(p.certificate), "client-key": str(p.key)}, DAY),
    "oidc without a refresh token": (
        lambda now, f, p: {"auth-provider": {"name": "oidc", "config": OIDC | {"id-token": web_token("u", now + HOUR)}}}, LATER),
    "oidc": (
        lambda now, f, p: {"auth-provider": {"name": "oidc", "config": OIDC | {"id-token": web_token("u", now + HOUR), "refresh-token": "r"}}}, None),
    "password": (lambda now, f, p: {"username": "u", "password": "p"}, None),
    "nobody": (lambda now, f, p: {"as": "somebody"}, None),
}  # fmt: skip


def file(folder: Path, text: str) -> str:
    (folder / "token").write_text(text + "\n")
    return "token"  # beside the kubeconfig


@pytest.mark.parametrize("name", ENDS)
def test_a_kubeconfig_shows_when_its_credential_expires(name, tmp_path, pair):
    now = time.time()
    user, ends = ENDS[name]
    found = credentials.load(
        str(kubeconfig(tmp_path / "kubeconfig", user(now, tmp_path, pair))), None
    ).ends_at
    expected = {SOON: now + 60, LATER: now + HOUR, DAY: now + 24 * HOUR, None: None}[ends]
    assert (found is None) if expected is None else (found is not None and abs(found - expected) < 120)


@pytest.mark.parametrize(
    ("claims", "ends_at"), [({"exp": 5}, 5.0), ({"exp": 5.5}, 5.5), ({"exp": True}, None), ({"exp": "5"}, None), ({"exp": float("nan")}, None), ({}, None), ([], None)]
)  # fmt: skip
def test_only_a_number_is_an_end(claims, ends_at):
    part = credentials.base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    assert credentials.token_ends_at(f"a.{part}.b\n") == ends_at


@pytest.mark.parametrize("left_s", [59, 61])
def test_a_credential_that_ends_before_the_deadline_is_refused(tmp_path, left_s):
    ends_at = float(int(time.time()) + 60)
    cluster = Cluster(str(kubeconfig(tmp_path / "k", {"token": web_token("u", ends_at)})))
    said = preflight.expiry(cluster, ends_at + 60 - left_s)
    assert (
        said == []
        if left_s > 60
        else said[0].startswith("the credential of the kubeconfig expires 1 s before")
    )


def test_a_credential_that_was_renewed_meanwhile_is_taken_up(tmp_path):
    now = time.time()
    path = kubeconfig(tmp_path / "k", {"token": web_token("u", now + 60)})
    cluster = Cluster(str(path))
    kubeconfig(path, {"token": web_token("u", now + HOUR)})
    assert preflight.expiry(cluster, now + 600) == []


@pytest.mark.parametrize(
    ("user", "words"),
    [
        (
            {"exec": {"apiVersion": "v1", "command": "/nowhere"}},
            "the exec of the context k gave no credential",
        ),
        ({"tokenFile": "empty"}, "the tokenFile of the context k gave no credential"),
        ({"tokenFile": "missing"}, "cannot be used: FileNotFoundError"),
        ({"auth-provider": {"name": "azure"}}, "the auth-provider of the context k gave no credential"),
        ({"client-certificate": "missing"}, "cannot be used: ConfigException: File does not exist"),
    ],
)
def test_a_kubeconfig_that_gives_no_credential_is_refused_and_not_used_as_anonymous(tmp_path, user, words):
    (tmp_path / "empty").write_text("")
    with pytest.raises(Refusal, match=words):
        Cluster(str(kubeconfig(tmp_path / "k", user)))


@pytest.mark.parametrize("text", ["", "[]", "a: [", "\x00", '{"users": 3}', '{"current-context": "x"}'])
def test_a_file_that_is_no_kubeconfig_is_refused_in_a_line(tmp_path, text):
    (tmp_path / "k").write_text(text)
    with pytest.raises(Refusal) as caught:
        Cluster(str(tmp_path / "k"))
    assert str(caught.value).startswith(f"kubeconfig {tmp_path / 'k'}: ")
    assert "\n" not in str(caught.value)


def test_a_cluster_keeps_the_way_to_its_kubeconfig_from_any_folder_and_environment(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.delenv(credentials.IN_CLUSTER, raising=False)
    (tmp_path / ".kube").mkdir()
    for name in ("a", "b", ".kube/config"):
        kubeconfig(tmp_path / name, {"token": "t"})
    assert Cluster("a").kubeconfig == f"{tmp_path}/a"
    assert Cluster("~/a").kubeconfig == f"{tmp_path}/a"
    assert Cluster(None).kubeconfig == f"{tmp_path}/.kube/config"
    monkeypatch.setenv("KUBECONFIG", "a::~/b:missing")
    assert Cluster(None).kubeconfig == f"{tmp_path}/a:{tmp_path}/b:{tmp_path}/missing"
    kept = Cluster(None).kubeconfig
    monkeypatch.chdir("/")
    monkeypatch.delenv("KUBECONFIG")
    assert Cluster(kept).kubeconfig == kept


def test_a_pods_own_account_is_read_anew(tmp_path, monkeypatch, pair):
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv(credentials.IN_CLUSTER, "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "1")
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(pair.certificate))
    assert credentials.absolute(None) is None
    shown = []
    for _ in range(2):
        replace(tmp_path / "token", web_token("u", time.time() + 60) + "\n")
        found = credentials.load(None, None)
        assert (found.ends_at, found.server.proven) == (None, True)
        shown.append(found.authorization)
    assert shown[0] != shown[1]
    assert "\n" not in shown[0]
