"""The Kubernetes-shaped door, by the real kubectl: what a user of a cluster types works here. And by the Python client
in the ways that it alone uses."""

import json
import pathlib
import subprocess
import threading
import time

import pytest
import yaml
from kubernetes import client as kube
from kubernetes import config as kube_config
from kubernetes import dynamic, watch

from box import KUBECTL, Box, docker, until

DEPLOYMENT = {
    "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "labels": {"app": "web"}},
    "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [
            {"name": "c", "image": "kfbox/base:1", "command": ["sleep", "600"]}]}}},
}  # fmt: skip


def config_map(name: str, **data: str) -> str:
    return yaml.safe_dump({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})


def test_apply_again_and_diff(box: Box) -> None:
    assert "created" in box.kubectl("apply", "-f", "-", stdin=config_map("a", x="1", y="2"))
    assert "unchanged" in box.kubectl("apply", "-f", "-", stdin=config_map("a", x="1", y="2"))
    assert "configured" in box.kubectl("apply", "-f", "-", stdin=config_map("a", x="3"))
    assert json.loads(box.kubectl("get", "cm", "a", "-o", "jsonpath={.data}")) == {"x": "3"}
    assert "x: \"4\"" in box.kubectl("diff", "-f", "-", stdin=config_map("a", x="4"), check=False)
    box.kubectl("apply", "--dry-run=server", "-f", "-", stdin=config_map("a", x="5"))
    assert box.kubectl("get", "cm", "a", "-o", "jsonpath={.data.x}") == "3", "a dry run"
    box.kubectl("delete", "cm", "a")


def test_server_side_apply_takes_away_and_conflicts(box: Box) -> None:
    apply = ("apply", "--server-side", "-f", "-")
    box.kubectl(*apply, stdin=config_map("ssa", x="1", y="2"))
    box.kubectl(*apply, stdin=config_map("ssa", x="1"))
    assert json.loads(box.kubectl("get", "cm", "ssa", "-o", "jsonpath={.data}")) == {"x": "1"}
    other = (*apply, "--field-manager=other")
    assert "conflict" in box.kubectl(*other, stdin=config_map("ssa", x="9"), check=False)
    box.kubectl(*other, "--force-conflicts", stdin=config_map("ssa", x="9"))
    assert box.kubectl("get", "cm", "ssa", "-o", "jsonpath={.data.x}") == "9"


@pytest.mark.parametrize(("object", "said"), [
    ({"kind": "Pod", "spec": {"containerz": []}}, 'unknown field "spec.containerz"'),
    ({"kind": "Pod", "spec": {"containers": []}}, 'Pod "bad" is invalid: spec.containers: at least one is required'),
    ({"kind": "Pod", "spec": {"containers": [{"name": "c", "image": "i"}], "hostNetwork": True}}, "spec.hostNetwork"),
    ({"kind": "Pod", "spec": {"containers": [{"name": "c", "image": "i"}],
                              "volumes": [{"name": "v", "csi": {"driver": "store.kfbox.dev"}}]}}, "csi"),
    ({"kind": "ConfigMap", "metadata": {"name": "Not_A_Name"}}, "metadata.name"),
    ({"kind": "ConfigMap", "metadata": {"name": "x", "namespace": "nowhere"}}, 'namespaces "nowhere" not found'),
])  # fmt: skip
def test_bad_objects_are_refused_by_field(box: Box, object: dict, said: str) -> None:
    manifest = {"apiVersion": "v1", "metadata": {"name": "bad"}} | object
    answer = box.kubectl("create", "-f", "-", stdin=json.dumps(manifest), check=False)
    assert said in answer, answer


def test_create_get_label_patch_delete(box: Box) -> None:
    box.kubectl("create", "secret", "generic", "s", "--from-literal=password=hunter2")
    assert box.kubectl("get", "secret", "s", "-o", "jsonpath={.data.password}") == "aHVudGVyMg=="
    box.kubectl("create", "configmap", "c", "--from-literal=k=v")
    box.kubectl("label", "cm", "c", "team=a")
    box.kubectl("annotate", "cm", "c", "note=b")
    assert "c" in box.kubectl("get", "cm", "-l", "team in (a,b)", "-o", "name")
    box.kubectl("patch", "cm", "c", "--type=merge", "-p", '{"data":{"k":null,"n":"1"}}')
    box.kubectl("patch", "cm", "c", "--type=json", "-p", '[{"op":"add","path":"/data/m","value":"2"}]')
    assert json.loads(box.kubectl("get", "cm", "c", "-o", "jsonpath={.data}")) == {"n": "1", "m": "2"}
    listing = box.kubectl("get", "cm", "--sort-by=.metadata.name")
    assert "NAME" in listing and "AGE" in listing
    assert "secret/s" in box.kubectl("get", "cm,secret")
    box.kubectl("create", "serviceaccount", "robot")
    assert box.kubectl("create", "token", "robot").startswith("kfbox_")
    box.kubectl("delete", "cm/c", "secret/s", "sa/robot")
    assert "NotFound" in box.kubectl("get", "cm", "c", check=False)


def test_who_am_i_and_what_may_i(box: Box) -> None:
    assert "admin" in box.kubectl("auth", "whoami")
    assert box.kubectl("auth", "can-i", "create", "pods").strip() == "yes"
    assert "tfjobs" in box.kubectl("api-resources", "--api-group=kubeflow.org")
    assert "customresourcedefinitions" in box.kubectl("api-resources")
    assert "tfjobs.kubeflow.org" in box.kubectl("get", "crd", "-o", "name")


def test_explain_knows_fields_of_core_and_training_kinds(box: Box) -> None:
    assert "Container image name" in box.kubectl("explain", "pod.spec.containers.image")
    assert "backoffLimit" in box.kubectl("explain", "tfjob.spec.runPolicy")


def test_a_deployment_scales_and_rolls_out(box: Box) -> None:
    box.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(DEPLOYMENT))
    box.kubectl("rollout", "status", "deploy/web", "--timeout=60s")
    box.kubectl("scale", "deploy/web", "--replicas=3")
    box.kubectl("wait", "--for=jsonpath={.status.readyReplicas}=3", "deploy/web", "--timeout=60s")
    before = set(box.kubectl("get", "pods", "-l", "app=web", "-o", "name").split())
    box.kubectl("rollout", "restart", "deploy/web")
    box.kubectl("rollout", "status", "deploy/web", "--timeout=90s")
    until("all are new", 60, lambda: not before & set(box.kubectl("get", "pods", "-l", "app=web", "-o", "name").split()))
    table = box.kubectl("get", "deploy", "web")
    assert "3/3" in table, table
    box.kubectl("delete", "deploy", "web")
    until("its pods are gone", 60, lambda: not box.kubectl("get", "pods", "-l", "app=web", "-o", "name"))


def test_describe_tells_what_happened(box: Box) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "told"}, "spec": {"restartPolicy": "Never", "containers": [
        {"name": "c", "image": "no-such-image.invalid/x:1"}]}}  # fmt: skip
    box.kubectl("apply", "-f", "-", stdin=json.dumps(pod))
    said = until("it says why", 60, lambda: (d := box.kubectl("describe", "pod", "told")) and "no-such-image" in d
                 and "Failed" in d and d)  # fmt: skip
    assert "Node:" in said
    box.kubectl("delete", "pod", "told")


def test_watch_tells_each_change(box: Box, tmp_path: pathlib.Path) -> None:
    with open(tmp_path / "seen", "w") as out:
        watching = subprocess.Popen([KUBECTL, "--kubeconfig", box.kubeconfig(), "get", "cm", "-w",
                                     "-l", "watched=yes"], stdout=out)  # fmt: skip
    seen = lambda: (tmp_path / "seen").read_text()  # noqa: E731
    try:
        time_limit = time.monotonic() + 20
        number = 0
        # The watch is open when a change shows.
        while "watched" not in seen() and time.monotonic() < time_limit:
            number += 1
            box.kubectl("create", "cm", f"watched-{number}", "--from-literal=a=b")
            box.kubectl("label", "cm", f"watched-{number}", "watched=yes")
        assert "watched" in seen()
        box.kubectl("delete", "cm", "-l", "watched=yes")
    finally:
        watching.kill()
        watching.wait()


def test_pods_find_each_other_by_name_within_their_namespace_only(box: Box) -> None:
    box.kubectl("create", "namespace", "other")
    server = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "server", "labels": {"app": "server"}},
              "spec": {"terminationGracePeriodSeconds": 0, "containers": [
                  {"name": "c", "image": "kfbox/python:3", "command": ["python", "-m", "http.server", "8000"]}]}}  # fmt: skip
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "files"},
               "spec": {"selector": {"app": "server"}, "ports": [{"name": "same", "port": 8000},
                                                                 {"name": "usual", "port": 80, "targetPort": 8000}]}}  # fmt: skip
    box.kubectl("apply", "-f", "-", stdin=json.dumps(server))
    box.kubectl("apply", "-f", "-", stdin=json.dumps(service))
    box.kubectl("wait", "--for=condition=Ready", "pod/server", "--timeout=60s")
    ip = box.kubectl("get", "pod", "server", "-o", "jsonpath={.status.podIP}")

    for namespace in ("kubeflow", "other"):
        box.kubectl("-n", namespace, "run", "asker", "--image=kfbox/base:1", "--command", "--", "sleep", "600")
        box.kubectl("-n", namespace, "wait", "--for=condition=Ready", "pod/asker", "--timeout=60s")

    def ask(namespace: str, host: str, port: int = 8000) -> str:
        script = f"curl -s -m 5 -o /dev/null -w '%{{http_code}}' http://{host}:{port}/"
        return box.kubectl("-n", namespace, "exec", "asker", "--", "sh", "-c", script, check=False)

    for name in ("server", "files", "files.kubeflow", "files.kubeflow.svc", "files.kubeflow.svc.cluster.local"):
        assert "200" in ask("kubeflow", name), name
    until("the Service's own port leads to the Pods'", 20, lambda: "200" in ask("kubeflow", "files", 80))
    assert "200" in ask("kubeflow", "server", 80), "the Pod answers there"
    api = "/api/v1/namespaces/kubeflow"
    for at in ("services/files:80", "services/http:files:usual", "pods/server:8000"):
        assert "Directory listing" in box.kubectl("get", "--raw", f"{api}/{at}/proxy/"), at
    assert "no service port" in box.kubectl("get", "--raw", f"{api}/services/files:81/proxy/", check=False)
    for name in ("files.kubeflow.svc.cluster.local", ip):
        assert "200" not in ask("other", name), name
    box.kubectl("delete", "pod/server", "svc/files", "pod/asker")
    box.kubectl("delete", "namespace", "other", "--timeout=60s")
    networks = docker("network", "ls", "--format", "{{.Name}}", "--filter", f"label=kfbox.dev/box={box.id}").split()
    assert f"kfbox-{box.id}-other" not in networks


def test_a_pod_has_what_it_asks_for(box: Box) -> None:
    """Init container, sidecar, Secret and ConfigMap as files and variables, memory and disk folders, host name, user."""
    box.kubectl("create", "secret", "generic", "keys", "--from-literal=token=t0p")
    box.kubectl("create", "configmap", "settings", "--from-literal=mode=fast", "--from-literal=level=3")
    check = (
        "set -e; test \"$(cat /init/done)\" = yes; test \"$(cat /keys/token)\" = t0p; test \"$MODE\" = fast; "
        "test \"$S_level\" = 3; test \"$GREETING\" = 'hello fast'; test \"$(hostname)\" = box-host; test \"$(id -u)\" = 1000; "
        "grep -q ' /fast tmpfs' /proc/mounts; echo x >/shared/x; test \"$POD_IP\"; echo all is there"
    )
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "rich"}, "spec": {
        "restartPolicy": "Never", "hostname": "box-host", "terminationGracePeriodSeconds": 0,
        "securityContext": {"runAsUser": 1000, "fsGroup": 1000},
        "initContainers": [{"name": "first", "image": "kfbox/base:1", "command": ["sh", "-c", "echo yes >/init/done"],
                            "volumeMounts": [{"name": "init", "mountPath": "/init"}]}],
        "containers": [{
            "name": "main", "image": "kfbox/base:1", "command": ["sh", "-c", check],
            "env": [{"name": "MODE", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "mode"}}},
                    {"name": "GREETING", "value": "hello $(MODE)"},
                    {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
            "envFrom": [{"prefix": "S_", "configMapRef": {"name": "settings"}}],
            "volumeMounts": [{"name": "init", "mountPath": "/init"}, {"name": "keys", "mountPath": "/keys"},
                             {"name": "fast", "mountPath": "/fast"}, {"name": "shared", "mountPath": "/shared"}]}],
        "volumes": [{"name": "init", "emptyDir": {}}, {"name": "keys", "secret": {"secretName": "keys"}},
                    {"name": "fast", "emptyDir": {"medium": "Memory", "sizeLimit": "16Mi"}}, {"name": "shared", "emptyDir": {}}],
    }}  # fmt: skip
    box.kubectl("apply", "-f", "-", stdin=json.dumps(pod))
    phase = until("it ended", 60, lambda: (p := box.kubectl("get", "pod", "rich", "-o", "jsonpath={.status.phase}"))
                  in ("Succeeded", "Failed") and p)  # fmt: skip
    assert phase == "Succeeded", box.kubectl("describe", "pod", "rich") + box.kubectl("logs", "rich", check=False)
    assert "all is there" in box.kubectl("logs", "rich")
    box.kubectl("delete", "pod/rich", "secret/keys", "cm/settings")


def test_a_job_runs_its_completions(box: Box) -> None:
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "count"}, "spec": {
        "completions": 3, "parallelism": 2, "completionMode": "Indexed", "template": {"spec": {"restartPolicy": "Never", "containers": [
            {"name": "c", "image": "kfbox/base:1", "command": ["sh", "-c", "echo index $JOB_COMPLETION_INDEX"]}]}}}}  # fmt: skip
    box.kubectl("apply", "-f", "-", stdin=json.dumps(job))
    box.kubectl("wait", "--for=condition=complete", "job/count", "--timeout=90s")
    said = "".join(box.kubectl("logs", name) for name in box.kubectl("get", "pods", "-l", "job-name=count", "-o", "name").split())
    assert sorted(said.split("\n")[:-1]) == ["index 0", "index 1", "index 2"]
    box.kubectl("delete", "job", "count")


def test_a_claim_goes_with_its_bytes_and_not_under_a_pod(box: Box) -> None:
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"},
             "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}  # fmt: skip
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "user"}, "spec": {"terminationGracePeriodSeconds": 0,
           "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}],
           "containers": [{"name": "c", "image": "kfbox/base:1", "command": ["sh", "-c", "echo kept >/v/file; sleep 600"],
                           "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]}}  # fmt: skip
    box.kubectl("apply", "-f", "-", stdin=json.dumps(claim))
    box.kubectl("apply", "-f", "-", stdin=json.dumps(pod))
    box.kubectl("wait", "--for=condition=Ready", "pod/user", "--timeout=60s")
    assert "Bound" in box.kubectl("get", "pvc", "data")
    (folder,) = (box.data / "volumes/kubeflow").iterdir()
    until("it wrote", 20, lambda: (folder / "file").exists())
    box.kubectl("delete", "pvc", "data", "--wait=false")
    assert "deletionTimestamp" in box.kubectl("get", "pvc", "data", "-o", "yaml")
    box.kubectl("delete", "pod", "user")
    until("the bytes are gone", 30, lambda: not folder.exists())


@pytest.fixture(scope="module")
def api(box: Box) -> kube.ApiClient:
    return kube_config.new_client_from_config(str(box.kubeconfig()))


def test_the_python_client(api: kube.ApiClient) -> None:
    core = kube.CoreV1Api(api)
    seen: list[str] = []
    ready = threading.Event()

    def follow() -> None:
        for event in watch.Watch().stream(core.list_namespaced_config_map, "kubeflow", label_selector="by=python", timeout_seconds=20):
            seen.append(event["type"])
            ready.set()
            if event["type"] == "DELETED":
                return

    follower = threading.Thread(target=follow)
    follower.start()
    made = core.create_namespaced_config_map("kubeflow", {"metadata": {"generateName": "py-", "labels": {"by": "python"}}, "data": {"a": "1"}})
    assert ready.wait(15)
    name = made.metadata.name
    core.patch_namespaced_config_map(name, "kubeflow", {"data": {"b": "2"}})
    stale = made
    stale.data = {"a": "0"}
    with pytest.raises(kube.ApiException) as refused:
        core.replace_namespaced_config_map(name, "kubeflow", stale)
    assert refused.value.status == 409
    core.delete_namespaced_config_map(name, "kubeflow")
    follower.join(20)
    assert seen == ["ADDED", "MODIFIED", "DELETED"]


def test_the_dynamic_client_applies(api: kube.ApiClient) -> None:
    resource = dynamic.DynamicClient(api).resources.get(api_version="v1", kind="ConfigMap")
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "dyn", "namespace": "kubeflow"}, "data": {"a": "1"}}
    resource.server_side_apply(body=body, field_manager="test")
    assert resource.get(name="dyn", namespace="kubeflow").data.a == "1"
    resource.delete(name="dyn", namespace="kubeflow")


def test_kfp_through_a_kubeconfig(box: Box) -> None:
    """`kfp.Client()` without a host goes through the service proxy of the kubeconfig's server."""
    base = json.loads((box.data / "endpoints.json").read_text())["kube"]
    answer = subprocess.run(
        ["curl", "-s", "--cacert", box.data / "ca.crt", "-H", f"Authorization: Bearer {box.token}",
         f"{base}/api/v1/namespaces/kubeflow/services/ml-pipeline:http/proxy//apis/v2beta1/runs"],
        capture_output=True, text=True, check=True)  # fmt: skip
    assert "runs" in json.loads(answer.stdout) or json.loads(answer.stdout) == {}, answer.stdout
