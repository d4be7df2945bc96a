"""An undo record without an injected fault."""

from chaos.undo.journal import Undo

STATE = {
    "uid": "uid-of-it",
    "generation": 1,
    "original": {"replicas": 1, "ready": 1, "endpoints": 0},
    "set": {"replicas": 0},
    "selector": {"matchLabels": {"app": "vllm"}},
    "grace_s": 30.0,
}
UNDO = Undo(
    run="a-run", folder=None, step="gaming", trial=1, fault="scale_to_zero", options={}, target="vllm",
    kind="deployment", handle="ml/vllm-server", given={}, cluster="uid-1", kubeconfig=None, embedded_pid=None,
    holder="host:1", deadline=100.0, state=STATE,
)  # fmt: skip
