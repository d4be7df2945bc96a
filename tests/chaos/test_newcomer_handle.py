"""A kind of handle is one file: named in YAML, used by a fault, locked by its name and released."""

from types import SimpleNamespace

import pytest

from chaos import faults
from chaos.__main__ import main as chaos
from chaos.state_folder import default_folder
from chaos.undo.journal import Journal
from contract import handles, topology
from contract.refusal import Refusal
from tests.chaos.newcomers import TIMELINE, bound, record_of
from tests.ports import held_port

VM = '''
"""A virtual machine of this host, by its name."""

from contract.fields import Name
from contract.handle_kind import HandleKind

HANDLE = HandleKind(given=Name)
'''
VM_STOP = '''
"""Shuts a virtual machine down, represented by a file."""

import os
from pathlib import Path

from chaos.fault import Deadman, Fault


class VmStop(Fault):
    kinds = ("vm",)
    deadman = Deadman.GUARDIAN

    def __init__(self, cluster, target, options):
        self._file = Path(os.environ["VMS"]) / target.handle.name

    def snapshot(self):
        return {"original": self._file.read_text(), "set": "down"}

    def inject(self, state):
        self._file.write_text("down")

    def effective(self, state):
        return {"vm": "down"} if self._file.read_text() == "down" else None

    def restore(self, state):
        self._file.write_text(state["original"])

    def restored(self, state):
        return {"vm": "up"} if self._file.read_text() == "up" else None


FAULT = VmStop
'''
ON_VM = """
gateway: {{url: "http://127.0.0.1:{port}", model: m}}
tiers: [{{name: vllm, match: {{group: m}}, handles: {{vm: gpu-vm, unprotected: true}}}}]
"""


@pytest.fixture
def vm(member, state_home, tmp_path, monkeypatch):
    """Its topology."""
    member(handles, "vm", VM)
    member(faults, "vm_stop", VM_STOP)
    monkeypatch.setenv("VMS", str(tmp_path))
    (tmp_path / "gpu-vm").write_text("up")
    path = tmp_path / "topology.yaml"
    path.write_text(ON_VM.format(port=held_port()))
    return path


def test_a_kind_of_handle_is_named_in_yaml_taken_hold_of_and_let_go(vm, run_here, tmp_path, capsys):
    """It took one file for the kind, and one for the fault that uses it."""
    text = TIMELINE.replace("pause,", "vm_stop,")
    assert topology.read_text(topology.dump(topology.read(vm))) == topology.read(vm)
    code, events = run_here(SimpleNamespace(write_topology=lambda: vm), text=text)
    assert code == 0
    assert [f"{e['move']} {e['stage']}" for e in events][-1] == "restore effective"
    assert (tmp_path / "gpu-vm").read_text() == "up"
    chaos(["plan", "--topology", str(vm), "--timeline", str(tmp_path / "long.yaml")])
    assert "vm_stop on vm gpu-vm" in capsys.readouterr().out


def test_it_is_locked_by_its_name(vm, run_here, tmp_path):
    text = TIMELINE.replace("pause,", "vm_stop,")
    journal = Journal(default_folder())
    journal.open(record_of(bound(vm, tmp_path, text), {"original": "up"}))
    code, events = run_here(SimpleNamespace(write_topology=lambda: vm), text=text)
    assert (code, [f"{e['move']} {e['stage']}" for e in events]) == (5, ["inject fail"])
    assert events[0]["error"].startswith("gpu-vm is held by host:1")
    assert (tmp_path / "gpu-vm").read_text() == "up"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("vmm: gpu-vm", "tier 'vllm': handles: vmm: no key 'vmm'; did you mean 'vm'?"),
        ("vm: GPU", "tier 'vllm': handles: vm: 'GPU' is not a valid name; use lower-case letters"),
        ("vm: [gpu-vm]", "tier 'vllm': handles: vm: Input should be a valid string"),
    ],
)
def test_it_is_refused_where_it_is_misspelt(vm, given, words):
    vm.write_text(vm.read_text().replace("vm: gpu-vm", given))
    with pytest.raises(Refusal) as e:
        topology.read(vm)
    assert words in str(e.value)
