"""What a plan reports of the servers before a run."""

from chaos.probe import serving
from contract.topology import Topology
from tests.embedded.engine import QUICK

SLOWLY = (*QUICK, "--inter-token-latency", "20ms")  # so that its chunks are not read together
LOCAL, CLOUD = "http://vllm:8000/v1", "https://api.openai.com"
NONE = "write witness: none in tier 'vllm', and a cut of its answers is no longer detected"


def report(topology: Topology) -> list[str]:
    return list(serving.report(serving.look(topology)))
