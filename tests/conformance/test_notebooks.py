"""Notebooks: Kubeflow's samples, a Jupyter client through the gateway, a kernel that is signed in to all of the box, and
what stops, starts, outlives and separates them. Needs kfbox/notebook:1 (images/build.sh notebook)."""

import contextlib
import json
from typing import Any, Callable, Iterator

import pytest
import requests
import yaml
from jupyter_kernel_client import JupyterKernelClient

from box import ROOT, Box, docker, until

NS = "kubeflow"
IMAGE = "kfbox/notebook:1"
SAMPLES = ROOT.parent / "shared/conformance/platform"
BASE = "/apis/kubeflow.org/v1/namespaces"


def state(box: Box, name: str, ns: str = NS) -> dict:
    return box.get(f"{BASE}/{ns}/notebooks/{name}").get("status", {})


def becomes(box: Box, name: str, phase: str, limit: float = 60, ns: str = NS) -> dict:
    last: dict = {}

    def is_it() -> dict | None:
        last.update(status := state(box, name, ns))
        return status if status.get("phase") == phase else None

    try:
        return until(f"{name} is {phase}", limit, is_it)
    except TimeoutError as e:
        raise TimeoutError(f"{e}: {last}") from None


def spec(name: str, image: str = IMAGE, memory: str = "1Gi", ns: str = NS, **more: Any) -> dict:
    """A Notebook with a home folder of its own, unless told otherwise."""
    room = {"cpu": "100m", "memory": memory}
    container = {"name": name, "image": image, "resources": {"requests": room, "limits": {"memory": memory}}}
    meta = {"name": name, "namespace": ns} | more.pop("metadata", {})
    pod = {"containers": [container | more.pop("container", {})]} | more
    return {"apiVersion": "kubeflow.org/v1", "kind": "Notebook", "metadata": meta, "spec": {"template": {"spec": pod}}}


@contextlib.contextmanager
def notebook(box: Box, manifest: dict, phase: str = "Running") -> Iterator[str]:
    name, ns = manifest["metadata"]["name"], manifest["metadata"]["namespace"]
    box.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
    try:
        becomes(box, name, phase, ns=ns)
        yield name
    finally:
        box.kubectl("delete", "notebook", name, "-n", ns, "--ignore-not-found")


def url(box: Box, name: str, ns: str = NS) -> str:
    return f"{box.url}/notebook/{ns}/{name}"


@contextlib.contextmanager
def kernel(box: Box, name: str, kernel_id: str | None = None, ns: str = NS, keep: bool = False) -> Iterator[Callable[[str], str]]:
    """A kernel of a notebook, by Datalayer's client as it is; runs code and answers what it printed."""
    client = JupyterKernelClient(server_url=url(box, name, ns), token=box.token, kernel_id=kernel_id)
    client.start(timeout=60)

    def run(code: str, timeout: float = 120) -> str:
        reply = client.execute(code, timeout=timeout)
        text = "".join(o.get("text", "") for o in reply["outputs"])
        errors = ["\n".join(o["traceback"]) for o in reply["outputs"] if o["output_type"] == "error"]
        assert reply["status"] == "ok", "\n".join(errors) or reply
        return text

    run.id = client.id
    try:
        yield run
    finally:
        client.stop(shutdown_kernel=not keep)


@pytest.fixture(scope="module")
def work(box: Box) -> Iterator[str]:
    """A notebook with a workspace, that most tests share."""
    made = box.cli("notebook", "create", "work", "--image", IMAGE, "--cpu", "100m", "--memory", "1500Mi")
    assert made.strip() == f"{url(box, 'work')}/"
    yield "work"
    box.cli("notebook", "delete", "work", "--volumes")


def test_upstreams_sample_as_it_is(box: Box) -> None:
    if not SAMPLES.is_dir():
        pytest.skip("upstream's samples are not on this machine")
    text = (SAMPLES / "_v1_notebook.yaml").read_text()
    name = next(yaml.safe_load_all(text))["metadata"]["name"]
    box.kubectl("apply", "-n", NS, "-f", "-", stdin=text)
    try:
        status = becomes(box, name, "Running")
        assert "running" in status["containerState"]
        assert {"type": "Ready", "status": "True"}.items() <= next(c for c in status["conditions"] if c["type"] == "Ready").items()
        # Upstream's own way to look at it: the StatefulSet, the Service, the Pod's name and labels.
        until("it counts as ready", 10, lambda: state(box, name)["readyReplicas"] == 1)
        box.kubectl("get", "statefulset", name, "-n", NS)
        assert box.kubectl("get", "service", name, "-n", NS, "-o", "jsonpath={.spec.ports[0].targetPort}") == "8888"
        assert box.kubectl("get", "pods", "-n", NS, "-l", f"notebook-name={name}", "-o", "name") == f"pod/{name}-0\n"
        for version in ["v1", "v1beta1", "v1alpha1"]:
            shown = yaml.safe_load(box.kubectl("get", f"notebooks.{version}.kubeflow.org", name, "-n", NS, "-o", "yaml"))
            assert shown["apiVersion"] == f"kubeflow.org/{version}"
        table = box.kubectl("get", "notebooks", "-n", NS)
        assert "Running" in table, table
    finally:
        box.kubectl("delete", "notebook", name, "-n", NS)
    until("its children are gone", 30, lambda: name not in box.kubectl("get", "sts,svc,pods", "-n", NS, "-o", "name"))


def test_a_jupyter_client_runs_cells_through_the_gateway(box: Box, work: str) -> None:
    with kernel(box, work) as run:
        assert run("print(6 * 7)") == "42\n"
        assert run("import os; print(os.getcwd(), os.getuid())") == "/home/jovyan 1000\n"
        run("x = 'kept'; open('note.txt', 'w').write('hello')")
        assert run("print(x, open('note.txt').read())") == "kept hello\n"
    api = f"{url(box, work)}/api"
    auth = {"Authorization": f"token {box.token}"}
    assert requests.get(f"{api}/status", headers=auth, timeout=10).json()["kernels"] == 0
    # A file of 40 MiB up and down again.
    content = "0123456789abcdef" * (40 << 16)
    made = requests.put(f"{api}/contents/big.txt", headers=auth, json={"type": "file", "format": "text", "content": content}, timeout=60)
    assert made.status_code == 201, made.text
    got = requests.get(f"{url(box, work)}/files/big.txt", headers=auth, timeout=60)
    assert got.text == content
    assert requests.get(f"{api}/status", timeout=10).status_code == 401
    assert requests.get(f"{api}/status", headers={"Authorization": "token nobodys"}, timeout=10).status_code == 401


def test_everything_is_signed_in(box: Box, work: str) -> None:
    """One cell for each client that people use, with no set-up."""
    with kernel(box, work) as run:
        run("import kfp; kfp.Client().list_experiments()")
        run("import os, mlflow; mlflow.set_experiment('from-a-notebook')\nwith mlflow.start_run():\n    mlflow.log_metric('accuracy', 0.9)")
        run(
            "import boto3; s3 = boto3.client('s3'); s3.create_bucket(Bucket='from-a-notebook')\n"
            "import pandas as pd; pd.DataFrame({'a': [1, 2]}).to_csv('s3://from-a-notebook/t.csv', index=False)"
        )
        assert run("print(pd.read_csv('s3://from-a-notebook/t.csv').a.sum())") == "3\n"
        run("from kubernetes import client as k8s, config; config.load_incluster_config()")
        assert run(f"print([p.metadata.name for p in k8s.CoreV1Api().list_namespaced_pod('{NS}').items if p.metadata.name == 'work-0'])") == "['work-0']\n"
        run("from kubeflow.trainer import TrainerClient; print([r.name for r in TrainerClient().list_runtimes()])")
        run(f"from kubeflow.training import TrainingClient; TrainingClient(namespace='{NS}').list_jobs()")
        run("from kubeflow.katib import KatibClient; KatibClient()")
        run("from kserve import KServeClient; KServeClient()")
        run("import subprocess")
        assert "work-0" in run("print(subprocess.run(['kubectl', 'get', 'pods'], check=True, capture_output=True, text=True).stdout)")


def test_a_run_is_started_from_a_cell(box: Box, work: str) -> None:
    with kernel(box, work) as run:
        run(
            "import kfp\nfrom kfp import dsl\n"
            "@dsl.component(base_image='python:3.11')\n"
            "def add(a: int, b: int) -> int:\n    return a + b\n"
            "@dsl.pipeline\ndef sums(a: int = 1) -> int:\n    return add(a=a, b=41).output\n"
        )
        # Code from a cell has no file that inspect could read, but IPython keeps it.
        run_id = run("made = kfp.Client().create_run_from_pipeline_func(sums, arguments={}); print(made.run_id)").split()[-1]
    until("the run ends", 60, lambda: box.state(run_id) == "SUCCEEDED")


def test_kernels_outlive_the_daemon(box: Box) -> None:
    """Killed and started anew, at another address even: the kernel goes on, with what it holds."""
    own = Box()
    try:
        own.kubectl("apply", "-f", "-", stdin=json.dumps(spec("lives")))
        becomes(own, "lives", "Running")
        with kernel(own, "lives", keep=True) as run:
            run("x = 'still here'; import os; pid = os.getpid()")
            kernel_id, pid = run.id, run("print(pid)")
        own.kill9()
        own.up()
        with kernel(own, "lives", kernel_id) as run:
            assert run("print(x); print(pid)") == f"still here\n{pid}"
    finally:
        own.close()


def test_stopped_and_started_the_files_are_there(box: Box, work: str) -> None:
    with kernel(box, work) as run:
        run("open('kept.txt', 'w').write('kept')")
    box.cli("notebook", "stop", work)
    becomes(box, work, "Stopped")
    assert not box.get(f"/api/v1/namespaces/{NS}/pods?labelSelector=notebook-name={work}")["items"]
    answer = box.call("GET", f"/notebook/{NS}/{work}/api")
    assert answer.status_code == 503 and "stopped" in answer.json()["message"]
    assert "Stopped" in box.cli("notebook", "list")
    box.cli("notebook", "start", work)
    becomes(box, work, "Running")
    with kernel(box, work) as run:
        assert run("print(open('kept.txt').read())") == "kept\n"


def test_the_idle_are_stopped_and_wake_on_a_visit(box: Box) -> None:
    idle = {"annotations": {"kfbox.dev/idle-timeout": "4s"}}
    with notebook(box, spec("idle", metadata=idle)) as name:
        # Not while a kernel works, however long.
        with kernel(box, name) as run:
            run("import time; time.sleep(8)")
            assert state(box, name)["phase"] == "Running"
            assert run("print('alive')") == "alive\n"
        status = becomes(box, name, "Stopped", 60)
        assert "4s" in status["message"]
        meta = box.get(f"{BASE}/{NS}/notebooks/{name}")["metadata"]["annotations"]
        assert "kubeflow-resource-stopped" in meta and "notebooks.kubeflow.org/last-activity" in meta
        browser = Browser(box)
        page = browser.open(f"/notebook/{NS}/{name}/lab")
        assert "starting" in page.text, page.text
        becomes(box, name, "Running")
        until("the page is JupyterLab's", 20, lambda: "JupyterLab" in browser.again(page).text)


class Browser:
    """Follows redirects between origins as a browser does, and keeps cookies for each."""

    def __init__(self, box: Box) -> None:
        self.box, self.jars = box, {}
        self.port = box.url.rsplit(":", 1)[1]
        secret = box.cli("token", "login").split("#token=")[1].split()[0]
        answer = self.ask("POST", f"127.0.0.1:{self.port}", "/auth/login", json={"token": secret})
        assert answer.ok, answer.text

    def ask(self, method: str, host: str, path: str, **how: Any) -> requests.Response:
        jar = self.jars.setdefault(host, {})
        headers = {"Host": host, "Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "none"}
        if jar:
            headers["Cookie"] = "; ".join(f"{k}={v}" for k, v in jar.items())
        answer = requests.request(method, f"http://127.0.0.1:{self.port}{path}", headers=headers, allow_redirects=False, timeout=30, **how)
        jar.update(answer.cookies.get_dict())
        answer.host, answer.path = host, path
        return answer

    def open(self, path: str) -> requests.Response:
        answer = self.ask("GET", f"127.0.0.1:{self.port}", path)
        for _ in range(8):
            if answer.status_code not in (301, 302, 303, 307, 308):
                return answer
            to = answer.headers["Location"]
            host, path = to.split("://", 1)[1].split("/", 1) if "://" in to else (answer.host, to[1:])
            answer = self.ask("GET", host, f"/{path}")
        raise AssertionError(f"redirected for ever: {answer.headers['Location']}")

    def again(self, answer: requests.Response) -> requests.Response:
        return self.ask("GET", answer.host, answer.path)


def test_a_browser_session_outlives_the_daemon() -> None:
    own = Box()
    try:
        own.kubectl("apply", "-f", "-", stdin=json.dumps(spec("lives")))
        becomes(own, "lives", "Running")
        browser = Browser(own)
        page = until("JupyterLab is shown", 20, lambda: (p := browser.open(f"/notebook/{NS}/lives/lab")) and "JupyterLab" in p.text and p)
        assert page.host.startswith("nb-")
        own.kill9()
        own.up()
        # Each start of a test's box has another port, which a box that people use has not.
        browser.port, old = own.url.rsplit(":", 1)[1], browser.port
        host = page.host.replace(old, browser.port)
        browser.jars[host] = browser.jars[page.host]
        assert "JupyterLab" in browser.ask("GET", host, page.path).text
    finally:
        own.close()


def test_presets_are_put_in_and_contradictions_named(box: Box) -> None:
    preset = {
        "apiVersion": "kubeflow.org/v1alpha1",
        "kind": "PodDefault",
        "metadata": {"name": "proxy", "namespace": NS},
        "spec": {
            "desc": "the lab's proxy",
            "selector": {"matchLabels": {"use-proxy": "true"}},
            "env": [{"name": "LAB_PROXY", "value": "http://proxy.lab"}],
            "volumes": [{"name": "scratch", "emptyDir": {}}],
            "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}],
        },
    }
    box.kubectl("apply", "-f", "-", stdin=json.dumps(preset))
    made = box.cli("notebook", "create", "preset", "--image", IMAGE, "--cpu", "100m", "--workspace", "none", "--preset", "proxy")
    assert made.strip().endswith("/preset/")
    shown = box.kubectl("exec", "preset-0", "-n", NS, "--", "sh", "-c", "echo $LAB_PROXY; touch /scratch/x && echo ok")
    assert shown == "http://proxy.lab\nok\n"
    box.cli("notebook", "delete", "preset")
    other = spec("other", metadata={"labels": {"use-proxy": "true"}}, container={"env": [{"name": "LAB_PROXY", "value": "none"}]})
    with notebook(box, other, "Waiting"):
        said = until("it says why", 20, lambda: state(box, "other").get("message"))
        assert "PodDefault \"proxy\"" in said and "LAB_PROXY" in said
    box.kubectl("delete", "poddefault", "proxy", "-n", NS)


def test_what_stands_in_the_way_is_said(box: Box) -> None:
    with notebook(box, spec("absent", image="kfbox/nobody-has-this:1"), "Failed"):
        assert "kfbox/nobody-has-this:1" in state(box, "absent")["message"]
    big = spec("big", memory="900Gi")
    with notebook(box, big, "Waiting"):
        assert "921600 MiB" in until("it says why", 20, lambda: state(box, "big").get("message"))
    refused = box.kubectl("apply", "-f", "-", stdin=json.dumps(spec("a" * 60)), check=False)
    assert "52 characters" in refused
    refused = box.kubectl("apply", "-f", "-", stdin=json.dumps(spec("x", metadata={"annotations": {"kfbox.dev/idle-timeout": "soon"}})), check=False)
    assert "idle-timeout" in refused
    refused = box.cli("notebook", "create", "y", "--volume", "nonsense", check=False)
    assert "--volume" in refused
    # A notebook that is refused leaves no volume behind.
    refused = box.cli("notebook", "create", "A_B", "--image", IMAGE, check=False)
    assert "metadata.name" in refused
    assert "A_B" not in box.kubectl("get", "pvc", "-n", NS)


def test_memory_is_bounded_and_the_end_is_named(box: Box) -> None:
    greedy = ["python", "-c", "import time; time.sleep(1); x = bytearray(400 << 20); time.sleep(60)"]
    with notebook(box, spec("greedy", memory="100Mi", container={"command": greedy}), "Failed"):
        message = state(box, "greedy")["message"]
        assert "memory limit of 100 MiB" in message, message


def test_a_kernel_that_takes_too_much_memory_is_named(box: Box, work: str) -> None:
    """The server goes on; who worked in the kernel sees why it is gone."""
    api, auth = f"{url(box, work)}/api", {"Authorization": f"Bearer {box.token}"}
    made = requests.post(f"{api}/kernels", headers=auth, json={"name": "python3"}, timeout=60).json()
    client = JupyterKernelClient(server_url=url(box, work), token=box.token, kernel_id=made["id"])
    client.start(timeout=60)
    try:
        client._manager.client.execute("x = bytearray(4 << 30)\nx[::4096] = b'1' * len(x[::4096])")
        said = until("the status says so", 60, lambda: state(box, work).get("message"))
        assert "memory limit" in said and state(box, work)["phase"] == "Running", said
    finally:
        client.stop(shutdown_kernel=True)
    events = box.kubectl("get", "events", "-n", NS)
    assert "OOMKilled" in events


def test_a_neighbours_notebook_is_out_of_reach(box: Box, work: str) -> None:
    """Neither over the network, nor by its volumes, nor with the token of its neighbour."""
    box.kubectl("create", "namespace", "neighbour")
    try:
        claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "theirs", "namespace": "neighbour"}}
        claim |= {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}
        box.kubectl("apply", "-f", "-", stdin=json.dumps(claim))
        with notebook(box, spec("next", ns="neighbour")):
            ip = box.get("/api/v1/namespaces/neighbour/pods/next-0")["status"]["podIP"]
            name = "next.neighbour.svc.cluster.local"
            mine = box.get(f"/api/v1/namespaces/{NS}/pods/work-0")["status"]["podIP"]
            with kernel(box, work) as run:
                look = "import socket\ndef look(host, port=8888):\n    try:\n        socket.create_connection((host, port), 3).close()\n        return 'open'\n    except OSError as e:\n        return 'closed'\n"
                run(look)
                assert run(f"print(look('{mine}'))") == "open\n"
                assert run(f"print(look('{ip}'), look('{name}', 80))") == "closed closed\n"
                token = run("print(open('/var/run/secrets/kubernetes.io/serviceaccount/token').read())").strip()
            answer = box.call("GET", "/notebook/neighbour/next/api", headers={"Authorization": f"Bearer {token}"})
            assert answer.status_code == 403
            answer = box.call("GET", f"/notebook/{NS}/{work}/api", headers={"Authorization": f"Bearer {token}"})
            assert answer.status_code == 200
        stolen = spec("thief", volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "theirs"}}], container={"volumeMounts": [{"name": "v", "mountPath": "/v"}]})
        with notebook(box, stolen, "Waiting"):
            assert "theirs" in until("it says why", 20, lambda: state(box, "thief").get("message"))
    finally:
        box.kubectl("delete", "namespace", "neighbour")


def test_what_is_there_and_what_is_free(box: Box, work: str) -> None:
    room = box.get("/apis/kfbox.dev/v1alpha1/room")
    assert 0 <= room["cpu"]["free"] < room["cpu"]["total"]
    assert 0 < room["memory"]["free"] <= room["memory"]["total"] - (1500 << 20)
    images = box.get("/apis/kfbox.dev/v1alpha1/images")["items"]
    ready = next(i for i in images if i["name"] == IMAGE)
    assert ready["use"] == "notebook" and ready["title"] and ready["size"] > 1 << 20
