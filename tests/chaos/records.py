"""An undo record without an injected fault."""

from chaos.undo.journal import Undo

UNDO = Undo(
    run="a-run", folder=None, step="gaming", trial=1, fault="scale_to_zero", options={}, target="vllm",
    kind="deployment", handle="ml/vllm-server", given={}, cluster="uid-1", kubeconfig=None, embedded_pid=None,
    holder="host:1", deadline=100.0, state={"original": {"replicas": 1}},
)  # fmt: skip
