"""The preflight: each requirement that is not met is named."""

import base64
import json
import re
import time
from dataclasses import replace

import pytest

from chaos import faults, preflight
from chaos.errors import CannotInject
from chaos.fault import Deadman
from chaos.inspection import look
from chaos.kube.credentials import certificate_ends_at, token_ends_at
from chaos.plan import bind
from chaos.preflight import Ground, ground_of
from chaos.target import Handle
from contract import timeline
from contract.refusal import Refusal
from embedded.apiserver import certificate
from embedded.apiserver.kubeconfig import write
from embedded.apiserver.rights import Identity, web_token
from tests.chaos.stand import LONG
from tests.chaos.targets import on

TARGET = Handle("deployment", "ml/vllm-server")


def scale_to_zero(stand):
    return faults.make("scale_to_zero", stand.client, on(TARGET), {})


def check(stand, ground: Ground, unprotected: bool = False) -> None:
    now = time.time()
    preflight.check(scale_to_zero(stand), TARGET, unprotected, ground, deadline=now + 60, now=now)


@pytest.fixture
def ground(stand) -> Ground:
    return ground_of(stand.topology(), without_reaper=False)


def test_an_embedded_cluster_needs_no_reaper(stand, ground):
    assert ground.embedded
    check(stand, ground)


@pytest.mark.parametrize(("off_s", "words"), [(60, "ahead of"), (-60, "behind")])
def test_a_clock_that_differs_from_the_clusters_is_refused(stand, ground, off_s, words):
    now = time.time() + off_s
    with pytest.raises(CannotInject, match=rf"this machine's clock is (59|60|61) s {words} the API server's"):
        preflight.check(scale_to_zero(stand), TARGET, False, ground, deadline=now + 60, now=now)


def test_a_cluster_without_a_reaper_is_refused_without_the_option(stand, ground):
    real = replace(ground, embedded_pid=None)
    with pytest.raises(CannotInject, match="no reaper serves the namespace ml: kubectl apply -f"):
        check(stand, real)
    check(stand, replace(real, without_reaper=True))
    check(stand, real, unprotected=True)


def test_a_fault_that_only_the_guardian_restores_needs_an_embedded_stack_or_unprotected(ground):
    handle = Handle("process", "/run/vllm.pid", {"pidfile": "/run/vllm.pid", "start": None})
    frozen = faults.make("process_freeze", None, on(handle), {})
    assert frozen.deadman is Deadman.GUARDIAN
    nowhere = Ground(None, None, None)
    assert "set unprotected: true" in preflight.no_deadman(frozen, handle, False, nowhere, 0.0)[0]
    assert preflight.no_deadman(frozen, handle, True, nowhere, 0.0) == []
    assert preflight.no_deadman(frozen, handle, False, ground, 0.0) == []


@pytest.mark.parametrize(
    ("left_s", "kept_as", "refused"),
    [(30, "token", True), (100, "token", False), (30, "tokenFile", False)],
)
def test_a_credential_that_ends_before_the_deadline_is_refused(stand, tmp_path, left_s, kept_as, refused):
    """A tokenFile is not refused: the program that writes it also renews it."""
    token = web_token("operator", time.time() + left_s)
    stand.cluster.tokens = (*stand.cluster.tokens[:1], Identity("operator", token, admin=True))
    path = tmp_path / "kubeconfig"
    write(path, stand.url, token, "ml")
    if kept_as == "tokenFile":
        (tmp_path / "token").write_text(token)
        path.write_text(path.read_text().replace(f'"token": "{token}"', '"tokenFile": "token"'))
    ground = ground_of(stand.topology().model_copy(update={"kubeconfig": str(path)}), without_reaper=False)
    if not refused:
        check(stand, ground)
        return
    with pytest.raises(
        CannotInject, match=r"the credential of the kubeconfig expires 3\d s before the fault's"
    ):
        check(stand, ground)


def _token(claims: object) -> str:
    return "head." + base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().strip("=") + ".sign"


@pytest.mark.parametrize(
    ("token", "ends_at"),
    [
        (_token({"exp": 123}), 123.0),
        (_token({}), None),
        (_token([1]), None),
        ("opaque", None),
        ("a.%%%.b", None),
    ],
)
def test_a_token_states_when_it_expires_or_nothing(token, ends_at):
    assert token_ends_at(token) == ends_at


def test_a_client_certificate_states_when_it_expires(tmp_path):
    made = certificate.make(tmp_path)
    if made is None:
        pytest.skip("no openssl here")
    ends_at = certificate_ends_at(str(made.certificate))
    assert ends_at is not None
    assert ends_at > time.time()
    assert certificate_ends_at(str(tmp_path / "none")) is None


def test_another_cluster_than_the_topologys_is_refused(stand):
    other = stand.topology().model_copy(update={"cluster": "another"})
    with pytest.raises(Refusal, match="chaos touches only that cluster"):
        ground_of(other, without_reaper=False)


def test_the_plan_shows_the_current_state_and_touches_nothing(stand, ground, tmp_path):
    path = tmp_path / "long.yaml"
    path.write_text(LONG)
    bound = bind(timeline.read(path), stand.topology(), "long.yaml")
    before = stand.deployment()["metadata"]["resourceVersion"]
    shown = look(bound, replace(ground, embedded_pid=None), time.time, time.time() + 60)
    assert "current state:     replicas 1, ready 1, endpoints 1; the fault sets replicas 0" in shown
    assert "rights:            all granted" in shown
    assert "dead-man:          the reaper, by the Lease past its deadline" in shown
    assert "REFUSED:           no reaper serves the namespace ml" in shown
    assert stand.deployment()["metadata"]["resourceVersion"] == before
    assert stand.leases() == []


def test_a_plan_shows_for_which_credential_and_clock_a_run_would_be_refused(stand, tmp_path):
    token = web_token("operator", time.time() + 60)
    stand.cluster.tokens = (*stand.cluster.tokens[:1], Identity("operator", token, admin=True))
    path = tmp_path / "kubeconfig"
    write(path, stand.url, token, "ml")
    lines = tmp_path / "long.yaml"
    lines.write_text(LONG)
    stack = stand.topology().model_copy(update={"kubeconfig": str(path)})
    bound, ground = bind(timeline.read(lines), stack, "long.yaml"), ground_of(stack, without_reaper=False)
    soon, late = time.time() + 30, time.time() + 120
    assert "REFUSED" not in look(bound, ground, time.time, soon)
    assert "REFUSED:           the credential of the kubeconfig expires" in look(
        bound, ground, time.time, late
    )
    ahead = look(bound, ground, lambda: time.time() + 60, soon)
    assert re.search(r"REFUSED:           this machine's clock is \d\d s ahead of", ahead)


@pytest.mark.parametrize("namespace", ["kube-system", "openshift-etcd"])
def test_a_target_in_a_namespace_of_the_clusters_own_is_refused(stand, namespace):
    from contract import topology

    text = topology.dump(stand.topology()).replace("ml/vllm-server", f"{namespace}/vllm-server")
    with pytest.raises(Refusal, match="chaos does not touch it"):
        topology.read_text(text)
