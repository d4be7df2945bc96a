"""Records reach the file about once a second and at the end; a failed write is reported once."""

import gevent

from contract.records import Outcome, RequestRecord
from contract.run import ArrowFile, read_arrow
from contract.schemas import REQUESTS
from scenarios.gateway.recorder import Recorder
from scenarios.gateway.tally import Snapshot, Tallies, Tally


def _record(number: int = 1, **given) -> RequestRecord:
    return RequestRecord(f"req-{number}", "chat", "load", "gateway", True, 1000.0 + number, **given)


def _ids(path):
    table, torn = read_arrow(path, REQUESTS)
    assert not torn
    return table.column("request_id").to_pylist()


def test_records_are_in_the_file_within_about_a_second_and_all_of_them_at_the_end(tmp_path):
    path, failures = tmp_path / "requests.arrow", []
    recorder = Recorder(ArrowFile(path, REQUESTS), failures.append)
    recorder.start()
    recorder.keep(_record(1))
    gevent.sleep(1.2)
    assert _ids(path) == ["req-1"]
    recorder.keep(_record(2))
    recorder.keep(_record(3))
    recorder.close()
    recorder.close()
    assert _ids(path) == ["req-1", "req-2", "req-3"]
    assert failures == []


class Counting:
    """Replaces an ArrowFile; counts the turns of the hub between two batches."""

    def __init__(self):
        self.turns, self.batches, self.numbers = 0, [], []

    def turn(self):
        while True:
            gevent.sleep(0)
            self.turns += 1

    def append(self, records):
        self.batches.append((len(records), self.turns))
        self.numbers += [int(r.scheduled_at) for r in records]

    def close(self):
        pass


def test_many_records_are_written_in_batches_between_which_the_hub_has_its_turn():
    file, failures = Counting(), []
    recorder = Recorder(file, failures.append)
    turning = gevent.spawn(file.turn)
    for number in range(1000):
        recorder.keep(_record(number))
    recorder.start()
    while len(file.numbers) < 1000:
        gevent.sleep(0.01)
        recorder.keep(_record(1000))  # requests end meanwhile
    turning.kill()
    recorder.close()
    sizes, turns = zip(*file.batches, strict=True)
    assert max(sizes) < 1000
    assert list(turns) == sorted(set(turns))
    assert file.numbers[:1000] == [1000 + n for n in range(1000)]
    assert failures == []


class Broken:
    """A file on a full disk."""

    def __init__(self):
        self.tried = 0

    def append(self, records):
        self.tried += 1
        raise OSError(28, "No space left on device")

    def close(self):
        raise OSError(28, "No space left on device")


def test_a_failed_write_is_reported_once_and_nothing_more_is_written():
    file, failures = Broken(), []
    recorder = Recorder(file, failures.append)
    for number in range(3):
        recorder.keep(_record(number))
        recorder.flush()
    recorder.close()
    assert failures == ["records cannot be written: OSError: [Errno 28] No space left on device"]
    assert file.tried == 1


def test_the_run_may_be_stopped_from_within_the_failure():
    failures = []
    recorder = Recorder(Broken(), lambda why: (failures.append(why), recorder.close()))
    recorder.start()
    recorder.keep(_record())
    gevent.sleep(1.2)
    assert len(failures) == 1
    assert recorder._greenlet.dead


def test_a_value_that_the_schema_does_not_take_is_a_failure(tmp_path):
    failures = []
    recorder = Recorder(ArrowFile(tmp_path / "requests.arrow", REQUESTS), failures.append)
    recorder.keep(_record(status="many"))
    recorder.close()
    assert len(failures) == 1


def test_a_record_after_the_end_is_counted_and_logged(tmp_path, caplog):
    recorder = Recorder(ArrowFile(tmp_path / "requests.arrow", REQUESTS), print)
    recorder.close()
    recorder.keep(_record(7))
    assert "req-7 ended after the recorder was closed" in caplog.text


def test_the_tally_counts_by_outcome_and_tier():
    tally = Tally()
    for _ in range(3):
        tally.due()
    tally.drop()
    for arrived in (True, True, False, False):
        tally.began(arrived)
    tally.ended(_record(outcome=Outcome.OK, tier="vllm"))
    tally.ended(_record(outcome=Outcome.OK, tier="ollama"))
    tally.ended(_record(outcome=Outcome.REFUSED))
    assert tally.snapshot() == Snapshot(5, 4, 1, 1, *({"ok": 2, "refused": 1}, {"vllm": 1, "ollama": 1}) * 2)


def test_a_master_adds_up_the_versions_that_its_workers_saw():
    tally, tallies = Tally(), Tallies()
    for version in ("1.106.2", None, "1.108.7", "1.106.2"):
        tally.named(version)
    for worker in ("worker-0", "worker-1"):
        tallies.update(worker, tally.snapshot())
    assert tallies.snapshot().by_version == {"1.106.2": 4, "1.108.7": 2}
