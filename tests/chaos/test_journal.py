"""The journal: an undo record is complete on disk, and it is a lock."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from chaos.undo import lease
from chaos.undo.guardian import opening
from chaos.undo.journal import Journal, Taken, Undo
from tests.chaos.records import UNDO


@pytest.fixture
def journal(tmp_path):
    return Journal(tmp_path / "deep" / "journal")


def test_what_is_written_is_read_back(journal):
    journal.open(UNDO)
    assert journal.records() == [UNDO]
    assert journal.held(replace(UNDO, run="another")) == UNDO


def test_a_record_that_does_without_what_was_added_is_read_by_an_older_version():
    assert json.loads(UNDO.to_json()).keys().isdisjoint({"context", "server"})
    of_http = replace(UNDO, context="prod", server={"url": "http://127.0.0.1:1"})
    assert json.loads(of_http.to_json()).keys() >= {"context", "server"}
    assert Undo.of_json(of_http.to_json()) == of_http


@pytest.mark.parametrize(
    ("other", "free"),
    [
        ({"run": "another"}, False),
        ({"fault": "network_blackhole"}, False),  # of the same target
        ({"handle": "ml/ollama"}, True),
        ({"kind": "statefulset"}, True),
        ({"cluster": "uid-2"}, True),
        ({"cluster": None, "kind": "process", "handle": "/run/vllm.pid"}, True),
    ],
)
def test_one_fault_is_open_for_each_target_of_a_cluster(journal, other, free):
    journal.open(UNDO)
    second = replace(UNDO, **other)
    if free:
        journal.open(second)
        assert len(journal.records()) == 2
        return
    with pytest.raises(Taken) as e:
        journal.open(second)
    assert e.value.undo == UNDO
    assert journal.records() == [UNDO]


def test_a_record_is_closed_by_its_own_undo_only(journal):
    journal.open(UNDO)
    journal.close(replace(UNDO, run="another"))
    assert journal.holds(UNDO)
    journal.close(UNDO)
    journal.close(UNDO)
    assert journal.records() == []


def test_handles_that_look_alike_have_records_of_their_own(journal):
    for handle in ("/run/a-b", "/run/a/b", "/run/a_b"):
        journal.open(replace(UNDO, cluster=None, kind="process", handle=handle))
    assert len(journal.records()) == 3


def test_a_record_that_cannot_be_written_leaves_nothing_behind(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        Journal(tmp_path / "file" / "journal").open(UNDO)


WRITTEN_BEFORE = """{
 "run": "a-run", "folder": null, "step": "gaming", "trial": 1, "fault": "scale_to_zero", "options": {}, "target": "vllm",
 "kind": "deployment", "handle": "ml/vllm-server", "given": {}, "cluster": "uid-1", "kubeconfig": null, "embedded_pid": null,
 "holder": "host:1", "deadline": 100.0, "state": {"original": {"replicas": 1}}
}"""


def test_a_record_that_was_written_before_the_context_was_kept_is_read():
    assert Undo.of_json(WRITTEN_BEFORE) == replace(UNDO, state={"original": {"replicas": 1}})


@pytest.mark.parametrize(
    "text",
    [
        UNDO.to_json(),
        UNDO.to_json(indent=1) + "\n",
        lease._annotations(SimpleNamespace(secret=lambda *where: None), UNDO)["brownout.dev/undo"],
        opening(UNDO).undo,
    ],
    ids=["the record", "the journal", "a Lease", "the guardian"],
)
def test_every_reader_of_a_record_reads_what_was_written(text):
    assert Undo.of_json(text) == UNDO


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"run": "old"}', WRITTEN_BEFORE.replace("run", "ran")]
)
def test_what_is_no_record_is_a_value_error(text):
    with pytest.raises(ValueError):
        Undo.of_json(text)


def test_a_record_of_another_version_is_reported_and_hides_no_other(journal, tmp_path):
    journal.open(UNDO)
    (path,) = (tmp_path / "deep" / "journal").iterdir()
    path.write_text(json.dumps({"run": "old"}))
    journal.open(replace(UNDO, handle="ml/ollama"))
    reported: list[str] = []
    assert [u.handle for u in journal.records(reported.append)] == ["ml/ollama"]
    assert len(reported) == 1
    assert "not an undo record of this version" in reported[0]
    with pytest.raises(ValueError, match="not an undo record of this version"):
        journal.held(UNDO)


def test_a_record_that_an_older_version_left_open_is_restored_by_its_own_command():
    given = {"inject": ["a"], "mend": ["b", "c"], "check": ["d"], "deadman": None}
    old = Undo.of_json(replace(UNDO, kind="command", given=given).to_json())
    assert old.given == {"inject": ["a"], "restore": ["b", "c"], "check": ["d"], "deadman": None}
    assert Undo.of_json(old.to_json()) == old
    other = replace(UNDO, kind="engine", given={"mend": "x"})  # not an older name of ours
    assert Undo.of_json(other.to_json()) == other
