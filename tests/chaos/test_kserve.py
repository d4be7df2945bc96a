"""A KServe predictor as a target: the plan reports the effect of a scale in advance, and the effect is the same."""

import re

import pytest

from chaos import faults, output, preflight
from chaos.__main__ import _parser
from chaos.kube import kserve
from chaos.target import Handle
from contract import topology
from embedded.apiserver.rights import Rule
from tests.chaos.predictors import HANDLE, NAME, NAMESPACE, SERVICE, Predictors
from tests.chaos.round_thread import ALL, RoundThread
from tests.chaos.stand import ROOT
from tests.chaos.targets import on

TARGET = Handle("deployment", HANDLE)
MINE = {"serving.kserve.io/inferenceservice": SERVICE}
CLASS, MODE, STOP = (f"serving.kserve.io/{word}" for word in ("autoscalerClass", "deploymentMode", "stop"))
STICKS = "a scale to zero sticks"


def deployment(annotations=None, labels=None, **meta):
    made = {"name": NAME, "namespace": NAMESPACE, "labels": MINE | (labels or {}), **meta}
    return {"metadata": made | ({"annotations": annotations} if annotations else {})}


def service(least=None, annotations=None, mode="Standard"):
    predictor = {} if least is None else {"minReplicas": least}
    status = {"status": {"deploymentMode": mode}} if mode else {}
    return {"metadata": {"annotations": annotations or {}}, "spec": {"predictor": predictor}, **status}


@pytest.mark.parametrize(
    ("annotations", "of_service", "words"),
    [
        (None, service(1), f"autoscalerClass not given, which is hpa: its controller leaves the replicas alone, and zero disables the autoscaler that it has made: {STICKS}"),
        ({CLASS: "hpa"}, service(1), "autoscalerClass hpa: its controller leaves the replicas alone"),
        ({CLASS: "external"}, service(1), "autoscalerClass external: its controller makes no autoscaler and leaves the replicas alone: a scale sticks"),
        ({CLASS: "keda"}, service(1), "autoscalerClass keda: its controller leaves the replicas alone, but KEDA does not: A SCALE TO ZERO WILL BE UNDONE"),
        ({CLASS: "keda"}, service(1), "oc -n llm annotate --overwrite scaledobject llama-fp8-predictor autoscaling.keda.sh/paused=true"),
        ({CLASS: "none"}, service(2), "autoscalerClass none: A SCALE IS SET BACK AT ONCE: its controller keeps the replicas at 2,"),
        ({CLASS: "none"}, service(), "keeps the replicas at 1,"),
        ({CLASS: "none"}, None, "keeps the replicas at minReplicas,"),
        ({CLASS: "none"}, service(1), "oc -n llm annotate --overwrite inferenceservice llama-fp8 serving.kserve.io/autoscalerClass=external"),
        ({CLASS: "none"}, service(0), f"keeps the replicas at 0, the minReplicas: {STICKS}, but THE RESTORE WILL BE UNDONE"),
        ({CLASS: "wva"}, service(1), "autoscalerClass wva: an unknown class"),
        ({CLASS: "hpa"}, service(1, {STOP: "true"}), "serving.kserve.io/stop is true: its controller deletes this Deployment"),
        ({CLASS: "hpa"}, service(1, {STOP: "false"}), STICKS),
        ({MODE: "RawDeployment"}, service(1, mode=None), STICKS),
        ({MODE: "Serverless"}, service(1, mode=None), "mode Serverless: Knative's autoscaler owns these replicas"),
        (None, service(1, mode="Serverless"), "mode Serverless: Knative's"),
        (None, service(1, mode="Knative"), "mode Knative: Knative's"),
        ({MODE: "Serverless"}, service(1, mode="Standard"), STICKS),  # the controller's status counts
    ],
    ids=lambda v: v[:60] if isinstance(v, str) else "",
)  # fmt: skip
def test_the_effect_of_a_scale_follows_from_class_and_mode(annotations, of_service, words):
    text = kserve.describe_scale(deployment(annotations), of_service, None)
    assert text.startswith("KServe (llama-fp8), ")
    assert words in text


@pytest.mark.parametrize(
    ("annotations", "of_service", "words"),
    [
        ({CLASS: "hpa"}, service(2), "does to a scale to 1 is listed here too"),
        ({CLASS: "keda"}, service(2), "A SCALE TO 1 IS UNDONE where it is outside its bounds"),
        ({CLASS: "none"}, service(2), "A SCALE IS SET BACK AT ONCE: its controller keeps the replicas at 2,"),
        ({CLASS: "none"}, service(0), "its controller keeps the replicas at 0, the minReplicas; THE RESTORE WILL BE UNDONE, TOO"),
        ({CLASS: "external"}, service(2), "makes no autoscaler and leaves the replicas alone: a scale sticks"),
    ],
    ids=lambda v: v[:60] if isinstance(v, str) else "",
)  # fmt: skip
def test_a_scale_to_one_is_not_described_as_a_scale_to_zero(annotations, of_service, words):
    text = kserve.describe_scale(deployment(annotations), of_service, None, 1)
    assert words in text
    assert "scale to zero" not in text


def test_a_revision_of_knative_is_known_by_its_label():
    found = deployment(labels={"serving.knative.dev/revision": f"{NAME}-00001"})
    assert "mode Knative: Knative's autoscaler owns these replicas" in kserve.describe_scale(
        found, None, "it is not"
    )


def test_a_predictor_is_known_by_its_label_or_by_its_owner():
    reference = {"kind": "InferenceService", "name": "another"}
    assert kserve.owner(deployment()) == SERVICE
    assert kserve.owner(deployment(labels={**MINE})) == SERVICE
    assert kserve.owner({"metadata": {"name": "a", "ownerReferences": [reference]}}) == "another"
    assert (
        kserve.owner({"metadata": {"name": "a", "ownerReferences": [{"kind": "Other", "name": "b"}]}}) is None
    )


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    with Predictors(tmp_path_factory.mktemp("kserve")) as made:
        yield made


@pytest.fixture
def cluster(shared, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return shared


def others(cluster, rules=None):
    seen = cluster.admin if rules is None else cluster.may("somebody", rules)
    return faults.make("scale_to_zero", seen, on(TARGET), {}).others()


READ = (
    Rule(("get",), ("apps",), ("deployments",), (NAME,), NAMESPACE),
    Rule(("list",), ("autoscaling",), ("horizontalpodautoscalers",), (), NAMESPACE),
    Rule(("list",), ("keda.sh",), ("scaledobjects",), (), NAMESPACE),
)


def test_the_inference_service_is_read_where_that_is_granted_and_otherwise_it_is_reported(cluster):
    cluster.serve("none", min_replicas=2)
    (text,) = others(cluster)
    assert "keeps the replicas at 2," in text
    assert "was not read" not in text
    (text,) = others(cluster, READ)
    assert "keeps the replicas at minReplicas," in text
    assert text.endswith("(its InferenceService was not read: get inferenceservices is not granted)")


def test_an_inference_service_that_does_not_exist_is_reported_too(cluster, tmp_path):
    cluster.serve("external")
    cluster.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "elsewhere"}}
    )  # its controller finds no InferenceService there
    found = cluster.deployment()
    made = {k: found[k] for k in ("apiVersion", "kind", "spec")}
    meta = {k: found["metadata"][k] for k in ("name", "labels", "annotations")}
    cluster.apply(
        {**made, "spec": {**made["spec"], "replicas": 0}, "metadata": {**meta, "namespace": "elsewhere"}}
    )
    (text,) = faults.make(
        "scale_to_zero", cluster.admin, on(Handle("deployment", f"elsewhere/{NAME}")), {}
    ).others()
    assert text.endswith(
        "(its InferenceService was not read: it was not found, or the cluster does not serve its API)"
    )


@pytest.mark.parametrize("word", [None, "external"])
def test_with_a_class_that_leaves_the_replicas_alone_the_step_lasts_as_long_as_it_should(
    cluster, tmp_path, word
):
    cluster.serve(word)
    found = RoundThread(cluster, tmp_path, hold=True)
    found.await_("inject effective")
    assert cluster.replicas() == 0
    cluster.gone()
    found.pass_()
    assert not found.end().not_restored
    assert found.stages == ALL
    (begin,) = [e for e in found.events if (e.move, e.stage) == ("inject", "begin")]
    assert any(
        line.startswith("KServe (llama-fp8), ") and "sticks" in line for line in begin.detail["others"]
    )
    cluster.up_again()
    assert cluster.replicas() == 1


@pytest.mark.shows(
    "kserve",
    "make soak TOPOLOGY=topologies/kserve.yaml TIMELINE=chaos/timelines/predictor.yaml",
    on="embedded",
)
def test_with_the_class_none_the_step_ends_where_the_scale_is_set_back_and_nothing_is_left_broken(
    cluster, tmp_path
):
    cluster.serve("none")
    found = RoundThread(cluster, tmp_path, hold=True)
    outcome = found.end()
    assert not outcome.not_restored
    (begin,) = [e for e in found.events if (e.move, e.stage) == ("inject", "begin")]
    assert "A SCALE IS SET BACK AT ONCE" in begin.detail["others"][0]
    (restore,) = [e for e in found.events if (e.move, e.stage) == ("restore", "begin")]
    moved = f"deployment {HANDLE} (replicas before the fault: 1) was scaled to 1 by someone else; it is left alone"
    assert restore.detail == {"because": moved}
    assert restore.late_ms is None  # long before its time
    (left,) = [e for e in found.events if (e.move, e.stage) == ("restore", "fail")]
    assert (left.error, left.detail) == (moved, {"foreign": True})
    cluster.up_again()
    assert cluster.replicas() == 1
    assert found.journal.records() == []
    assert not list(cluster.admin.leases(NAMESPACE, "app.kubernetes.io/managed-by=brownout"))


@pytest.fixture
def planned(cluster, tmp_path, monkeypatch, capsys):
    """The output of `make plan` with the shipped topology on this cluster."""
    text = (ROOT / "topologies/openshift_kserve.yaml").read_text()
    text = text.replace("00000000-0000-0000-0000-000000000000", cluster.admin.identity()[0])
    path = tmp_path / "openshift.yaml"
    path.write_text(f"kubeconfig: {cluster.admin.kubeconfig}\n{text}")
    assert topology.read(path).tier("vllm").handles.get("deployment") == HANDLE
    timeline = ROOT / "chaos/timelines/predictor.yaml"

    def plan() -> str:
        args = _parser().parse_args(["plan", "--topology", str(path), "--timeline", str(timeline)])
        assert args.command(args) == 0
        output.flush()
        return capsys.readouterr().out

    return plan


@pytest.mark.shows(
    "kserve",
    "make plan TOPOLOGY=topologies/openshift_kserve.yaml TIMELINE=chaos/timelines/predictor.yaml",
    on="embedded",
)
def test_a_plan_shows_what_its_controller_will_do_to_the_scale_and_what_to_do_about_it(cluster, planned):
    cluster.serve("none")
    told = planned()
    assert "current state:     replicas 1, ready 1, endpoints 0; the fault sets replicas 0" in told
    assert "rights:            all granted" in told
    assert "other controllers: KServe (llama-fp8), autoscalerClass none: A SCALE IS SET BACK AT ONCE" in told
    cluster.annotate("external")
    cluster.up_again()
    assert (
        "other controllers: KServe (llama-fp8), autoscalerClass external: its controller makes" in planned()
    )
    assert cluster.replicas() == 1


def test_the_right_to_read_the_inference_service_is_not_checked_before_a_run(cluster):
    cluster.serve("external")
    fault = faults.make("scale_to_zero", cluster.admin, on(TARGET), {})
    assert not any(right.resource == "inferenceservices" for right in fault.rights())
    assert preflight.refused(fault, TARGET, cluster.admin) == []


def test_the_page_has_a_line_for_each_class_with_the_commands_that_a_plan_gives():
    page = (ROOT / "docs/openshift.md").read_text()
    rows = {words.split("|")[1].strip(): words for words in page.splitlines() if words.startswith("| ")}
    for word in ("hpa", "external", "keda", "none"):
        (row,) = [row for first, row in rows.items() if f"`{word}`" in first]
        text = kserve.describe_scale(deployment({CLASS: word}), service(1), None)
        command = text.partition("To have it stick: ")[2].partition(", which")[0]
        assert f"`{command}`" in row if command else "sticks" in row
    for file in re.findall(r"\]\(\.\./([\w/.-]+)\)|(deploy/[\w.-]+yaml)|TOPOLOGY=(topologies/\S+)", page):
        assert (ROOT / next(filter(None, file))).exists()
