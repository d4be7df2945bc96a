"""A trace file of a stranger: it is replayed or refused, whatever is in it."""

import json
import math
import random
from pathlib import Path

import pytest

from contract.refusal import Refusal
from scenarios.gateway import trace

CSV = "timestamp,ContextTokens,GeneratedTokens\n" + "".join(
    f"2023-11-16 18:17:{second:02d}.979,{100 + second},{10 + second}\n" for second in range(20)
)
LINES = "".join(
    json.dumps(
        {"timestamp": 27000 + 50 * i, "input_length": 600 + i, "output_length": 5 + i, "hash_ids": [i]}
    )
    + "\n"
    for i in range(20)
)
TOKENS = (
    "nan", "inf", "1e999", "-1", "0", "9" * 5000, "1" * 400, "1e308", "99999999999999999999", '"', '""', ",", "\n", "\r", "\0", "[" * 200,
    "{" * 200, "}", "null", "true", "\\ud800", "\ud800", "\u2028", "0001-01-01", "9999-12-31 23:59:59.999999+00:00", "0001-01-01T00:00:00+23:59",
    "2023-11-16", "W1", "٣", "1_0", " ", "\x1f", "é",
)  # fmt: skip


def changed(text: str, rng: random.Random) -> bytes:
    for _ in range(rng.choice((1, 1, 2, 5))):
        at, token = rng.randrange(len(text) + 1), rng.choice(TOKENS)
        match rng.randrange(4):
            case 0:
                text = text[:at] + token + text[at:]
            case 1:
                text = text[:at] + text[at + rng.randrange(1, 30) :]
            case 2:
                text = text[:at] + text[max(0, at - 40) : at] + text[at:]
            case _:
                ends = [i for i, c in enumerate(text) if c in ",:\n{}"]
                first = rng.choice(ends[:-1] or [0])
                last = next((i for i in ends if i > first), len(text))
                text = text[: first + 1] + token + text[last:]
    data = text.encode(errors="surrogatepass")
    return data if rng.random() < 0.9 else data[: rng.randrange(len(data) + 1)]


@pytest.mark.parametrize("text", [CSV, LINES], ids=["CSV", "JSON lines"])
@pytest.mark.parametrize("unit", [None, "ms", "ns"])
def test_a_changed_trace_is_replayed_or_refused(tmp_path: Path, text: str, unit: str | None):
    file, refusals, replayed = tmp_path / "trace", [], 0
    for number in range(300):
        file.write_bytes(changed(text, random.Random(number)))
        try:
            found, words = trace.read(file, unit)
        except Refusal as e:
            refusals.append(str(e))
            continue
        replayed += 1
        assert words
        assert all(math.isfinite(a.at_s) and a.at_s >= 0 for a in found)
        assert sorted(a.at_s for a in found) == [a.at_s for a in found]
        assert all(a.prompt_tokens and 0 < a.prompt_tokens <= trace.MOST_TOKENS for a in found)
    assert len(refusals) > 30
    assert replayed > 0 or (unit is not None and text == CSV)
    for words in refusals:
        assert words.encode().startswith(b"--arrivals: ")
        assert len(words) < 1000


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000, '{"timestamp": ' + "[" * 100_000, '{"timestamp": 1, "a": ' + '{"a":' * 50_000 + "}" * 50_000 + "}",
        "a," * 100_000 + "\n", '"' + "x" * 200_000, "1,2," + "3" * 200_000 + "\n", "\n" * 1_000_000, "{}\n",
        '{"timestamp": 1, "input_length": 1, "output_length": 1, "hash_ids": [' + "[]," * 400_000 + "1]}\n",
    ],
    ids=lambda text: text[:20],
)  # fmt: skip
def test_a_trace_that_is_too_deep_too_wide_or_too_long_is_refused(tmp_path: Path, text: str):
    (tmp_path / "trace").write_text(text)
    with pytest.raises(Refusal) as e:
        trace.read(tmp_path / "trace", None)
    assert len(str(e.value)) < 1000
