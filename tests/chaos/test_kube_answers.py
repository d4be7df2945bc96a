"""An answer of a proxy is never taken for one of the API server: not for "gone", not for "there", and without a traceback."""

import io
import json
from pathlib import Path

import pytest
import urllib3

from chaos.kube import wire
from chaos.kube.answers import ApiError, NotTheApi, found, refusal, request_info
from chaos.kube.cluster import API_ERRORS, Cluster, api_error_text, refused
from embedded.apiserver.kubeconfig import write
from tests.chaos.between import PAGES, Page, as_json, status
from tests.chaos.between import Between as Proxy

META = {"name": "vllm", "namespace": "ml", "uid": "u", "resourceVersion": "1"}
CALLS = {
    "identity": lambda c: c.identity(),
    "clock": lambda c: c.clock_ahead_s(0.0),
    "allows": lambda c: c.allows("get", "", "pods", "ml", None),
    "workload": lambda c: c.workload("deployment", "ml", "vllm"),
    "statefulset": lambda c: c.workload("statefulset", "ml", "vllm"),
    "scale": lambda c: c.scale("deployment", "ml", "vllm"),
    "set scale": lambda c: c.set_scale("deployment", {"metadata": META}, 1),
    "watch": lambda c: list(c.watch_workload("deployment", "ml", "vllm", "1", 1)),
    "pods": lambda c: c.pods("ml", {}),
    "replica sets": lambda c: c.replica_sets("ml", {}),
    "pods on": lambda c: c.pods_on("n"),
    "delete pod": lambda c: c.delete_pod("ml", "vllm", "u", 0),
    "evict": lambda c: c.evict("ml", "vllm", "u"),
    "endpoints": lambda c: c.endpoints("ml"),
    "node": lambda c: c.node("vllm"),
    "cordon": lambda c: c.set_schedulable({"metadata": META}, False, {}),
    "policies": lambda c: c.network_policies("ml"),
    "policy": lambda c: c.network_policy("ml", "vllm"),
    "create policy": lambda c: c.create_network_policy("ml", {"metadata": META}),
    "delete policy": lambda c: c.delete_network_policy("ml", "vllm", "u"),
    "autoscalers": lambda c: c.autoscalers("ml"),
    "create lease": lambda c: c.create_lease("ml", {"metadata": META}),
    "lease": lambda c: c.lease("ml", "vllm"),
    "leases": lambda c: list(c.leases("ml", "a=b")),
    "replace lease": lambda c: c.replace_lease({"metadata": META}),
    "delete lease": lambda c: c.delete_lease("ml", "vllm", "u"),
}
RECORDED = sorted((Path(__file__).parent.parent / "embedded/recorded").glob("*.json"))


class Between:
    """Answers everything with one page, without a socket."""

    page: Page

    def request(self, *_: object, **__: object) -> urllib3.HTTPResponse:
        headers = {"Content-Type": self.page.content_type}
        return urllib3.HTTPResponse(
            io.BytesIO(self.page.body), headers, self.page.status, preload_content=False
        )


@pytest.fixture
def between():
    return Between()


@pytest.fixture
def cluster(between, tmp_path):
    write(tmp_path / "kubeconfig", "http://127.0.0.1:9", "a-token", "ml")
    found = Cluster(str(tmp_path / "kubeconfig"))
    found._wire._held.pool = between
    return found


def test_no_page_is_an_answer_on_the_wire(tmp_path):
    """As proxies send them: cut, redirected, closed."""
    with Proxy() as proxy:
        write(tmp_path / "kubeconfig", proxy.url, "a-token", "ml")
        found = Cluster(str(tmp_path / "kubeconfig"))
        for page in PAGES.values():
            proxy.page = lambda *_, page=page: page
            with pytest.raises(API_ERRORS):
                found.workload("deployment", "ml", "vllm")


@pytest.mark.parametrize("call", CALLS)
def test_no_page_is_an_answer_to_anything(between, cluster, call):
    believed, words = [], []
    for name, page in PAGES.items():
        between.page = page
        try:
            believed.append(f"{name}: {CALLS[call](cluster)!r}")
        except API_ERRORS as e:
            words.append(api_error_text(e))
    assert believed == []
    assert [w for w in words if "\n" in w or len(w) > 300] == []


@pytest.mark.parametrize(
    ("call", "page"),
    [
        ("pods", {"kind": "PodList", "items": None}),
        ("pods", {"kind": "PodList"}),
        ("pods", {"kind": "PodList", "items": {}}),
        ("pods", {"kind": "PodList", "items": [None]}),
        ("pods", {"kind": "PodList", "items": [{"metadata": {"name": "a"}}]}),
        ("pods", {"kind": "PodList", "items": [], "metadata": {"continue": "more"}}),
        ("leases", {"kind": "PodList", "items": []}),
        ("lease", {"kind": "Lease", "metadata": META | {"namespace": "others"}, "spec": {}}),
        ("lease", {"kind": "Lease", "metadata": META, "spec": None}),
        ("scale", {"kind": "Scale", "metadata": META, "spec": {"replicas": "1"}}),
        ("scale", {"kind": "Scale", "metadata": META, "spec": {"replicas": None}}),
        ("workload", {"kind": "Deployment", "metadata": META, "spec": {"selector": {}}}),
        ("workload", {"kind": "Deployment", "metadata": META, "spec": {"replicas": True, "selector": {}}}),
        ("allows", {"kind": "SelfSubjectAccessReview", "status": {}}),
        ("watch", {"type": "DELETED", "object": {"kind": "Deployment", "metadata": META | {"name": "other"}}}),
        ("watch", {"type": "DELETED"}),
        ("watch", {"type": "ERROR", "object": {}}),
    ],
)  # fmt: skip
def test_a_success_that_does_not_match_the_request_is_an_api_error(between, cluster, call, page):
    body = json.dumps(page).encode() + b"\n"
    between.page = Page(200, body)
    with pytest.raises(API_ERRORS):
        CALLS[call](cluster)


def test_a_watch_that_ends_at_once_is_not_requested_again_without_a_pause(between, cluster):
    between.page = Page(200, b"")
    with pytest.raises(API_ERRORS, match="ended at once"):
        CALLS["watch"](cluster)


def test_an_answer_without_an_end_is_given_up(between, cluster, monkeypatch):
    monkeypatch.setattr(wire, "MOST_BYTES", 1000)
    between.page = Page(200, b" " * 100_000)
    with pytest.raises(API_ERRORS, match="an answer of more than"):
        CALLS["pods"](cluster)


@pytest.mark.parametrize("path", RECORDED, ids=lambda p: p.stem)
def test_what_a_real_api_server_answered_is_its_word(path):
    """Every recorded exchange of a kind that is read here."""
    for exchange in json.loads(path.read_text())["exchanges"]:
        request, response = exchange["request"], exchange["response"]
        body, code = response.get("body"), response["status"]
        address = request["path"].partition("?")
        of = request_info(
            request["method"], address[0], request["body"] if isinstance(request["body"], dict) else None
        )
        if (
            not of.kind
            or not isinstance(body, dict)
            or "watch" in address[2]
            or "limit" in address[2]
            or "Table" in json.dumps(body)[:40]
        ):
            continue
        data = json.dumps(body).encode()
        if code < 300:
            found(of, data)
        else:
            error = refusal(of, code, {}, data)
            assert isinstance(error, ApiError) or not of.name, f"{of}: {error}"


@pytest.mark.parametrize(
    ("call", "page", "means"),
    [
        ("workload", status(404, "NotFound", details={"name": "vllm", "group": "apps", "kind": "deployments"}), None),
        ("workload", status(404, "NotFound", message='deployments.apps "vllm" not found'), None),
        ("set scale", status(409, "Conflict", details={"name": "vllm", "group": "apps", "kind": "deployments/scale"}), None),
        ("create lease", status(409, "AlreadyExists", details={"name": "vllm", "kind": "leases"}), None),
        ("delete pod", status(404, "NotFound", details={"name": "vllm", "kind": "pods"}), False),
        ("delete pod", status(409, "Conflict", details={"name": "vllm", "kind": "Pod"}), False),
        ("evict", status(404, "NotFound", details={"name": "vllm", "kind": "pods"}), None),
        ("delete lease", status(409, "Conflict", details={"name": "vllm", "kind": "Lease"}), None),
        ("scale", as_json(200, {"kind": "Scale", "metadata": META}), {"kind": "Scale", "metadata": META, "spec": {}}),
    ],
)  # fmt: skip
def test_the_servers_own_word_is_believed(between, cluster, call, page, means):
    between.page = page
    assert CALLS[call](cluster) == means


DENIED = 'admission webhook "a" denied the request: no'
NO_NAMESPACE = status(
    404, "NotFound", message='namespaces "ml" not found', details={"name": "ml", "kind": "namespaces"}
)
OTHER_NAMESPACE = status(404, "NotFound", details={"name": "others", "kind": "namespaces"})


@pytest.mark.parametrize("call", ["set scale", "delete pod", "evict", "create policy", "delete policy", "create lease",
                                  "replace lease", "delete lease"])  # fmt: skip
@pytest.mark.parametrize(
    ("code", "reason"), [(400, ""), (401, ""), (403, ""), (404, "NotFound"), (409, "Conflict"), (409, "AlreadyExists"), (500, "")]
)  # fmt: skip
def test_what_a_webhook_denies_by_whatever_code_is_denied_and_neither_gone_nor_a_conflict(
    between, cluster, call, code, reason
):
    between.page = status(code, reason, message=DENIED)
    if call == "evict":  # which returns why it is not evicted
        assert str(CALLS[call](cluster)).startswith(DENIED)
        return
    with pytest.raises(ApiError, match="denied the request: no") as caught:
        CALLS[call](cluster)
    assert str(refused(caught.value)).startswith(DENIED)


@pytest.mark.parametrize("call", ["create lease", "replace lease", "create policy"])
def test_a_namespace_that_is_not_there_is_the_servers_word_where_something_is_created(between, cluster, call):
    between.page = NO_NAMESPACE
    with pytest.raises(ApiError, match=r'^namespaces "ml" not found$') as caught:
        CALLS[call](cluster)
    assert api_error_text(caught.value) == 'API server: namespaces "ml" not found'
    between.page = OTHER_NAMESPACE
    with pytest.raises(NotTheApi):
        CALLS[call](cluster)


@pytest.mark.parametrize(
    "call", ["scale", "workload", "lease", "set scale", "delete lease", "evict", "delete pod"]
)
def test_a_namespace_that_is_not_there_is_nobodys_word_where_nothing_is_created(between, cluster, call):
    between.page = NO_NAMESPACE
    with pytest.raises(NotTheApi):
        CALLS[call](cluster)


@pytest.mark.parametrize(
    ("code", "message", "denied"),
    [
        (400, "no", True), (403, "no", True), (413, "no", True), (422, "no", True), (499, "no", True),
        (401, "no", False), (429, "no", False), (500, "no", False), (503, "no", False),
        (400, 'admission webhook "a" does not support dry run', False),
        (429, DENIED, True), (500, DENIED, True),
    ],
)  # fmt: skip
def test_which_refusals_of_a_write_are_denials(code, message, denied):
    of = request_info("PATCH", "/apis/apps/v1/namespaces/ml/deployments/vllm/scale")
    page = status(code, "", message=message)
    error = refusal(of, code, {}, page.body)
    assert refused(error) == (message if denied else None)


def test_a_group_that_is_not_installed_is_known_by_a_page_and_only_there(between, cluster):
    between.page = PAGES["a plain 404"]
    assert cluster.scaled_objects("ml") == []
    assert cluster.inference_service("ml", "vllm") is None
    for name in ("a 404 of HTML", "a 502 of HTML", "a 200 of HTML", "a 404 of other JSON"):
        between.page = PAGES[name]
        with pytest.raises(API_ERRORS):
            cluster.scaled_objects("ml")
        with pytest.raises(API_ERRORS):
            cluster.inference_service("ml", "vllm")


@pytest.mark.parametrize("code", [403, 422, 500])
def test_a_refusal_is_one_line_with_the_servers_words_and_no_headers(between, cluster, code):
    words = "admission webhook denied it:\n  reason one\n\x1b[31m  reason two"
    between.page = status(code, "Denied", message=words)
    with pytest.raises(ApiError) as caught:
        CALLS["set scale"](cluster)
    for text in (str(caught.value), api_error_text(caught.value)):
        assert "admission webhook denied it: reason one" in text
        assert "Content-Type" not in text
        assert text.isprintable()
