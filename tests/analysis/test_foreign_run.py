"""A run folder that somebody else sent: its texts reach neither the terminal nor the text files of a report as commands."""

import json

from analysis.__main__ import main
from tests.analysis.reports import pictures
from tests.synthetic import make
from tests.synthetic_world import Hole

ATTACK = "\x1b[2K\x1b]0;title\x07\r\n# all is well: pass\u2028\x9b31m\x7f\u202eevil\x85end"


def test_a_run_of_hostile_texts_is_reported_line_by_line(tmp_path, capsys):
    made = make(tmp_path, [Hole("s", "vllm", 10, 20)], duration_s=30)
    manifest = made.path / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"state": "aborted", "reason": ATTACK}))
    events = made.path / "chaos.jsonl"
    lines = [json.loads(one) for one in events.read_text().splitlines()]
    lines.append(lines[-1] | {"stage": "fail", "error": ATTACK})
    events.write_text("".join(json.dumps(one) + "\n" for one in lines))
    with pictures():
        main(["report", str(made.path)])
    out, err = capsys.readouterr()
    summary = (made.path / "report" / "summary.md").read_text()
    assert "all is well" in out + summary
    for text in (out, err, summary):
        assert all(line.isprintable() for line in text.split("\n"))
        assert not any(line.startswith("# all") for line in text.split("\n"))
