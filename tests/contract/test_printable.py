"""Foreign text reaches no terminal, log or text file with an escape sequence, an invented line or a reversed direction."""

import ast
from pathlib import Path

import pytest

from chaos import output
from chaos.kube import answers
from chaos.kube.answers import api_error_text, refusal, request_info
from chaos.probe import serving
from contract import printable
from contract.framing import End, Exchange
from contract.messages import FaultEvent
from contract.outcome import redirected
from contract.printable import LONGEST_LINE, line, lines
from scenarios.gateway.status_line import Restoring, live_line, move_line
from scenarios.gateway.tally import Tally
from tests.contract.exchanges import chunked, event, head, plain, received, recorded
from tests.parsed import nodes

ROOT = Path(__file__).parent.parent.parent
ATTACK = (
    "\x1b[2K\x1b]0;title\x07\r\n12:00 restored\u2028all is well\x9b31m\x7f\u202eevil\u2066\x00\x85end\t\ud800"
)


def safe(text: str) -> bool:
    return text.isprintable() and "restored" in text


def test_a_line_has_no_control_and_no_other_line():
    assert safe(line(ATTACK))
    assert line("a\tb  c") == "a b  c"
    assert lines(f"one\n{line(ATTACK)}\ntwo").count("\n") == 2
    assert line("x" * 10**6) == "x" * LONGEST_LINE + "…"


ANSWERS = {
    "a rejection": plain(ATTACK.encode("utf-8", "surrogatepass"), "502 Bad"),
    "a rejection in JSON": plain({"error": {"message": ATTACK}}, "502 Bad"),
    "an error event": head("200 OK", "transfer-encoding: chunked") + chunked(event({"error": {"message": ATTACK}})),
    "words of an error event": head("200 OK", "transfer-encoding: chunked")
    + chunked(b"event: error\ndata: restored \x1b[2K\xc2\x9b\xe2\x80\xae\n\n"),
    "an error of Ollama": plain({"error": ATTACK}, "200 OK"),
}  # fmt: skip


@pytest.mark.parametrize("name", ANSWERS)
def test_what_a_server_answers_is_recorded_as_a_line(name):
    record = recorded(received((1.0, ANSWERS[name]))[0])
    assert safe(record.error or ""), record.error


def test_a_finish_reason_a_header_and_a_redirect_are_lines():
    body = event({"choices": [{"delta": {"content": "a"}, "finish_reason": ATTACK}]})
    record = recorded(
        received(
            (
                1.0,
                head("200 OK", "x-litellm-model-group: \x9brestored\x80"),
            ),
            (2.0, body),
            closed_at=3.0,
        )[0]
    )
    assert safe(record.finish_reason or "")
    assert safe(record.route_group or "")
    assert safe(redirected(302, f"http://h/{ATTACK}"))


def test_an_error_of_the_wire_is_recorded_as_a_line():
    exchange = Exchange(0.0, None, {}, None, [], 1.0, End.CLOSED, ATTACK)
    assert safe(recorded(exchange).error or "")


def _event(**more) -> FaultEvent:
    given = {"at": 60.0, "move": "restore", "stage": "effective", "step": "restored s", "target": "vllm"}
    return FaultEvent(**({"detail": None, "note": None, "error": None} | given | more))


@pytest.mark.parametrize(
    "found",
    [
        _event(error=ATTACK),
        _event(note=ATTACK),
        _event(stage="waiting", detail={"missing": ATTACK, "waited_s": 60}),
        _event(detail={"answered": "unknown", "unanswered": ATTACK}),
        _event(step=ATTACK, target=ATTACK),
    ],
)
def test_an_event_of_chaos_is_shown_as_one_line(found):
    assert safe(move_line(found, 0.0) or "")
    restoring = Restoring()
    restoring.update(found)
    shown = restoring.describe(120.0)
    now = Tally().snapshot()
    assert live_line(None, now, now, 1.0, None, 0.0, shown).isprintable()


def test_the_output_of_chaos_is_safe_whatever_it_is_given(capsys):
    output.out(ATTACK)
    output.err(ATTACK)
    output.out_lines(f"one\n{printable.line(ATTACK)}\ntwo")
    output.flush()
    out, err = capsys.readouterr()
    assert (out.count("\n"), err.count("\n")) == (4, 1)
    assert all(one.isprintable() for one in (out + err).split("\n"))


def test_a_message_to_another_process_is_written_as_it_is(capsys):
    output.message('{"a": "' + "x" * 10_000 + '"}')
    output.flush()
    assert len(capsys.readouterr().out) == 10_010


def test_a_plans_findings_and_the_words_of_an_api_server_are_lines():
    found = serving.Serving("vllm", (f"lists {ATTACK}",), (ATTACK,))
    assert all(safe(printable.line(one)) for one in serving.report([found]))
    of = request_info("GET", "/api/v1/namespaces/a/pods/b")
    status = {"kind": "Status", "status": "Failure", "message": ATTACK.encode("utf-8", "replace").decode()}
    assert safe(api_error_text(refusal(of, 403, {}, answers.json.dumps(status).encode())))
    assert api_error_text(OSError(ATTACK)).isprintable()


# Every print of the product.

MACHINES = {
    "made",
    "definitions.text()",
    "verdict_json.schema()",
}  # JSON or a page of our own, on standard output
OWN = {
    "chaos/output.py",  # the one writer of chaos: its callers' lines are made safe there
    "scenarios/run/display.py",  # the status line, made safe in status_line.py; it adds our own escape sequence
    "chaos/host/launcher.py",  # a process of its own, whose output is a file
}


def _is_safe(node: ast.expr) -> bool:
    if isinstance(node, ast.Starred):
        node = node.value
    if isinstance(node, ast.Constant) or ast.unparse(node) in MACHINES:
        return True
    text = ast.unparse(node)
    return text.startswith(("printable.line(", "printable.lines(", "map(printable.line,", "verdict.as_text("))


def test_every_print_shows_a_constant_or_what_is_printable():
    wings = ("scenarios", "chaos", "analysis", "contract")
    wrong = []
    for path in [ROOT / "locustfile.py", *(p for wing in wings for p in sorted((ROOT / wing).rglob("*.py")))]:
        name = str(path.relative_to(ROOT))
        for node in nodes(path):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print" and name not in OWN:
                wrong += [f"{name}:{node.lineno}" for one in node.args if not _is_safe(one)]
    assert not wrong
