"""TrainJobs end to end, on each runtime that the box ships: real containers, real ssh, a model trained to an accuracy.

The programs are those of the `kubeflow.org/v1` jobs (`train`), handed over on the command line as the SDK hands over a
function. Upstream's initializer image cannot be had without a registry, nor can `hf://` or `s3://` be reached: here the
runtime's initializer is a local image whose container writes to the shared volume what the nodes read.

DeepSpeed has no wheel that runs on a CPU without a compiler, so its runtime's own path (sshd as another user than root,
keys in its home, a launcher that waits for its nodes) is run by a plain MPI program.
"""

import json
import pathlib
import re
import subprocess
from typing import Any, Iterator

import pytest

from box import Box, until
from test_train import Lab

PROGRAMS = pathlib.Path(__file__).parent / "train"
# The initializers of upstream's runtimes, and the image of its deepspeed runtime.
RULES = {"*/dataset-initializer": "kfbox/science:1", "*/model-initializer": "kfbox/science:1",
         "*/deepspeed-runtime": "kfbox-test/deepspeed:1"}  # fmt: skip
CONFIG = "".join(f'[[image_rules]]\npattern = "{pattern}"\nimage = "{image}"\n' for pattern, image in RULES.items())


class Trainings(Lab):
    """A box on which TrainJobs run."""

    def pods(self, job: str, namespace: str = "kubeflow") -> dict[str, dict]:
        label = f"jobset.sigs.k8s.io/jobset-name={job.rsplit('/', 1)[-1]}"
        found = self.kubectl("-n", namespace, "get", "pods", "-l", label, "-o", "json")
        return {pod["metadata"]["name"]: pod for pod in json.loads(found)["items"]}

    def logs(self, job: str) -> str:
        # The nodes of an MPI training are taken away when its launcher has ended.
        return "".join(self.kubectl("-n", "kubeflow", "logs", pod, check=False) for pod in self.pods(job))

    def run(self, made: dict, condition: str = "Complete", limit: int = 120) -> str:
        """Applies a TrainJob and waits for its end; answers what its Pods printed."""
        what = self.apply(made)
        try:
            self.wait(what, condition, limit)
        except TimeoutError as late:
            raise TimeoutError(f"{late}\n{self.story(what)}") from late
        printed = self.logs(what)
        self.delete(what)
        until("its pods are gone", 60, lambda: not self.pods(what))
        return printed


@pytest.fixture(scope="module")
def lab() -> Iterator[Trainings]:
    # Cached by the engine when nothing changed.
    subprocess.run(["docker", "build", "--quiet", "--network", "host", "--tag", RULES["*/deepspeed-runtime"],
                    PROGRAMS / "deepspeed"], check=True, capture_output=True)  # fmt: skip
    box = Box(config=CONFIG)
    yield Trainings(box)
    box.close()


def program(*path: str) -> list[str]:
    return ["python3", "-c", PROGRAMS.joinpath(*path).read_text()]


def trainjob(name: str, runtime: str, kind: str = "ClusterTrainingRuntime", **spec: Any) -> dict:
    spec = {"runtimeRef": {"name": runtime, "kind": kind}} | spec
    return {"apiVersion": "trainer.kubeflow.org/v1alpha1", "kind": "TrainJob",
            "metadata": {"name": name, "namespace": "kubeflow"}, "spec": spec}  # fmt: skip


def reached(printed: str) -> list[float]:
    return [float(found) for found in re.findall(r"accuracy=([0-9.]+)", printed)]


@pytest.mark.parametrize(("runtime", "path", "who"), [
    ("jax-distributed", ("science", "train.py"), "process {} of 2"),
    ("xgboost-distributed", ("science", "xgboost_iris.py"), "rank {} of 2"),
])  # fmt: skip
def test_two_nodes_train_to_an_accuracy(lab: Trainings, runtime: str, path: tuple[str, str], who: str) -> None:
    """The runtimes as the box ships them: upstream's image names lead to local images."""
    printed = lab.run(trainjob(runtime.split("-")[0], runtime, trainer={"numNodes": 2, "command": program(*path)}))
    assert all(who.format(rank) in printed for rank in (0, 1)), printed
    assert len(reached(printed)) == 2 and min(reached(printed)) >= 0.9, printed


def test_mpi_reaches_its_nodes_by_ssh(lab: Trainings) -> None:
    command = ["mpirun", *program("torch", "mpi_digits.py")]
    printed = lab.run(trainjob("mpi", "mpi-distributed", trainer={"numNodes": 2, "command": command}))
    ranks = dict(re.findall(r"rank (\d) of 2 on (\S+):", printed))
    assert ranks["0"].startswith("mpi-launcher-0-0") and ranks["1"].startswith("mpi-node-0-0"), printed
    assert min(reached(printed)) >= 0.93, printed


def test_deepspeeds_runtime_as_upstream_ships_it(lab: Trainings) -> None:
    """Its sshd runs as user 1000 on a port of its own and reads keys that the group of the Pod may read."""
    command = ["mpirun", *program("torch", "mpi_digits.py")]
    printed = lab.run(trainjob("deep", "deepspeed-distributed", trainer={"numNodes": 2, "command": command}))
    assert len(reached(printed)) == 2 and min(reached(printed)) >= 0.93, printed


FETCH_DATA = """
import os, numpy
from sklearn.datasets import load_digits
assert os.environ["STORAGE_URI"] == "sklearn://digits" and os.environ["TOKEN"] == "sesame", os.environ
images, labels = load_digits(return_X_y=True)
os.makedirs("/workspace/dataset")
numpy.savez("/workspace/dataset/digits.npz", images=images, labels=labels)
"""
FETCH_MODEL = """
import os, numpy
assert os.environ["STORAGE_URI"] == "zeros://64x10", os.environ
os.makedirs("/workspace/model")
numpy.save("/workspace/model/weights.npy", numpy.zeros((64, 10)))
"""
FINE_TUNE = """
import os, numpy
found = numpy.load("/workspace/dataset/digits.npz")
x, wanted, weights = found["images"] / 16, numpy.eye(10)[found["labels"]], numpy.load("/workspace/model/weights.npy")
for step in range(200):
    scores = numpy.exp(x @ weights)
    weights -= 2 * x.T @ (scores / scores.sum(1, keepdims=True) - wanted) / len(x)
accuracy = ((x @ weights).argmax(1) == found["labels"]).mean()
print(f"node {os.environ['JOB_COMPLETION_INDEX']}: accuracy={accuracy:.4f}")
"""


def initializer(what: str, script: str) -> dict:
    """A replicated job as upstream's fine-tuning runtimes have it, but for its command."""
    container = {"name": f"{what}-initializer", "image": f"ghcr.io/kubeflow/trainer/{what}-initializer",
                 "command": ["python3", "-c", script], "volumeMounts": [{"name": "initializer", "mountPath": "/workspace"}],
                 "env": [{"name": "STORAGE_URI", "value": "hf://the/runtime's/own"}]}  # fmt: skip
    return {"name": f"{what}-initializer", "template": {
        "metadata": {"labels": {"trainer.kubeflow.org/trainjob-ancestor-step": f"{what}-initializer"}},
        "spec": {"backoffLimit": 0, "template": {"spec": {"restartPolicy": "Never", "containers": [container]}}}}}  # fmt: skip


def runtime(name: str, *initializers: dict) -> dict:
    node = {"name": "node", "image": "kfbox/science:1", "command": ["python3", "-c", FINE_TUNE],
            "volumeMounts": [{"name": "initializer", "mountPath": "/workspace"}]}  # fmt: skip
    claim = {"metadata": {"name": "initializer"},
             "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}  # fmt: skip
    nodes = {"name": "node", "dependsOn": [{"name": i["name"], "status": "Complete"} for i in initializers], "template": {
        "metadata": {"labels": {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}},
        "spec": {"template": {"spec": {"containers": [node]}}}}}  # fmt: skip
    return {"apiVersion": "trainer.kubeflow.org/v1alpha1", "kind": "TrainingRuntime",
            "metadata": {"name": name, "namespace": "kubeflow", "labels": {"trainer.kubeflow.org/framework": "torch"}},
            "spec": {"mlPolicy": {"numNodes": 2}, "template": {"spec": {
                "volumeClaimPolicies": [{"templates": [claim]}], "replicatedJobs": [*initializers, nodes]}}}}  # fmt: skip


def test_initializers_fill_the_volume_that_the_nodes_read(lab: Trainings) -> None:
    lab.apply(runtime("tuning", initializer("dataset", FETCH_DATA), initializer("model", FETCH_MODEL)))
    lab.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hub", "namespace": "kubeflow"},
               "stringData": {"TOKEN": "sesame"}})  # fmt: skip
    printed = lab.run(trainjob("tuned", "tuning", "TrainingRuntime", initializer={
        "dataset": {"storageUri": "sklearn://digits", "secretRef": {"name": "hub"}},
        "model": {"storageUri": "zeros://64x10"}}))  # fmt: skip
    assert len(reached(printed)) == 2 and min(reached(printed)) >= 0.9, printed
    until("the claim went with it", 30, lambda: "initializer-tuned" not in lab.kubectl("-n", "kubeflow", "get", "pvc", "-o", "name"))


def test_no_node_starts_after_an_initializer_failed(lab: Trainings) -> None:
    lab.apply(runtime("broken", initializer("dataset", "raise SystemExit('no such data')")))
    what = lab.apply(trainjob("untuned", "broken", "TrainingRuntime", initializer={"dataset": {"storageUri": "hf://a/b"}}))
    lab.wait(what, "Failed", 60)
    (failed,) = [c for c in lab.get(what)["status"]["conditions"] if c["type"] == "Failed"]
    assert "untuned-dataset-initializer-0" in failed["message"], failed
    assert all("-node-" not in pod for pod in lab.pods(what))
    assert "no such data" in lab.logs(what)
    lab.delete(what)
