"""What reaches into a Pod: exec, attach, cp, port-forward and logs, by the real kubectl and the Python client."""

import concurrent.futures
import hashlib
import os
import pathlib
import re
import socket
import subprocess
import urllib.request
from typing import Iterator

import pytest
import yaml
from kubernetes import client as kube
from kubernetes import config as kube_config
from kubernetes.stream import portforward, stream

from box import KUBECTL, Box, until

SERVER = (
    "import http.server,os\n"
    "os.makedirs('/srv', exist_ok=True)\n"
    "open('/srv/big','wb').write(os.urandom(20 << 20))\n"
    "os.chdir('/srv')\n"
    "print('serving', flush=True)\n"
    "http.server.ThreadingHTTPServer(('', 8000), http.server.SimpleHTTPRequestHandler).serve_forever()\n"
)


@pytest.fixture(scope="module")
def pod(box: Box) -> Iterator[str]:
    """A Pod of two containers: one serves files, one echoes its input."""
    spec = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "live", "namespace": "kubeflow"}, "spec": {
        "terminationGracePeriodSeconds": 0,
        "containers": [
            {"name": "main", "image": "kfbox/python:3", "command": ["python", "-c", SERVER]},
            {"name": "echo", "image": "kfbox/base:1", "stdin": True, "command": ["sh", "-c", "while read l; do echo got $l; done; sleep 600"]},
        ]}}  # fmt: skip
    box.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(spec))
    box.kubectl("wait", "--for=condition=Ready", "pod/live", "--timeout=60s")
    until("it serves", 30, lambda: "serving" in box.kubectl("logs", "live", "-c", "main"))
    yield "live"
    box.kubectl("delete", "pod", "live")


def run(box: Box, *args: str, stdin: bytes = b"") -> subprocess.CompletedProcess:
    command = [KUBECTL, "--kubeconfig", box.kubeconfig(), *args]
    return subprocess.run(command, input=stdin, capture_output=True, timeout=120)


def test_exec_output_errors_and_exit_code(box: Box, pod: str) -> None:
    done = run(box, "exec", pod, "-c", "main", "--", "sh", "-c", "echo out; echo err >&2; exit 3")
    assert (done.returncode, done.stdout) == (3, b"out\n"), done
    assert b"err\n" in done.stderr
    assert run(box, "exec", pod, "--", "hostname").stdout == b"live\n"


def test_exec_takes_ten_megabytes_of_input_and_sees_its_end(box: Box, pod: str) -> None:
    data = os.urandom(10 << 20)
    done = run(box, "exec", "-i", pod, "--", "sha256sum", stdin=data)
    assert done.stdout.split()[0].decode() == hashlib.sha256(data).hexdigest(), done.stderr


def test_exec_on_a_terminal(box: Box, pod: str) -> None:
    # script gives kubectl a terminal of its own, with a size.
    shell = f"stty cols 91 rows 33; {KUBECTL} --kubeconfig {box.kubeconfig()} exec -it {pod} -c main -- sh -c 'tty; sleep 1; stty size'"
    done = subprocess.run(["script", "-qec", shell, "/dev/null"], capture_output=True, text=True, timeout=60)
    assert "/dev/pts/" in done.stdout and "33 91" in done.stdout, done.stdout


@pytest.mark.parametrize(("args", "said"), [
    (("exec", "live", "-c", "nobody", "--", "true"), "container nobody is not valid for pod live"),
    (("exec", "absent", "--", "true"), "not found"),
    (("exec", "live", "--", "no-such-program"), "no-such-program"),
])  # fmt: skip
def test_exec_says_what_is_wrong(box: Box, pod: str, args: tuple[str, ...], said: str) -> None:
    done = run(box, *args)
    # The engine tells of a missing program where its output would be.
    assert done.returncode != 0 and said in (done.stdout + done.stderr).decode(), done


def test_attach_joins_the_process(box: Box, pod: str) -> None:
    attached = subprocess.Popen([KUBECTL, "--kubeconfig", box.kubeconfig(), "attach", "-i", pod, "-c", "echo"],
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # fmt: skip
    assert attached.stdin and attached.stdout
    attached.stdin.write("hello\n")
    attached.stdin.flush()
    assert attached.stdout.readline() == "got hello\n"
    attached.kill()
    attached.wait()


def test_run_with_input_ends_with_it(box: Box) -> None:
    """`kubectl run -i` asks for stdinOnce: the process sees the end of its input when kubectl has sent all."""
    done = run(box, "run", "reader", "-i", "--rm", "--restart=Never", "--image=kfbox/base:1", "--command", "--",
               "sh", "-c", "sleep 2; wc -c", stdin=b"x" * 1000)  # fmt: skip
    assert done.returncode == 0 and b"1000" in done.stdout, done
    assert b"stdin" not in done.stderr, done


def test_cp_there_and_back(box: Box, pod: str, tmp_path: pathlib.Path) -> None:
    here, again = tmp_path / "data.bin", tmp_path / "again.bin"
    here.write_bytes(os.urandom(5 << 20))
    assert run(box, "cp", str(here), f"{pod}:/tmp/data.bin", "-c", "main").returncode == 0
    assert run(box, "cp", f"{pod}:/tmp/data.bin", str(again), "-c", "main").returncode == 0
    assert again.read_bytes() == here.read_bytes()


def test_port_forward_carries_many_connections(box: Box, pod: str) -> None:
    wanted = run(box, "exec", pod, "-c", "main", "--", "sha256sum", "/srv/big").stdout.split()[0].decode()
    forward = subprocess.Popen([KUBECTL, "--kubeconfig", box.kubeconfig(), "port-forward", f"pod/{pod}", ":8000"],
                               stdout=subprocess.PIPE, text=True)  # fmt: skip
    try:
        assert forward.stdout
        port = re.search(r"127\.0\.0\.1:(\d+)", forward.stdout.readline())
        assert port

        def fetch(_: int) -> str:
            with urllib.request.urlopen(f"http://127.0.0.1:{port[1]}/big", timeout=60) as answer:
                return hashlib.sha256(answer.read()).hexdigest()

        with concurrent.futures.ThreadPoolExecutor(5) as pool:
            assert set(pool.map(fetch, range(5))) == {wanted}
    finally:
        forward.kill()
        forward.wait()


def test_port_forward_to_a_port_where_nobody_listens(box: Box, pod: str) -> None:
    forward = subprocess.Popen([KUBECTL, "--kubeconfig", box.kubeconfig(), "port-forward", f"pod/{pod}", ":9"],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # fmt: skip
    try:
        assert forward.stdout and forward.stderr
        port = re.search(r"127\.0\.0\.1:(\d+)", forward.stdout.readline())
        assert port
        with socket.create_connection(("127.0.0.1", int(port[1])), timeout=20) as connection:
            assert connection.recv(10) == b""
        assert "port 9" in forward.stderr.readline()
    finally:
        forward.kill()
        forward.wait()


def test_the_python_client_execs_and_forwards(box: Box, pod: str) -> None:
    core = kube.CoreV1Api(kube_config.new_client_from_config(str(box.kubeconfig())))
    said = stream(core.connect_get_namespaced_pod_exec, pod, "kubeflow", container="main", command=["echo", "hi"],
                  stdout=True, stderr=True, stdin=False, tty=False)  # fmt: skip
    assert said == "hi\n"
    core = kube.CoreV1Api(kube_config.new_client_from_config(str(box.kubeconfig())))
    forward = portforward(core.connect_get_namespaced_pod_portforward, pod, "kubeflow", ports="8000")
    connection = forward.socket(8000)
    connection.setblocking(True)
    connection.sendall(b"HEAD /big HTTP/1.0\r\n\r\n")
    assert b"200" in connection.recv(100)
    connection.close()


def test_logs(box: Box) -> None:
    script = "for i in 1 2 3 4 5; do echo line $i; done; test -e /tmp/x; sleep 1; exit 1"
    spec = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "talker", "namespace": "kubeflow"}, "spec": {
        "terminationGracePeriodSeconds": 0,
        "containers": [{"name": "main", "image": "kfbox/base:1", "command": ["sh", "-c", script]}]}}  # fmt: skip
    box.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(spec))
    until("it was started again", 60, lambda: "1" in box.kubectl(
        "get", "pod", "talker", "-o", "jsonpath={.status.containerStatuses[0].restartCount}"))  # fmt: skip
    assert box.kubectl("logs", "talker", "--previous").splitlines() == [f"line {i}" for i in range(1, 6)]
    until("it talks again", 30, lambda: "line 5" in box.kubectl("logs", "talker", check=False))
    assert box.kubectl("logs", "talker", "--tail=2").splitlines() == ["line 4", "line 5"]
    assert len(box.kubectl("logs", "talker", "--limit-bytes=9")) == 9
    stamped = box.kubectl("logs", "talker", "--timestamps", "--tail=1")
    assert re.match(r"\d{4}-\d\d-\d\dT\S+Z line 5\n", stamped), stamped
    assert "line 5" in box.kubectl("logs", "talker", "-f", "--since=1h")
    box.kubectl("delete", "pod", "talker")


def test_a_scoped_token_reaches_into_its_own_namespace_only(box: Box, pod: str, tmp_path: pathlib.Path) -> None:
    view = tmp_path / "view"
    command = [os.fspath(p) for p in (box.binary, "kubeconfig", "--data-dir", box.data, "--file", view, "--role", "view")]
    subprocess.run(command, check=True, timeout=30)
    done = subprocess.run([KUBECTL, "--kubeconfig", view, "exec", pod, "--", "true"], capture_output=True, text=True)
    assert done.returncode != 0 and "forbidden" in done.stderr, done.stderr
    done = subprocess.run([KUBECTL, "--kubeconfig", view, "get", "pods"], capture_output=True, text=True)
    assert "live" in done.stdout, done.stderr
    done = subprocess.run([KUBECTL, "--kubeconfig", view, "get", "pods", "-n", "default"], capture_output=True, text=True)
    assert "forbidden" in done.stderr
