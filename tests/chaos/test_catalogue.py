"""The pages of faults and drivers match the code."""

import re

import pytest

from chaos import catalogue, faults
from chaos.fault import Deadman, Fault
from contract.refusal import Refusal
from tests.chaos.stand import ROOT


def test_the_page_of_faults_is_what_the_command_prints():
    page = (ROOT / "docs/faults.md").read_text()
    assert page == catalogue.text(None) + "\n", "run: python -m chaos faults > docs/faults.md"


@pytest.mark.parametrize("name", faults.names())
def test_every_driver_keeps_the_contract(name):
    driver = faults.driver(name)
    assert issubclass(driver, Fault)
    assert not driver.__abstractmethods__
    assert driver.kinds
    assert isinstance(driver.deadman, Deadman | property)
    assert f"## {name}\n" in catalogue.text(name)


def test_a_fault_that_does_not_exist_is_refused():
    with pytest.raises(Refusal, match="no fault 'pod_kil'; did you mean 'pod_kill'"):
        catalogue.text("pod_kil")


def test_every_line_of_the_page_on_drivers_is_a_line_of_the_driver():
    page = (ROOT / "docs/drivers.md").read_text()
    source = (ROOT / "chaos/faults/process_freeze.py").read_text().splitlines()
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 6
    for block in blocks:
        for line in block.splitlines():
            assert line in source, line


def test_every_fault_has_a_timeline():
    shown = "".join(p.read_text() for p in (ROOT / "chaos/timelines").glob("*.yaml"))
    assert [n for n in faults.names() if not re.search(rf"fault: {n},", shown)] == []
