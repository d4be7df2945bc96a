"""The files for CI: verdict.json conforms to its schema, junit.xml to the structure that its readers expect."""

import importlib
import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from analysis import frames, judge
from analysis.__main__ import main
from analysis.evidence import Evidence
from analysis.judging import verdict, verdict_json
from analysis.judging.finding import Finding, Status
from analysis.metrics.trials import Value
from contract.run import ABORTED
from tests.synthetic import make, three_tier
from tests.synthetic_world import VLLM, Hole

PAGE = Path(__file__).parents[2] / "docs" / "verdict.schema.json"

RUNS = {
    "as it ought to go": lambda at: three_tier(at),
    "killed, and not restored": lambda at: three_tier(at, status=None, drop=[("restore", "effective")]),
    "aborted by a guard": lambda at: three_tier(at, status=ABORTED, reason="guard: 201 cloud answers"),
    "no requests": lambda at: three_tier(at, rate=0, probe_rate=0, pairs=0),
    "no fallback": lambda at: make(at, [Hole("s", "vllm", 10, 20)], 60, engines=(VLLM,)),
    "no timeline": lambda at: make(at, duration_s=10),
}


@pytest.fixture(scope="module")
def jsonschema():
    return importlib.import_module("jsonschema")  # takes seconds, which each process that collects would pay


@pytest.fixture
def schema(jsonschema):
    found = json.loads(PAGE.read_text())
    jsonschema.Draft202012Validator.check_schema(found)
    return found


def test_the_schema_in_docs_is_what_the_command_prints(capsys):
    assert main(["schema"]) == 0
    assert capsys.readouterr().out == PAGE.read_text(), (
        "run: python -m analysis schema > docs/verdict.schema.json"
    )


def test_the_schema_says_what_every_field_is(schema):
    parts = [schema, *(d for d in schema["$defs"].values() if "properties" in d)]
    fields = [(name, field) for part in parts for name, field in part["properties"].items()]
    assert len(fields) == 23
    assert not [name for name, field in fields if not field.get("description")]


@pytest.mark.parametrize("made", RUNS.values(), ids=RUNS)
def test_every_verdict_keeps_to_the_schema_and_every_junit_to_its_structure(
    tmp_path, jsonschema, schema, made
):
    run = Evidence(frames.read(made(tmp_path).path))
    found = judge.judge(run)
    written = json.loads(json.dumps(verdict.as_json(found, run), allow_nan=False))
    jsonschema.validate(written, schema)
    assert [(f["name"], f["status"]) for f in written["findings"]] == [
        (f.name, str(f.status)) for f in found.findings
    ]
    check_junit(verdict.as_junit(found), found)


def test_what_the_schema_does_not_know_is_not_written(jsonschema, schema):
    wrong = {
        "run": "r",
        "status": "good",
        "exit_code": 0,
        "cut_short": None,
        "torn": [],
        "gateway_versions": None,
        "findings": [],
    }
    with pytest.raises(jsonschema.ValidationError, match="'good' is not one of"):
        jsonschema.validate(wrong, schema)
    with pytest.raises(ValueError, match="status"):
        verdict_json.VerdictJson.model_validate(wrong)
    with pytest.raises(jsonschema.ValidationError, match="'more' was unexpected"):
        jsonschema.validate(wrong | {"status": "pass", "more": 1}, schema)


def test_a_missing_number_is_null_and_never_0():
    trials = (Value("s", 1, None, why="no request"), Value("s", 2, 3.25, censored=True))
    finding = Finding(
        "failover", "N1", "t", "m", Status.UNKNOWN, "e", float("inf"), "s", 2, (1.0, None), trials
    )
    written = verdict_json.FindingJson.model_validate(finding)
    whole = {
        "run": "r",
        "status": "unknown",
        "exit_code": 5,
        "cut_short": None,
        "torn": [],
        "gateway_versions": {"1.108.7": 3},
    }
    plain = verdict_json.VerdictJson.model_validate(whole | {"findings": [written]}).plain()["findings"][0]
    assert (plain["value"], plain["interval"]) == (None, [1.0, None])
    assert [t["value"] for t in plain["trials"]] == [None, 3.25]
    assert [t["why"] for t in plain["trials"]] == ["no request", None]


def test_what_xml_cannot_hold_makes_no_broken_file():
    written = "\x1b[31mno\x00 \U0001f525 <&>\ud800"
    found = verdict.Verdict("r", "fail", 1, (Finding("cuts", None, written, written, Status.FAIL, written),))
    failure = check_junit(verdict.as_junit(found), found).find("testcase/failure")
    assert failure.text == "�[31mno� 🔥 <&>�"


def check_junit(text, found):
    """The structure that Jenkins, GitLab and GitHub's reporters read."""
    assert re.match(r"<\?xml version='1.0' encoding='utf-8'\?>", text, re.IGNORECASE)
    suite = ET.fromstring(text.encode())
    assert suite.tag == "testsuite"
    assert set(suite.attrib) == {"name", "tests", "failures", "errors", "skipped"}  # and no times
    cases = suite.findall("testcase")
    assert len(list(suite)) == len(cases) == int(suite.get("tests")) == len(found.findings)
    assert len({(c.get("classname"), c.get("name")) for c in cases}) == len(cases)
    wanted = {Status.FAIL: ["failure"], Status.UNKNOWN: ["error"], Status.PASS: ["system-out"]}
    for case, finding in zip(cases, found.findings, strict=True):
        assert set(case.attrib) == {"classname", "name"}
        assert [c.tag for c in case] == wanted[finding.status]
        if finding.status is not Status.PASS:
            assert set(case[0].attrib) == {"type", "message"}
    assert int(suite.get("failures")) == len(suite.findall("testcase/failure"))
    assert int(suite.get("errors")) == len(suite.findall("testcase/error"))
    return suite
