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
from typing import Any, Iterator

import pytest

from box import Box, until
from test_train import Lab

PROGRAMS = pathlib.Path(__file__).parent / "train"
SCIENCE, TORCH, BASE = "kfbox/science:1", "kfbox/torch:1", "kfbox/base:1"


class Trainings(Lab):
    """A box on which TrainJobs run."""

    def pods(self, job: str, namespace: str = "kubeflow") -> dict[str, dict]:
        label = f"jobset.sigs.k8s.io/jobset-name={job.rsplit('/', 1)[-1]}"
        found = self.kubectl("-n", namespace, "get", "pods", "-l", label, "-o", "json")
        return {pod["metadata"]["name"]: pod for pod in json.loads(found)["items"]}

    def logs(self, job: str) -> str:
        return "".join(self.log(pod) for pod in self.pods(job))

    def run(self, made: dict, condition: str = "Complete", limit: int = 120) -> str:
        """Applies a TrainJob and waits for its end; answers what its Pods printed."""
        what = self.apply(made)
        self.wait(what, condition, limit)
        printed = self.logs(what)
        self.delete(what)
        until("its pods are gone", 60, lambda: not self.pods(what))
        return printed


@pytest.fixture(scope="module")
def lab() -> Iterator[Trainings]:
    box = Box()
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
