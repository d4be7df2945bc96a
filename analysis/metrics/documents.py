"""How accurately each tier classifies documents, and whether a fallback is as accurate. Pure.

The unit is a document and not an answer: for each tier the first complete answer through the gateway. A second answer for the
same document adds little. A cut answer (`cuts.cuts`) is left out and counted separately.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.metrics import cuts, quantiles, rates
from analysis.metrics.by_tier import Quantiles
from analysis.metrics.paired import Paired, share_interval
from contract.document import FIELDS
from contract.records import GATEWAY, Outcome

CALLS = 3  # of a client for one document; then it waits for its next scan
AGAIN = (408, 409, 429)  # besides 5xx: the statuses that it retries
NO_ANSWER = (Outcome.REFUSED, Outcome.TIMEOUT, Outcome.BROKEN)  # it also retries these, if no headers came
SLACK_S = 0.001  # a retry may seem to be sent this much before the previous call ended
Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class OfTier:
    """One tier's documents. All counts but `answers` and `cut` are of documents, by the first answer for each."""

    tier: str
    answers: int  # complete answers, repeated ones for the same document included
    cut: int
    answered: int
    valid: int  # the client could use the answer
    right_fields: dict[str, int]  # by FIELDS; an answer that was not valid has none
    right: int  # documents with all fields right
    interval: Span | None  # of the share of right documents
    per_minute: float | None
    latency: Quantiles  # ms

    @property
    def accuracy(self) -> float | None:
        return self.right / self.answered if self.answered else None


@dataclass(frozen=True, slots=True)
class Client:
    """The results of the client's documents; each attempt at a document is counted."""

    begun: int
    classified: int
    invalid: int  # waits for the next scan: the client cannot use the answer, or it was cut
    in_vain: int  # waits for the next scan: no call was answered
    unfinished: int  # when the run ended
    repeated: int  # calls beyond the first for a document

    @property
    def waiting(self) -> int:
        return self.invalid + self.in_vain


def through_gateway(classified: pd.DataFrame) -> pd.DataFrame:
    """Those of `frames.Frames.classified` that went through the gateway."""
    return classified[classified["via"] == GATEWAY]


def first_answers(classified: pd.DataFrame, tier: str, spans: Sequence[Span] | None = None) -> pd.DataFrame:
    """For each document the first complete answer of this tier, indexed by `document`; with `spans`, only those sent within them.

    `right`: the client could use it, and every field is correct. An answer that it could not use is wrong.
    """
    rows = classified[(classified["tier"] == tier) & classified["valid"].notna()]
    if spans is not None:
        rows = rows[_within(rows, spans)]
    rows = rows.drop_duplicates("document").set_index("document")  # in the order of their sending
    return rows.assign(right=[w is not None and not w for w in rows["wrong"]])


def cut(classified: pd.DataFrame, tier: str, spans: Sequence[Span]) -> int:
    """How many answers of this tier to requests sent within these spans were cut."""
    rows = classified[(classified["tier"] == tier) & classified["outcome"].isin(cuts.CUTS)]
    return int(_within(rows, spans).sum())


def _within(rows: pd.DataFrame, spans: Sequence[Span]) -> np.ndarray:
    """Which of them were sent within one of these spans."""
    at = rows["sent_at"].to_numpy(float)
    found = np.zeros(len(rows), dtype=bool)
    for start, end in spans:
        found |= (at >= start) & (at < end)
    return found


def accuracy(answers: pd.DataFrame) -> tuple[int, int]:
    """(documents right, documents answered): all four of correspondent, document type, date and language are right.

    For each document the tier's first answer through the gateway counts, over the whole run. JSON that the client cannot use is
    a wrong answer. Wilson's 95 % interval estimates the share over documents like these, not only these.
    """
    return int(answers["right"].sum()), len(answers)


def compared(first: pd.DataFrame, second: pd.DataFrame) -> Paired | None:
    """The accuracy of the second minus that of the first, over the documents that both answered; None if there is none.

    With Tango's 95 % interval for pairs (`paired.score_interval`): a hard document is hard for both, so documents that both have
    right or both wrong carry no information on the difference, and pairs need fewer documents than separate ones.
    """
    both = first.index.intersection(second.index)
    if both.empty:
        return None
    one, other = (answers.loc[both, "right"].to_numpy(bool) for answers in (first, second))
    return Paired(gained=int((other & ~one).sum()), lost=int((one & ~other).sum()), n=len(both))


def per_minute(classified: pd.DataFrame, tier: str) -> float | None:
    """Documents a minute that a tier classified ÷ the time in which it had at least one of them in hand (see Throughput).

    A repeated document counts again; an answer that the client could not use does not. This is the rate at the concurrency of
    the run: an instance of a client processes one document at a time.
    """
    mine = (classified["tier"] == tier) & classified["valid"].fillna(False).astype(bool)
    rate = rates.answers_per_s(classified.loc[mine, ["good", "sent_at", "ended_at"]])
    return None if rate is None else 60 * rate


def latency_ms(classified: pd.DataFrame) -> pd.Series:
    """How long a client waited for a document's answer: the first call for it sent → the end of the call that was answered.

    A client repeats failed calls (up to three, with a back-off), and the tier that answers at last gets the whole time. None if
    nothing was answered, or if the first call is not in the records.
    """
    begun_at, _ = _calls(classified)
    took = (classified["ended_at"] - begun_at) * 1000
    return took.where(classified["valid"].notna())


def client(classified: pd.DataFrame) -> Client:
    """The result of each document that a client began with; each attempt is counted.

    classified: an answer that the client could use. Waiting for the next scan, which may be half an hour later: an answer that it
    could not use (not JSON, missing keys, or cut), or no answer to any of three calls, or to one that is not repeated (a 4xx
    except 408, 409, 429; broken after the headers of a 200). Unfinished: the run ended first. Repeated: the calls beyond the first.
    """
    _, followed = _calls(classified)
    last = classified[~followed]
    valid = last["valid"]
    cut = last["outcome"].isin(cuts.CUTS)
    open_ = valid.isna() & ~cut
    again = open_ & _is_repeated(last) & (last["attempt"] < CALLS).fillna(False).astype(bool)
    unfinished = open_ & ((last["outcome"] == Outcome.ABANDONED) | again)
    return Client(
        begun=len(last),
        classified=int(valid.fillna(False).sum()),
        invalid=int((cut | ~valid.fillna(True).astype(bool)).sum()),
        in_vain=int((open_ & ~unfinished).sum()),
        unfinished=int(unfinished.sum()),
        repeated=int((classified["attempt"] > 1).fillna(False).sum()),
    )


def _is_repeated(calls: pd.DataFrame) -> pd.Series:
    """Which failures a client retries: no connection, no answer in time, 408, 409, 429, 5xx."""
    status = calls["status"].astype("float64")
    return (status.isna() & calls["outcome"].isin(NO_ANSWER)) | status.isin(AGAIN) | (status >= 500)


def _calls(classified: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """For each request: when the first call for its document was sent (NaN: unknown), and whether another call followed it.

    A record has the document and the number of the call, but not the client. If several clients send the same document at the
    same time, a retry is matched with the previous call that failed last.
    """
    begun_at = classified["sent_at"].to_numpy(float, copy=True)
    followed = np.zeros(len(classified), dtype=bool)
    ended_at = classified["ended_at"].to_numpy(float)
    sent_at = classified["sent_at"].to_numpy(float)
    in_vain = classified["valid"].isna().to_numpy(bool)
    keys = list(zip(
        pd.factorize(classified["worker"])[0].tolist(), classified["document"], classified["attempt"].to_numpy(float).tolist(),
        strict=True,
    ))  # fmt: skip
    failed: dict[tuple[int, str, float], list[int]] = {}
    for i in np.argsort(sent_at, kind="stable").tolist():
        worker, document, attempt = keys[i]
        if attempt > 1:
            before = failed.get((worker, document, attempt - 1), [])
            last = max(
                (j for j in before if ended_at[j] <= sent_at[i] + SLACK_S), key=ended_at.item, default=None
            )
            begun_at[i] = np.nan if last is None else begun_at[last]
            if last is not None:
                before.remove(last)
                followed[last] = True
        if in_vain[i]:
            failed.setdefault(keys[i], []).append(i)
    return begun_at, followed


def of_tiers(classified: pd.DataFrame, tiers: Sequence[str]) -> list[OfTier]:
    """Every tier, in the order in which the gateway falls through them. `classified`: those through the gateway."""
    took = latency_ms(classified)
    return [_of_tier(classified, took, tier) for tier in tiers]


def _of_tier(classified: pd.DataFrame, took: pd.Series, tier: str) -> OfTier:
    mine = (classified["tier"] == tier).to_numpy(bool)
    firsts = first_answers(classified, tier)
    right, answered = accuracy(firsts)
    wrong = firsts["wrong"].dropna()
    return OfTier(
        tier=tier,
        answers=int((mine & classified["valid"].notna()).sum()),
        cut=int((mine & classified["outcome"].isin(cuts.CUTS)).sum()),
        answered=answered,
        valid=int(firsts["valid"].sum()),
        right_fields={name: sum(name not in fields for fields in wrong) for name in FIELDS},
        right=right,
        interval=share_interval(right, answered) if answered else None,
        per_minute=per_minute(classified, tier),
        latency=quantiles.quantiles(took[mine]),
    )
