"""Restores of many records: a bounded number at once, the most overdue first, and none is lost."""

import threading

import pytest

from chaos.undo.overdue import Due, Overdue
from tests.embedded.recorded.stand import until


def due(number: int, deadline: float | None = None) -> Due:
    return Due("ml", f"lease-{number}", f"uid-{number}", float(number) if deadline is None else deadline)


def test_no_more_than_the_limit_run_at_once_and_all_are_done():
    lock, now, most, done = threading.Lock(), 0, 0, []

    def restore(one: Due) -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        threading.Event().wait(0.001)
        with lock:
            now -= 1
            done.append(one.name)

    before = threading.active_count()
    overdue = Overdue(restore, 4)
    for number in range(600):
        overdue.add(due(number))
    overdue.start()
    assert threading.active_count() <= before + 4
    until(lambda: len(done) == 600, "all are done")
    overdue.close()
    assert most <= 4
    assert len(set(done)) == 600


def in_order(*records: Due, again: tuple[Due, ...] = ()) -> list[str]:
    """The order of one worker; `again`: found a second time, after the first round."""
    done: list[str] = []
    overdue = Overdue(lambda one: done.append(one.name), 1)
    for found in (records, again):
        for one in found:
            overdue.add(one)
        overdue.start()
        until(lambda: not overdue._threads, "it is idle")
    overdue.close()
    return done


def test_the_most_overdue_is_first():
    assert in_order(due(3), due(1), due(2)) == ["lease-1", "lease-2", "lease-3"]


def test_what_could_not_be_restored_waits_behind_what_was_not_tried():
    forged, ours = due(1, deadline=0.0), due(2, deadline=1e9)
    assert in_order(forged, again=(forged, ours)) == ["lease-1", "lease-2", "lease-1"]


def test_what_is_being_restored_is_not_begun_twice_and_what_is_gone_is_forgotten():
    begun, may = [], threading.Event()

    def restore(one: Due) -> None:
        begun.append(one.name)
        may.wait(20)

    overdue = Overdue(restore, 1)
    overdue.add(due(1))
    overdue.start()
    until(lambda: begun, "it has begun")
    overdue.add(due(1))
    overdue.add(due(2))
    overdue.keep("another", ())
    overdue.keep("ml", {"uid-1"})
    overdue.start()
    may.set()
    overdue.close()
    assert begun == ["lease-1"]


def test_a_restore_that_raises_costs_the_pool_no_place(monkeypatch):
    monkeypatch.setattr(threading, "excepthook", lambda args: None)
    done: list[str] = []

    def restore(one: Due) -> None:
        done.append(one.name)
        if one.name == "lease-1":
            raise AssertionError("a bug")

    overdue = Overdue(restore, 1)
    for number in (1, 2):
        overdue.add(due(number))
        overdue.start()
        until(lambda: not overdue._threads, "it is idle")
    overdue.close()
    assert done == ["lease-1", "lease-2"]


def test_a_thread_that_cannot_be_started_costs_the_pool_no_place(monkeypatch):
    def no_thread_left(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    done: list[str] = []
    overdue = Overdue(lambda one: done.append(one.name), 1)
    overdue.add(due(1))
    with monkeypatch.context() as machine:
        machine.setattr(threading.Thread, "start", no_thread_left)
        with pytest.raises(RuntimeError):  # the reaper's loop goes on after it
            overdue.start()
    overdue.start()
    until(lambda: done, "it is restored once a thread can be had")
    overdue.close()
