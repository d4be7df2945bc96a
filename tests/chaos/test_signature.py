"""Where there is a key, only what a controller has signed is restored from a Lease; and never by more than a limit."""

import base64
import json
import time
from dataclasses import replace

import pytest

from chaos import faults, preflight
from chaos.errors import CannotInject
from chaos.kube.names import LABEL, name_of
from chaos.kube.workload import MOST_REPLICAS
from chaos.target import Handle
from chaos.undo import lease, reaper, restorer, signature
from chaos.undo import restore as restoring
from chaos.undo.claim import Claim
from chaos.undo.deputy import Deputy
from chaos.undo.journal import Journal
from chaos.undo.signature import PAST_MOST_S, SECRET, Keys
from contract.clock import Clock
from embedded.apiserver.rights import Rule
from tests.chaos.reaping import Running, abandon, leases, replicas
from tests.chaos.records import UNDO
from tests.chaos.small import Small, effective, sleepers
from tests.chaos.targets import on
from tests.embedded.recorded.stand import until

OLD, NEW = b"o" * 32, b"n" * 32
HANDLE = Handle("deployment", "ml/engine")
PATH = "/api/v1/namespaces/ml/secrets/" + SECRET


@pytest.fixture
def small(tmp_path, monkeypatch):
    monkeypatch.setattr(restorer, "WATCH_ON_S", 0.05)
    monkeypatch.setattr(reaper, "EVERY_S", 0.1)
    with Small(tmp_path, sleepers("engine", replicas=1)) as made:
        made.up("engine")
        yield made


def give(small: Small, **keys: bytes) -> None:
    """The Secret, with these keys."""
    data = {name: base64.b64encode(key).decode() for name, key in keys.items()}
    small.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": SECRET, "namespace": "ml"},
            "type": "Opaque",
            "data": data,
        }
    )


def put(small: Small, undo, signed: str | None, name: str = "engine") -> None:
    """A Lease that another account has created, with a record in it."""
    key, _, value = LABEL.partition("=")
    annotations = {"brownout.dev/undo": undo.in_lease.to_json()}
    if signed is not None:
        annotations["brownout.dev/signature"] = signed
    meta = {"name": name_of("deployment", name), "labels": {key: value}, "annotations": annotations}
    body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta, "spec": {}}
    assert small.admin.create_lease("ml", body)


def forged(small: Small, replicas_: int = 1):
    """The record of no run: it would scale the target."""
    undo = small.undo("scale_to_zero", HANDLE, {}, time.time() - 5)
    now = undo.state["original"]["replicas"]
    state = undo.state | {
        "original": undo.state["original"] | {"replicas": replicas_},
        "set": {"replicas": now},
    }
    return replace(undo, state=state)


def left_alone(small: Small, words: str) -> None:
    with Running(small.admin) as running:
        until(lambda: any(words in line for line in running.lines), words)
    assert (replicas(small, "engine"), leases(small)) == (1, ["brownout-deployment-engine"])


def test_what_a_controller_has_signed_is_restored(small):
    give(small, key=OLD)
    abandon(small, "engine", late_s=5)
    assert (
        "brownout.dev/signature"
        in lease.read(small.admin, replace(UNDO, handle="ml/engine"))["metadata"]["annotations"]
    )
    with Running(small.admin):
        until(lambda: not leases(small), "it has restored")
    assert replicas(small, "engine") == 1


def test_without_a_key_an_unsigned_record_is_restored_as_before_and_the_log_says_so(small):
    abandon(small, "engine", late_s=5)
    lines: list[str] = []
    found = reaper.Reaper(small.admin, ["ml"], Clock(), reaper.Stop(), lines.append)
    found.announce()
    assert lines == [f"ml: records are not authenticated: the namespace ml has no Secret {SECRET} with a key"]
    found.look("ml")
    until(lambda: replicas(small, "engine") == 1, "it has restored")
    give(small, key=OLD)
    found.look("ml")
    assert "ml: records are authenticated" in lines
    found._overdue.close()


@pytest.mark.parametrize("signed", [None, "", "0" * 64, "ä" * 64])
def test_an_unsigned_or_wrongly_signed_record_is_left_alone_where_there_is_a_key(small, signed):
    give(small, key=OLD)
    put(small, forged(small, 7), signed)
    left_alone(small, "its record is not signed" if signed is None else "its record has a wrong signature")


CHANGES = {
    "original": lambda u: replace(u, state=u.state | {"original": u.state["original"] | {"replicas": 7}}),
    "set": lambda u: replace(u, state=u.state | {"set": {"replicas": 3}}),
    "uid": lambda u: replace(u, state=u.state | {"uid": "another"}),
    "deadline": lambda u: replace(u, deadline=u.deadline + 1),
    "run": lambda u: replace(u, run="another-run"),
    "fault": lambda u: replace(u, fault="scale_to", options={"replicas": 0}),
    "target": lambda u: replace(u, target="another"),
    "handle": lambda u: replace(u, handle="ml/another"),
    "kind": lambda u: replace(u, kind="statefulset"),
    "cluster": lambda u: replace(u, cluster="another"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_signature_is_of_all_that_a_restore_reads(change):
    keys = Keys((OLD,))
    signed = keys.sign(UNDO, "ml")
    assert keys.refused(UNDO, "ml", signed, UNDO.deadline) is None
    assert keys.refused(change(UNDO), "ml", signed, UNDO.deadline) == "its record has a wrong signature"
    assert keys.refused(UNDO, "other", signed, UNDO.deadline) == "its record has a wrong signature"


def test_what_a_lease_does_not_hold_is_not_signed():
    keys = Keys((OLD,))
    assert keys.sign(UNDO, "ml") == keys.sign(replace(UNDO, folder="/x", kubeconfig="/y", context="z"), "ml")


def test_a_signed_record_is_refused_once_it_is_too_long_past_its_deadline(small):
    give(small, key=OLD)
    undo = replace(forged(small, 7), deadline=time.time() - PAST_MOST_S - 5)
    put(small, undo, Keys((OLD,)).sign(undo, "ml"))
    left_alone(small, "its record is more than 24 h past its deadline")


def test_the_signed_record_of_a_closed_run_scales_no_target_that_was_created_again(small):
    """A copy of it, within the limit: the uid is another."""
    give(small, key=OLD)
    undo = small.undo("scale_to_zero", HANDLE, {}, time.time() - 5)
    assert lease.take(small.admin, undo, time.time())
    found = lease.read(small.admin, undo)
    lease.release(small.admin, undo, found["metadata"]["uid"])
    small.delete("/apis/apps/v1/namespaces/ml/deployments/engine")
    small.apply(sleepers("engine", replicas=0))
    put(small, undo, found["metadata"]["annotations"]["brownout.dev/signature"])
    with Running(small.admin) as running:
        until(lambda: not leases(small), "it is closed")
        until(lambda: any("left alone" in line for line in running.lines), "as another's")
    assert replicas(small, "engine") == 0


def test_a_signed_record_that_is_copied_to_another_target_is_left_alone(small):
    give(small, key=OLD)
    undo = small.undo("scale_to_zero", HANDLE, {}, time.time() - 5)
    put(small, undo, Keys((OLD,)).sign(undo, "ml"), name="other")
    with Running(small.admin) as running:
        until(lambda: any("of another target" in line for line in running.lines), "it is reported")
    assert leases(small) == ["brownout-deployment-other"]


def test_the_key_is_changed_while_a_record_is_open(small):
    give(small, key=OLD)
    abandon(small, "engine", late_s=5)
    give(small, key=NEW)
    with Running(small.admin) as running:
        until(
            lambda: any("wrong signature" in line for line in running.lines),
            "without `previous` it is refused",
        )
        give(small, key=NEW, previous=OLD)
        until(lambda: not leases(small), "with it, it is restored")
    assert replicas(small, "engine") == 1


def test_a_run_in_progress_signs_again_with_the_new_key(small, tmp_path):
    give(small, key=OLD)
    undo = small.undo("scale_to_zero", HANDLE, {}, time.time() + 60)
    claim = Claim(Journal(tmp_path / "journal"), small.admin, undo)
    claim.take(time.time())
    assert not claim.keep(time.time())
    give(small, key=NEW)
    assert claim.keep(time.time())
    keys = signature.read(small.admin, "ml")
    assert keys == Keys((NEW,))
    assert lease.trusted(lease.read(small.admin, undo), keys, time.time()) == undo.in_lease
    assert not claim.keep(time.time())


def test_restore_by_a_lease_needs_the_signature_and_by_the_own_journal_it_does_not(small, tmp_path):
    give(small, key=OLD)
    undo = small.undo("scale_to_zero", HANDLE, {}, time.time() + 60)
    said: list[str] = []
    put(small, undo, None)
    assert list(restoring.held(small.admin, ["ml"], said.append, time.time)) == []
    assert said == ["ml: the Lease brownout-deployment-engine: its record is not signed; left alone"]
    fault = faults.make(undo.fault, small.admin, on(HANDLE), {})
    fault.inject(undo.state)
    effective(fault, undo.state)
    undo = replace(undo, kubeconfig=small.admin.kubeconfig)
    journal = Journal(tmp_path / "journal")
    journal.open(undo)
    assert Deputy(undo, "restore", Clock(), said.append, journal).restore(20.0)
    assert replicas(small, "engine") == 1


def test_a_claim_does_not_take_over_an_unsigned_record(small, tmp_path):
    give(small, key=OLD)
    put(small, forged(small, 7), None)
    undo = small.undo("scale_to_zero", HANDLE, {}, time.time() + 60)
    taken_over: list = []
    claim = Claim(Journal(tmp_path / "journal"), small.admin, undo)
    with pytest.raises(CannotInject, match="its record is not signed; if no fault is open there"):
        claim.must_be_free(time.time(), lambda held: bool(taken_over.append(held)))
    assert taken_over == []


def test_an_account_that_may_not_read_the_key_works_as_without_one_and_the_preflight_names_the_right(small):
    give(small, key=OLD)
    rules = (
        Rule(("*",), ("coordination.k8s.io", "apps", "discovery.k8s.io"), ("*",), (), "ml"),
        Rule(("list",), ("",), ("pods",), (), "ml"),
    )
    lesser = small.may("lesser", rules)
    keys = signature.read(lesser, "ml")
    assert keys.accepted == ()
    assert "forbidden" in keys.missing
    fault = faults.make("scale_to_zero", lesser, on(HANDLE), {})
    assert preflight.refused(fault, HANDLE, lesser) == [f"get secrets {SECRET} in ml"]


def test_a_key_that_can_be_guessed_is_refused(small):
    give(small, key=b"secret")
    uid, _ = small.admin.identity()
    ground = preflight.Ground(small.admin, uid, small.admin.embedded_pid)
    fault = faults.make("scale_to_zero", small.admin, on(HANDLE), {})
    now = time.time()
    with pytest.raises(CannotInject, match=f"the key in the Secret {SECRET} has 6 bytes; make one of 32"):
        preflight.check(fault, HANDLE, False, ground, now + 60, now)


def test_no_lease_contains_a_key(small):
    give(small, key=OLD, previous=NEW)
    abandon(small, "engine", late_s=-60)
    found = json.dumps(list(small.admin.leases("ml", LABEL)))
    for key in (OLD, NEW):
        assert not [t for t in (key.decode(), key.hex(), base64.b64encode(key).decode()) if t in found]


def test_no_record_in_a_lease_scales_beyond_the_limit(small):
    """Also without a key."""
    put(small, forged(small, MOST_REPLICAS + 1), None)
    left_alone(small, f"original.replicas: Input should be less than or equal to {MOST_REPLICAS}")
