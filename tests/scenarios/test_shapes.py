"""The factor of each shape over time, and the options that it refuses."""

import json

import pytest

from tests.forked import run


def _factors(shape: str, options: str, at_s: list[float]) -> list[float] | str:
    done = run("tests.scenarios.shaped", input=json.dumps([shape, options.split(), at_s]))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ("shape", "options", "at_s", "factors"),
    [
        ("soak", "--soak-ramp-up 100s", [0, 25, 100, 86_400], [0.0, 0.25, 1.0, 1.0]),
        ("soak", "--soak-ramp-up 0ms", [0, 1], [1.0, 1.0]),
        ("spike", "--spike-at 10s --spike-for 5s --spike-factor 4", [0, 9.9, 10, 14.9, 15], [1, 1, 4, 4, 1]),
        ("steps", "--steps-factors 0.5,1,3 --steps-each 10s", [0, 10, 19.9, 20, 1000], [0.5, 1, 1, 3, 3]),
        ("steps", "", [0, 3600], [0.5, 2.0]),
    ],
)
def test_a_shape_is_a_factor_over_time(shape, options, at_s, factors):
    assert _factors(shape, options, at_s) == factors


@pytest.mark.parametrize(
    ("shape", "options", "words"),
    [
        ("soak", "--soak-ramp-up 10", "--soak-ramp-up: '10' is not a duration; write 10s"),
        ("spike", "--spike-factor 0", "--spike-factor: 0 is not above 0"),
        ("spike", "--spike-factor inf", "--spike-factor: inf is not a finite number"),
        ("spike", "--spike-factor nan", "--spike-factor: nan is not above 0"),
        ("steps", "--steps-factors 1,nan", "--steps-factors: '1,nan' are not levels; write them like 0.5,1,2"),
        ("steps", "--steps-factors inf", "--steps-factors: 'inf' are not levels; write them like 0.5,1,2"),
        ("steps", "--steps-factors 1,many", "--steps-factors: '1,many' are not levels; write them like 0.5,1,2"),
        ("steps", "--steps-each 0s", "--steps-each: 0s is not a duration above 0; write it like 1m"),
    ],
)  # fmt: skip
def test_a_shape_refuses_invalid_options(shape, options, words):
    assert _factors(shape, options, []) == words
