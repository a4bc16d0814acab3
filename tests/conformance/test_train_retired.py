"""MXJob, ChainerJob and Caffe2Job: the kinds whose upstream operators are retired, end to end.

MXNet, Chainer and Caffe2 have no release that runs on a Python of today. Small programs stand in: each asserts the
environment that upstream's operator set and meets the others as the framework would have.
"""

import json
from typing import Iterator

import pytest

from box import Box
from test_train import PROGRAMS, Lab, claim, job, replicas

PYTHON = "kfbox/python:3"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    box = Box()
    yield Lab(box)
    box.close()


def program(text: str) -> list[str]:
    return ["python3", "-c", text]


def finish(lab: Lab, manifest: dict) -> dict[str, str]:
    """Runs a job to its success; answers what each of its Pods printed."""
    made = lab.apply(manifest)
    try:
        lab.wait(made, limit=60)
    except TimeoutError as late:
        raise TimeoutError(f"{late}\n{lab.story(made)}") from late
    # The clean-up policy may take a worker away at any moment.
    printed = {pod: lab.kubectl("-n", "kubeflow", "logs", pod, check=False) for pod in lab.pods(made)}
    lab.delete(made)
    return printed


MXNET = """
import json, os, socket, time
env = os.environ
config = json.loads(env["MX_CONFIG"])
role, index = config["task"]["type"], config["task"]["index"]
at = lambda name, count: [{"url": f"mx-{name}-{i}", "port": 9091} for i in range(count)]
assert config["cluster"] == {"scheduler": at("scheduler", 1), "server": at("server", 1), "worker": at("worker", 2)}, config
assert config["labels"] == {"scheduler": "", "server": "2d", "worker": ""}, config
assert env["DMLC_ROLE"] == role and env["DMLC_USE_KUBERNETES"] == "1"
assert env.get("DMLC_WORKER_ID") == (str(index) if role == "worker" else None)
root = env["DMLC_PS_ROOT_URI"], int(env["DMLC_PS_ROOT_PORT"])
assert root == ("mx-scheduler-0", 9091)
nodes = int(env["DMLC_NUM_SERVER"]) + int(env["DMLC_NUM_WORKER"])
if role == "scheduler":
    # As ps-lite: all tell who they are, and are told when all are there.
    calls = socket.create_server(("", root[1]))
    met = [calls.accept()[0] for _ in range(nodes)]
    print("met", sorted(call.recv(99).decode() for call in met), flush=True)
    [call.sendall(b"go") for call in met]
else:
    end = time.time() + 30
    while True:
        try:
            call = socket.create_connection(root, 5)
            break
        except OSError:
            assert time.time() < end
            time.sleep(0.1)
    call.sendall(f"{role}-{index}".encode())
    assert call.recv(2) == b"go"
"""


def test_mxjob_meets_at_its_scheduler(lab: Lab) -> None:
    roles = {role: replicas(count, "mxnet", PYTHON, program(MXNET)) for role, count in
             {"Scheduler": 1, "Server": 1, "Worker": 2}.items()}  # fmt: skip
    roles["Server"]["template"]["metadata"] = {"annotations": {"tuner-server-key": "2d"}}
    # All containers are told, as upstream.
    sidecar = {"name": "watcher", "image": PYTHON, "command": program("import os; assert os.environ['MX_CONFIG']")}
    roles["Worker"]["template"]["spec"]["containers"].append(sidecar)
    printed = finish(lab, job("MXJob", "mx", "mxReplicaSpecs", **roles))
    assert "met ['server-0', 'worker-0', 'worker-1']" in printed["mx-scheduler-0"], printed


CAFFE2 = """
import json, os, pathlib, time
env = os.environ
config, shard, shards = json.loads(env["CAFFE2_CONFIG"]), int(env["SHARD_ID"]), int(env["NUM_SHARDS"])
assert config["cluster"] == {"worker": [f"shards-worker-{i}:2222" for i in range(3)]}, config
assert config["task"] == {"type": "worker", "index": shard} and shards == 3
# As the store handler of Caffe2's data-parallel models: a folder per run in which the shards meet.
folder = pathlib.Path("/v", env["RUN_ID"])
folder.mkdir(exist_ok=True)
(folder / str(shard)).write_text("here")
end = time.time() + 30
while len(list(folder.iterdir())) < shards:
    assert time.time() < end
    time.sleep(0.1)
print("met", sorted(path.name for path in folder.iterdir()))
"""


def test_caffe2job_shards_meet_in_a_folder(lab: Lab) -> None:
    lab.apply(claim("shards"))
    worker = replicas(3, "caffe2", PYTHON, program(CAFFE2), volumeMounts=[{"name": "v", "mountPath": "/v"}])
    worker["template"]["spec"]["volumes"] = [{"name": "v", "persistentVolumeClaim": {"claimName": "shards"}}]
    printed = finish(lab, job("Caffe2Job", "shards", "caffe2ReplicaSpecs", Worker=worker))
    assert len(printed) == 3 and all("met ['0', '1', '2']" in log for log in printed.values()), printed


CHAINER = """
import os
env = os.environ
hosts = open(env["OMPI_MCA_orte_default_hostfile"]).read().split("\\n")[:3]
assert hosts == ["mn-master-0 slots=1", "mn-worker-0 slots=1", "mn-worker-1 slots=1"], hosts
assert os.access(env["OMPI_MCA_plm_rsh_agent"], os.X_OK)
assert env["OMPI_MCA_orte_keep_fqdn_hostnames"] == "t" and env["OMPI_MCA_btl_tcp_if_exclude"] == "lo,docker0"
"""


def test_chainerjob_trains_over_mpi_with_its_master(lab: Lab) -> None:
    """As upstream's sample: three processes on a master and two workers, started from the master."""
    train = json.dumps((PROGRAMS / "torch/mpi_digits.py").read_text())
    start = f"{CHAINER}\nos.execvp('mpiexec', ['mpiexec', '-n', '3', '-N', '1', '--allow-run-as-root', 'python3', '-c', {train}])"
    master = replicas(1, "chainer", "kfbox/torch:1", program(start))
    worker = replicas(2, "chainer", "kfbox/torch:1", ["sh", "-c", "while true; do sleep 1 & wait; done"])
    made = job("ChainerJob", "mn", "chainerReplicaSpecs", {"cleanPodPolicy": "Running"}, Master=master, Worker=worker)
    printed = "".join(finish(lab, made).values())
    for rank, host in enumerate(("mn-master-0", "mn-worker-0", "mn-worker-1")):
        assert f"rank {rank} of 3 on {host}: accuracy=0.9" in printed, printed
