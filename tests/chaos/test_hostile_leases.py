"""An account that may only create Leases keeps no tier down: what it writes costs itself alone, and is reported."""

import json
import time
from dataclasses import asdict, replace
from types import SimpleNamespace

import pytest
from pydantic import ValidationError

from chaos import faults
from chaos.errors import CannotInject
from chaos.kube.names import LABEL, name_of
from chaos.target import Handle
from chaos.undo import deputy, lease, reaper, restorer
from chaos.undo import restore as restoring
from chaos.undo.claim import Claim, Held
from chaos.undo.journal import Journal
from contract import handles
from contract.clock import Clock
from embedded.apiserver.rights import Rule
from tests.chaos.reaping import Running, abandon, beat, leases, replicas
from tests.chaos.records import UNDO
from tests.chaos.small import Small, sleepers
from tests.embedded.recorded.stand import until

MAY_CREATE = (Rule(("create",), ("coordination.k8s.io",), ("leases",), (), "ml"),)
FORGED = "other"  # its Lease sorts after that of `engine`, and `a` before


@pytest.fixture
def small(tmp_path, monkeypatch):
    monkeypatch.setattr(restorer, "WATCH_ON_S", 0.05)
    monkeypatch.setattr(reaper, "EVERY_S", 0.1)
    with Small(tmp_path, *(sleepers(name, replicas=1) for name in ("engine", FORGED))) as made:
        for name in ("engine", FORGED):
            made.up(name)
        yield made


def record(**changed) -> dict:
    """A record past its deadline, as JSON's values; a change of `...` removes the member."""
    found = asdict(replace(UNDO, handle=f"ml/{FORGED}", target=FORGED, deadline=1.0)) | changed
    return {key: value for key, value in found.items() if value is not ...}


def state(**changed) -> dict:
    return record(state=UNDO.state | changed)


def deep(text: str) -> str:
    return json.dumps(record()).replace('"options": {}', f'"options": {text}')


MALFORMED = {
    "a deadline that is a word": record(deadline="soon"),
    "a deadline that is missing": record(deadline=...),
    "a deadline of NaN": record(deadline=float("nan")),
    "an infinite deadline": record(deadline=float("inf")),
    "a deadline beyond all floats": json.dumps(record()).replace('"deadline": 1.0', '"deadline": 1e999'),
    "a deadline of true": record(deadline=True),
    "a handle that is a number": record(handle=5),
    "a handle that is null": record(handle=None),
    "a handle without a namespace": record(handle=FORGED),
    "a kind that is a list": record(kind=["deployment"]),
    "a fault that is a mapping": record(fault={}),
    "a server that is a word": record(server="http://127.0.0.1"),
    "a server of an unknown key": record(server={"urls": 5}),
    "a server of numbers": record(server={"url": 5}),
    "options that are a list": record(options=[1]),
    "options that the fault does not have": record(options={"replicas": 5}),
    "a state that is null": record(state=None),
    "a state that is empty": record(state={}),
    "an original that is a number": state(original=5),
    "replicas that are a word": state(original=UNDO.state["original"] | {"replicas": "1"}),
    "replicas of true": state(original=UNDO.state["original"] | {"replicas": True}),
    "replicas below none": state(original=UNDO.state["original"] | {"replicas": -1}),
    "an uid that is a list": state(uid=[]),
    "a selector that is a list": state(selector=[]),
    "an expression without an operator": state(selector={"matchExpressions": [{"key": "app"}]}),
    "an extra key": record(also="this"),
    "a key that is given twice": json.dumps(record()).replace("{", '{"deadline": 5, ', 1),
    "100,000 brackets": "[" * 100_000,
    "100,000 brackets in the options": deep("[" * 60_000 + "]" * 60_000),
    "500 mappings in the options": deep('{"a": ' * 500 + "1" + "}" * 500),
    "a number of 5,000 digits": deep("9" * 5000),
    "a number of 50 digits": deep('{"a": ' + "9" * 50 + "}"),
    "a list": [],
    "null": None,
    "a word": "record",
    "no JSON": "{",
    "200,000 characters": record(options={"a": "x" * 200_000}),
}  # fmt: skip


def forge(small: Small, found, name: str = FORGED) -> None:
    """By an account that may do nothing else."""
    key, _, value = LABEL.partition("=")
    text = found if isinstance(found, str) else json.dumps(found)
    meta = {
        "name": name_of("deployment", name),
        "labels": {key: value},
        "annotations": {"brownout.dev/undo": text},
    }
    spec = {"holderIdentity": "another:1 (another-run)"}
    made = small.may("another", MAY_CREATE).create_lease(
        "ml", {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta, "spec": spec}
    )
    assert made is not None


@pytest.mark.parametrize("found", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_record_is_refused_with_a_value_error(found):
    text = found if isinstance(found, str) else json.dumps(found)
    meta = {
        "namespace": "ml",
        "name": name_of("deployment", FORGED),
        "annotations": {"brownout.dev/undo": text},
    }
    with pytest.raises(ValueError, match="the Lease brownout-deployment-other: ") as e:
        lease.undo_in({"metadata": meta})
    assert len(str(e.value)) < 500
    assert "\n" not in str(e.value)


def test_malformed_leases_stop_neither_the_reaper_nor_its_heartbeat(small):
    abandon(small, "engine", late_s=5)
    names = [f"a{n}" for n in range(len(MALFORMED))]
    for name, found in zip(names, MALFORMED.values(), strict=True):
        forge(small, found, name)
    with Running(small.admin) as running:
        until(lambda: replicas(small, "engine") == 1, "the dead run's tier is back")
        first = until(lambda: beat(small), "a heartbeat")
        until(lambda: beat(small) != first, "and another one")
        count = f"ml: {len(names)} Leases hold no record that can be acted on; left alone"
        until(lambda: count in running.lines, "it has counted them")
        until(lambda: len(leases(small)) == len(names), "the dead run's Lease is gone")
        reported = [line for line in running.lines if "brownout-deployment-a" in line]
        assert len(reported) <= reaper.REPORTED
        assert running.lines.count(count) == 1


def test_malformed_leases_do_not_stop_restore_which_counts_and_reports_them(small, tmp_path, monkeypatch):
    abandon(small, "engine", late_s=5)
    for n, found in enumerate(MALFORMED.values()):
        forge(small, found, f"a{n}")
    lines: list[str] = []
    left = restoring.restore(
        Journal(tmp_path / "journal"), topology_of(small, monkeypatch), Clock(), 20.0, lines.append
    )
    assert left == len(MALFORMED)
    assert replicas(small, "engine") == 1
    assert sum("left alone" in line for line in lines) == reaper.REPORTED
    assert f"{len(MALFORMED)} records cannot be read; {reaper.REPORTED} of them are shown" in lines


def topology_of(small: Small, monkeypatch):
    """A topology of the one target."""
    monkeypatch.setattr(restoring, "namespaces_of", lambda topology: ["ml"])
    return SimpleNamespace(
        cluster=small.admin.identity()[0], kubeconfig=small.admin.kubeconfig, targets=lambda: []
    )


@pytest.mark.parametrize("found", ["[" * 100_000, record(deadline="soon")], ids=["brackets", "a deadline"])
def test_a_claim_that_meets_a_malformed_lease_is_refused_and_names_it(small, tmp_path, found):
    forge(small, found)
    undo = replace(small.undo("scale_to_zero", Handle("deployment", f"ml/{FORGED}"), {}, time.time() + 60))
    claim = Claim(Journal(tmp_path / "journal"), small.admin, undo)
    words = "the Lease brownout-deployment-other: .*; if no fault is open there, .*kubectl delete lease -n ml"
    with pytest.raises(CannotInject, match=words):
        claim.must_be_free(time.time(), lambda held: True)
    with pytest.raises(CannotInject, match=words):
        claim.take(time.time())
    assert Journal(tmp_path / "journal").records() == []


def test_a_bug_in_one_restore_ends_no_other(small, monkeypatch):
    for name in ("engine", FORGED):
        abandon(small, name, late_s=5)
    really = deputy.Deputy._restore

    def broken(self, over_at):
        if self._undo.handle == f"ml/{FORGED}":
            raise KeyError("a bug")
        return really(self, over_at)

    monkeypatch.setattr(deputy.Deputy, "_restore", broken)
    with Running(small.admin) as running:
        until(lambda: replicas(small, "engine") == 1, "the other one is restored")
        until(lambda: any("NOT restored: KeyError" in line for line in running.lines), "the bug is reported")


def test_what_a_lease_names_itself_writes_no_second_line_into_a_log(small):
    found = record(run="a\nreaper: all is well", step="\x1b[2J", cluster=small.admin.identity()[0])
    forge(small, found)
    with Running(small.admin) as running:
        until(lambda: running.lines, "it has looked")
        assert all(line.isprintable() for line in running.lines)


def test_a_state_without_the_members_that_no_restore_reads_is_read():
    """As an older version may have written it."""
    read_by_a_restore = {key: UNDO.state[key] for key in ("uid", "original", "set")}
    found = record(state=read_by_a_restore)
    meta = {"namespace": "ml", "name": name_of("deployment", FORGED)}
    meta["annotations"] = {"brownout.dev/undo": json.dumps(found)}
    assert lease.undo_in({"metadata": meta}).state == read_by_a_restore


def test_a_record_of_another_cluster_is_tried_once_and_then_left_alone(small):
    """Thousands of them would fill the log, and take the place of others, again and again."""
    forge(small, record(cluster="another"))
    with Running(small.admin) as running:
        until(lambda: any("points to another cluster" in line for line in running.lines), "it was tried")
        until(lambda: any("its record is of another cluster" in line for line in running.lines), "reported")
        first = until(lambda: beat(small), "a heartbeat")
        until(lambda: beat(small) != first, "it has looked again")
        assert (
            sum("NOT restored" in line for line in running.lines) <= 2
        )  # a look may overlap with the first try


def test_the_holder_that_a_lease_names_writes_no_second_line(small, tmp_path):
    undo = small.undo("scale_to_zero", Handle("deployment", f"ml/{FORGED}"), {}, time.time() + 60)
    assert lease.take(small.admin, replace(undo, holder="a\nb\x1b[2J", run="another"), time.time())
    with pytest.raises(Held) as e:
        Claim(Journal(tmp_path / "journal"), small.admin, undo).stands()
    assert str(e.value).isprintable()


def test_the_state_of_each_fault_of_a_cluster_is_checked():
    """A driver that declares no members would get a forged state as it is."""
    on_cluster = [
        driver
        for driver in map(faults.driver, faults.names())
        if any(handles.find(kind).on_cluster for kind in driver.kinds)
    ]
    assert len(on_cluster) > 3
    for driver in on_cluster:
        with pytest.raises(ValidationError):
            driver.recorded.model_validate({})
