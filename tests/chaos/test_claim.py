"""The claim on a target while its fault lasts."""

from dataclasses import replace

import pytest

from chaos.undo.claim import Claim
from chaos.undo.journal import Journal
from tests.chaos.records import UNDO

ON_THE_HOST = replace(UNDO, kind="process", handle="/run/vllm.pid", cluster=None)  # deadline: 100.0


@pytest.mark.parametrize(("now", "again"), [(50.0, True), (150.0, False)])
def test_a_deleted_record_is_taken_again_until_the_deadline_after_which_another_may_have_restored(
    tmp_path, now, again
):
    journal = Journal(tmp_path)
    claim = Claim(journal, None, ON_THE_HOST)
    claim.take(10.0)
    journal.close(ON_THE_HOST)
    assert claim.keep(now) is again
    assert journal.holds(ON_THE_HOST) is again
