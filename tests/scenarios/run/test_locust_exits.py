"""Locust's own exit codes are not those of a verdict."""

import sys

import pytest

from scenarios.run.locust_exits import LocustSys


@pytest.mark.parametrize(
    ("status", "unhandled", "quitting", "code"),
    [
        (1, False, False, 64),
        (-1, False, False, 64),
        (1, True, False, 70),
        (1, False, True, 1),  # the verdict
        (70, False, False, 70),
        (0, False, False, 0),
        (None, False, False, None),
    ],
)
def test_what_locust_refuses_is_bad_input_until_it_quits_with_the_verdict(status, unhandled, quitting, code):
    exits = LocustSys(lambda: unhandled)
    if quitting:
        exits.quitting(exit_code=1)
    with pytest.raises(SystemExit) as ended:
        exits.exit(status)
    assert ended.value.code == code


def test_ctrl_c_keeps_its_exit_code():
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt:
        with pytest.raises(SystemExit) as ended:
            LocustSys(lambda: False).exit(1)
    assert ended.value.code == 1


def test_all_else_is_pythons_own():
    assert LocustSys(lambda: False).stderr is sys.stderr
