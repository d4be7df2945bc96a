"""The simulated KServe controller: the effect of each autoscaler class on a predictor's replicas."""

import json
import os
import shutil
import subprocess

import pytest

from embedded.apiserver import certificate, kubeconfig
from embedded.apiserver.server import serve
from tests.chaos.predictors import HANDLE, NAME, NAMESPACE, SERVICE, SERVICES, Predictors
from tests.embedded.recorded.stand import ADMIN, LocalCluster, until

AUTOSCALERS = f"/apis/autoscaling/v2/namespaces/{NAMESPACE}/horizontalpodautoscalers"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with Predictors(tmp_path_factory.mktemp("kserve")) as made:
        yield made


def test_without_kserve_its_api_group_does_not_exist():
    with LocalCluster() as local:
        answer = local.request("GET", f"{SERVICES}/{SERVICE}")
        assert (answer.status, answer.body) == (404, "404 page not found\n")
        assert local.request("GET", "/apis/serving.kserve.io").status == 404


def test_a_predictor_has_the_names_and_marks_that_kserve_gives(cluster):
    cluster.serve("external")
    found = cluster.deployment()
    assert found["metadata"]["labels"] == {
        "app": "isvc.llama-fp8-predictor",
        "serving.kserve.io/inferenceservice": "llama-fp8",
        "component": "predictor",
    }
    (owner,) = found["metadata"]["ownerReferences"]
    service = cluster.admin.inference_service(NAMESPACE, SERVICE)
    assert (owner["kind"], owner["uid"]) == ("InferenceService", service["metadata"]["uid"])
    assert service["status"] == {"deploymentMode": "Standard"}
    (pod,) = cluster.living()
    assert pod["metadata"]["annotations"].items() >= service["metadata"]["annotations"].items()


@pytest.mark.parametrize("least", [1, 2])
def test_with_the_class_none_a_scale_is_set_back_to_min_replicas(cluster, least):
    cluster.serve("none", min_replicas=least)
    cluster.scaled(0)
    until(lambda: cluster.replicas() == least, "its controller has set it back")
    cluster.up_again()
    assert cluster.autoscalers() == []


@pytest.mark.parametrize("word", [None, "hpa", "external", "keda"])
def test_with_any_other_class_the_replicas_are_not_changed(cluster, word):
    cluster.serve(word, min_replicas=2)
    cluster.scaled(0)
    cluster.gone()
    assert cluster.replicas() == 0
    cluster.scaled(1)
    # Its controller does nothing; the autoscaler that it created goes below its minReplicas only for zero.
    kept = 2 if word in (None, "hpa") else 1
    until(lambda: cluster.replicas() == kept, f"{kept} are left")
    cluster.up_again()
    assert cluster.replicas() == kept


@pytest.mark.parametrize(
    ("word", "made"), [(None, [NAME]), ("hpa", [NAME]), ("external", []), ("keda", []), ("none", [])]
)
def test_it_creates_an_autoscaler_for_hpa_and_by_default(cluster, word, made):
    cluster.serve(word)
    until(lambda: cluster.autoscalers() == made, f"the autoscalers are {made}")


def test_zero_disables_the_autoscaler_that_it_created(cluster):
    cluster.serve("hpa")
    until(lambda: cluster.autoscalers() == [NAME], "it is made")
    cluster.scaled(0)

    def disabled():
        found = cluster.get(f"{AUTOSCALERS}/{NAME}")
        return "ScalingDisabled" in [c["reason"] for c in found["status"].get("conditions") or ()]

    until(disabled, "its status reports it")
    cluster.gone()
    assert cluster.replicas() == 0


def test_a_new_class_replaces_the_pods_once_and_applies_from_then_on(cluster):
    cluster.serve("none")
    before = {p["metadata"]["uid"] for p in cluster.living()}
    cluster.annotate("external")
    until(lambda: not before & {p["metadata"]["uid"] for p in cluster.living()}, "none of its Pods is left")
    cluster.up_again()
    cluster.scaled(0)
    cluster.gone()
    assert cluster.replicas() == 0


def test_an_autoscaler_of_another_owner_is_not_changed(cluster):
    cluster.serve("external")
    ref = {"apiVersion": "apps/v1", "kind": "Deployment", "name": NAME}
    theirs = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": NAME, "namespace": NAMESPACE},
        "spec": {"scaleTargetRef": ref, "maxReplicas": 2},
    }
    cluster.apply(theirs)
    cluster.annotate("none")
    cluster.up_again()
    assert cluster.autoscalers() == [NAME]
    cluster.delete(f"{AUTOSCALERS}/{NAME}")


@pytest.mark.skipif(not shutil.which("kubectl"), reason="no kubectl on the PATH")
def test_kubectl_scales_a_predictor_and_names_its_class_as_oc_does(cluster, tmp_path):
    made = certificate.make(tmp_path)
    if made is None:
        pytest.skip("no openssl: kubectl sends its token over TLS only")
    cluster.serve("none")
    runner, port = cluster.run(serve(cluster.cluster, certificate=made))
    config = tmp_path / "kubeconfig"
    kubeconfig.write(config, f"https://127.0.0.1:{port}", ADMIN, NAMESPACE, made.certificate)

    def kubectl(*arguments: str) -> str:
        command = ["kubectl", f"--kubeconfig={config}", f"--cache-dir={tmp_path}", *arguments]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=30, env={"PATH": os.environ["PATH"]}
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert json.loads(kubectl("get", "isvc", SERVICE, "-o", "json"))["spec"]["predictor"]["minReplicas"] == 1
    assert kubectl("scale", f"deployment/{NAME}", "--replicas=0") == f"deployment.apps/{NAME} scaled\n"
    until(lambda: cluster.replicas() == 1, "it is set back")
    kubectl(
        "annotate", "--overwrite", "inferenceservice", SERVICE, "serving.kserve.io/autoscalerClass=external"
    )
    cluster.up_again()
    kubectl("scale", f"deployment/{NAME}", "--replicas=0")
    kubectl("wait", "--for=delete", "pod", "-l", "component=predictor", "--timeout=20s")
    assert kubectl("get", "deployment", NAME, "-o", "jsonpath={.spec.replicas}") == "0"
    cluster.run(runner.cleanup())


def test_a_handle_without_the_predictor_suffix_is_refused():
    from contract import topology
    from contract.refusal import Refusal
    from tests.chaos.stand import ROOT

    text = (ROOT / "topologies/kserve.yaml").read_text()
    with pytest.raises(Refusal, match="'vllm' needs a tier with handles: deployment: namespace/<name>-predi"):
        topology.read_text(text.replace(HANDLE, "llm/llama-fp8"))
