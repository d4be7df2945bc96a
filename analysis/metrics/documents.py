"""What each tier made of the documents that it was asked to classify, and whether a fallback does it as well. Pure.

The unit is a document and not an answer: of each tier the first answer that came to its end, through the gateway. To ask
again for the same one tells little new. What was cut is no answer (`cuts.cuts`); it is left out, and counted.
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

CALLS = 3  # that a client makes for one document before it leaves it for its next scan
AGAIN = (408, 409, 429)  # besides 5xx: the statuses after which it calls again
NO_ANSWER = (Outcome.REFUSED, Outcome.TIMEOUT, Outcome.BROKEN)  # and so after these, where no headers came
SLACK_S = 0.001  # by which a call may seem to be sent before the one that it repeats ended
Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class OfTier:
    """One tier's documents. All counts but `answers` and `cut` are of documents, by the first answer for each."""

    tier: str
    answers: int  # that came to their end, again and again for the same document
    cut: int
    answered: int
    valid: int  # the client could use the answer
    right_fields: dict[str, int]  # by FIELDS; of an answer that was not valid, none is
    right: int  # all of them
    interval: Span | None  # of the share that is right
    per_minute: float | None
    latency: Quantiles  # ms

    @property
    def accuracy(self) -> float | None:
        return self.right / self.answered if self.answered else None


@dataclass(frozen=True, slots=True)
class Client:
    """What the client made of its documents: each time it began with one is counted."""

    begun: int
    classified: int
    invalid: int  # waits for the next scan: the answer was not what the client can use, cut ones among them
    in_vain: int  # waits for the next scan: no call was answered
    unfinished: int  # when the run ended
    repeated: int  # calls beyond the first for a document

    @property
    def waiting(self) -> int:
        return self.invalid + self.in_vain


def through_gateway(classified: pd.DataFrame) -> pd.DataFrame:
    """Those of `frames.Frames.classified` that the rest is about."""
    return classified[classified["via"] == GATEWAY]


def first_answers(classified: pd.DataFrame, tier: str, spans: Sequence[Span] | None = None) -> pd.DataFrame:
    """Of each document the first answer of this tier that came to its end, by `document`; with `spans`, sent within them.

    `right`: the client could use it, and every field is as it should be. An answer that it could not use is a wrong one.
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

    Of each document the first answer of the tier counts, through the gateway, over the whole run. JSON that the client cannot
    use is a wrong answer. With Wilson's 95 % interval: it tells of documents like these, and not only of these.
    """
    return int(answers["right"].sum()), len(answers)


def compared(first: pd.DataFrame, second: pd.DataFrame) -> Paired | None:
    """The accuracy of the second less that of the first, over the documents that both answered; None where there is none.

    With Tango's 95 % interval for pairs (`paired.score_interval`): a document that is hard is hard for both, so that what both
    have right or both wrong tells nothing of the difference, and the same documents tell more than as many other ones.
    """
    both = first.index.intersection(second.index)
    if both.empty:
        return None
    one, other = (answers.loc[both, "right"].to_numpy(bool) for answers in (first, second))
    return Paired(gained=int((other & ~one).sum()), lost=int((one & ~other).sum()), n=len(both))


def per_minute(classified: pd.DataFrame, tier: str) -> float | None:
    """Documents a minute that a tier classified ÷ the time in which it had at least one of them in hand (see Throughput).

    The same document again counts again; an answer that the client could not use does not. What it does at the concurrency
    that it met: an instance of a client has one document in hand at a time.
    """
    mine = (classified["tier"] == tier) & classified["valid"].fillna(False).astype(bool)
    rate = rates.answers_per_s(classified.loc[mine, ["good", "sent_at", "ended_at"]])
    return None if rate is None else 60 * rate


def latency_ms(classified: pd.DataFrame) -> pd.Series:
    """How long a client waited for a document's answer: the first call for it sent → the end of the call that was answered.

    A client repeats what fails (up to three calls, with a back-off between them), and the tier that answers at last has the
    whole of it. None where nothing was answered, or where the first call is not among the records.
    """
    begun_at, _ = _calls(classified)
    took = (classified["ended_at"] - begun_at) * 1000
    return took.where(classified["valid"].notna())


def client(classified: pd.DataFrame) -> Client:
    """What became of each document that a client began with; each time it did is counted.

    classified: an answer that it could use. Waiting for its next scan, which may be half an hour away: an answer that it could
    not use (no JSON, or not the keys that it needs, or cut), or none to any of three calls, or to one that is not repeated
    (a 4xx but 408, 409, 429; what broke after the headers of a 200). Unfinished: the run ended first. Repeated: the calls beyond the first.
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
    """Which failures a client calls again after: no connection, no answer in time, 408, 409, 429, 5xx."""
    status = calls["status"].astype("float64")
    return (status.isna() & calls["outcome"].isin(NO_ANSWER)) | status.isin(AGAIN) | (status >= 500)


def _calls(classified: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Of each request: when the first call for its document was sent (NaN: not known), and whether another call followed it.

    A record tells which document and which call it is, not which client made it. Where several ask for one document at
    the same time, a repetition is taken for one of the call before it that failed last.
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
