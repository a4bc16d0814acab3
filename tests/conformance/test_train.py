"""Training jobs with real frameworks: every kind trains a model on data that a package ships, to a checked accuracy.

The programs and their images are in `train`. Upstream's samples (`../shared/conformance/train` and the mission's) run
as they are written, with image rules; where those files are absent, their tests are skipped.
"""

import copy
import json
import pathlib
import re
import subprocess
from typing import Any, Iterator

import pytest
import yaml

from box import ROOT, Box, docker, until
from s3_client import connect

PROGRAMS = pathlib.Path(__file__).parent / "train"
CASES = ROOT.parent / "shared/conformance"
RULES = {
    "ghcr.io/kubeflow/training-v1/tf-mnist-with-summaries*": "kfbox-test/tensorflow:1",
    "gcr.io/your-project/your-image*": "kfbox-test/tensorflow:1",
    "*/kubeflowkatib/pytorch-mnist:*": "kfbox-test/torch:1",
    "horovod/horovod:*": "kfbox-test/torch:1",
    "ghcr.io/kubeflow/training-v1/xgboost-dist-iris*": "kfbox-test/science:1",
    "ghcr.io/kubeflow/training-v1/jaxjob-simple*": "kfbox-test/science:1",
    "registry.baidubce.com/paddlepaddle/paddle:*": "kfbox-test/paddle:1",
    "lightbend/ml-tf-recommender:*": "kfbox-test/recommender:1",
}
CONFIG = "".join(f'[[image_rules]]\npattern = "{pattern}"\nimage = "{image}"\n' for pattern, image in RULES.items())


class Lab:
    """A box on which jobs run, seen through kubectl."""

    def __init__(self, box: Box) -> None:
        self.box = box

    def kubectl(self, *args: str, **how) -> str:
        return self.box.kubectl(*args, **how)

    def apply(self, job: dict) -> str:
        """Applies a manifest; answers `resource/name`."""
        verb = "create" if "generateName" in job["metadata"] else "apply"
        return self.kubectl(verb, "-f", "-", "-o", "name", stdin=yaml.safe_dump(job)).strip()

    def get(self, what: str, namespace: str = "kubeflow") -> dict:
        return json.loads(self.kubectl("-n", namespace, "get", what, "-o", "json"))

    def conditions(self, what: str, namespace: str = "kubeflow") -> dict[str, str]:
        """The status of each condition, in order of their last change."""
        return {c["type"]: c["status"] for c in self.get(what, namespace).get("status", {}).get("conditions", [])}

    def wait(self, what: str, condition: str = "Succeeded", limit: int = 240, namespace: str = "kubeflow") -> dict[str, str]:
        def ended() -> dict[str, str] | None:
            found = self.conditions(what, namespace)
            done = any(found.get(end) == "True" for end in {condition, "Succeeded", "Failed", "Complete"})
            return found if done else None

        found = until(f"{what} {condition}", limit, ended)
        assert found.get(condition) == "True", self.story(what, namespace)
        return found

    def pods(self, job: str, namespace: str = "kubeflow") -> dict[str, dict]:
        name = job.rsplit("/", 1)[-1]
        found = self.kubectl("-n", namespace, "get", "pods", "-l", f"training.kubeflow.org/job-name={name}", "-o", "json")
        return {pod["metadata"]["name"]: pod for pod in json.loads(found)["items"]}

    def log(self, pod: str, namespace: str = "kubeflow") -> str:
        return self.kubectl("-n", namespace, "logs", pod)

    def accuracy(self, job: str, namespace: str = "kubeflow") -> dict[str, float]:
        """The last accuracy that each Pod of a job printed."""
        found = {}
        for pod in self.pods(job, namespace):
            # A clean-up policy may take a Pod away at any moment.
            log = self.kubectl("-n", namespace, "logs", pod, check=False)
            printed = re.findall(r"accuracy=([0-9.]+)", log)
            if printed:
                found[pod] = float(printed[-1])
        return found

    def delete(self, what: str, namespace: str = "kubeflow") -> None:
        self.kubectl("-n", namespace, "delete", what, "--timeout=60s")

    def story(self, what: str, namespace: str = "kubeflow") -> str:
        """All there is to know about a job that went wrong."""
        tale = self.kubectl("-n", namespace, "describe", what, check=False)
        for name in self.pods(what, namespace):
            tale += f"\n--- {name}\n" + self.kubectl("-n", namespace, "describe", "pod", name, check=False)
            tale += self.kubectl("-n", namespace, "logs", name, "--all-containers", check=False)[-3000:]
        return tale


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    for folder in sorted(p.parent for p in PROGRAMS.glob("*/Dockerfile")):
        # Cached by the engine when nothing changed.
        subprocess.run(["docker", "build", "--quiet", "--network", "host", "--tag", f"kfbox-test/{folder.name}:1", folder],
                       check=True, capture_output=True)  # fmt: skip
    box = Box(config=CONFIG)
    yield Lab(box)
    box.close()


def replicas(count: int, container: str, image: str, command: list[str], restart: str = "", **more: Any) -> dict:
    spec = {"replicas": count, "template": {"spec": {"containers": [
        {"name": container, "image": image, "command": command, **more}]}}}  # fmt: skip
    return spec | ({"restartPolicy": restart} if restart else {})


def job(kind: str, name: str, field: str, run_policy: dict | None = None, **types: dict) -> dict:
    spec = {field: types} | ({"runPolicy": run_policy} if run_policy else {})
    return {"apiVersion": "kubeflow.org/v1", "kind": kind, "metadata": {"name": name, "namespace": "kubeflow"}, "spec": spec}


TF, TORCH, SCIENCE = "kfbox-test/tensorflow:1", "kfbox-test/torch:1", "kfbox-test/science:1"
MNIST_TF = ["python", "/var/tf_mnist/mnist_with_summaries.py"]
MNIST_TORCH = ["python3", "/opt/pytorch-mnist/mnist.py", "--epochs=1"]
MPIRUN = ["mpirun", "-np", "2", "--allow-run-as-root", "-bind-to", "none", "-map-by", "slot", "-mca", "pml", "ob1",
          "-mca", "btl", "^openib", "python", "/horovod/examples/tensorflow2/tensorflow2_mnist.py"]  # fmt: skip
JOBS = {
    # A chief of its own, a server of parameters and an evaluator's absence: the roles of TF_CONFIG.
    "tfjob-ps": job("TFJob", "tf-ps", "tfReplicaSpecs",
                    PS=replicas(1, "tensorflow", TF, ["python", "-m", "trainer.task"]),
                    Worker=replicas(2, "tensorflow", TF, ["python", "-m", "trainer.task", "--training_steps=800"])),
    "tfjob-mirrored": job("TFJob", "tf-mirrored", "tfReplicaSpecs", Worker=replicas(2, "tensorflow", TF, MNIST_TF)),
    "pytorchjob": job("PyTorchJob", "torch-ddp", "pytorchReplicaSpecs",
                      Master=replicas(1, "pytorch", TORCH, MNIST_TORCH, "OnFailure"),
                      Worker=replicas(1, "pytorch", TORCH, MNIST_TORCH, "OnFailure")),
    "xgboostjob": job("XGBoostJob", "xgb", "xgbReplicaSpecs",
                      Master=replicas(1, "xgboost", SCIENCE, ["python3", "/opt/science/xgboost_iris.py"]),
                      Worker=replicas(2, "xgboost", SCIENCE, ["python3", "/opt/science/xgboost_iris.py"], "ExitCode")),
    "jaxjob": job("JAXJob", "jax", "jaxReplicaSpecs", Worker=replicas(2, "jax", SCIENCE, ["python3", "train.py"])),
    "mpijob": job("MPIJob", "mpi", "mpiReplicaSpecs", {"cleanPodPolicy": "Running"},
                  Launcher=replicas(1, "mpi", TORCH, MPIRUN), Worker=replicas(2, "mpi", TORCH, [])),
}  # fmt: skip
del JOBS["mpijob"]["spec"]["mpiReplicaSpecs"]["Worker"]["template"]["spec"]["containers"][0]["command"]


@pytest.mark.parametrize("name", JOBS)
def test_trains_to_an_accuracy(lab: Lab, name: str) -> None:
    made = lab.apply(JOBS[name])
    conditions = lab.wait(made)
    assert conditions["Created"] == "True" and conditions.get("Running") != "True", conditions
    reached = lab.accuracy(made)
    assert reached and min(reached.values()) >= 0.9, reached
    lab.delete(made)
    until("its pods are gone", 60, lambda: not lab.pods(made))


def upstream(*path: str) -> list[dict]:
    file = CASES.joinpath(*path)
    if not file.exists():
        pytest.skip(f"{file} is not here")
    found = [doc for doc in yaml.safe_load_all(file.read_text()) if doc]
    for doc in found:
        # The one thing that a person fills in.
        doc["metadata"]["namespace"] = "kubeflow"
    return found


@pytest.mark.parametrize("path", [
    "train/tensorflow/simple.yaml", "train/pytorch/simple.yaml", "train/xgboost/xgboostjob.yaml", "train/jax/demo.yaml",
    "train/paddlepaddle/simple-cpu.yaml", "train/mpi/tensorflow-mnist.yaml", "mission/tfjob-ps-worker.yaml",
])  # fmt: skip
def test_upstream_sample_as_written(lab: Lab, path: str) -> None:
    (sample,) = upstream(*path.split("/"))
    if "mpi" in path and int(lab.get("node/kfbox", "default")["status"]["allocatable"]["cpu"]) < 5:
        pytest.skip("it asks for 5 CPUs, more than this machine has")
    made = lab.apply(sample)
    lab.wait(made)
    log = "".join(lab.log(pod) for pod in lab.pods(made))
    assert "accuracy=" in log or "Distributed training completed" in log, log[-3000:]
    lab.delete(made)


def test_the_recommender_trains_from_the_object_store_and_exports_to_it(lab: Lab) -> None:
    """The mission's TFJob as it is written: its Secret is the one that the box keeps beside a key of that name."""
    file = CASES / "mission/tfjob-recommender.yaml"
    if not file.exists():
        pytest.skip(f"{file} is not here")
    sample = yaml.safe_load(file.read_text())
    lab.kubectl("create", "namespace", "boris")
    s3 = connect(lab.box, lab.box.key("minioaccess", "--namespace", "boris"))
    for name in ("data", "models"):
        s3.create_bucket(Bucket=name)
    # Everyone buys the products of their own parity.
    rows = [f"{user},{product},{int(user % 2 == product % 2)}" for user in range(30) for product in range(20)]
    s3.put_object(Bucket="data", Key="recommender/transactions.csv", Body="\n".join(["user,product,bought", *rows]).encode())
    made = lab.apply(sample)
    lab.wait(made, namespace="boris")
    assert min(lab.accuracy(made, "boris").values()) >= 0.95
    exported = [entry["Key"] for entry in s3.list_objects_v2(Bucket="models")["Contents"]]
    assert "recommender/1/saved_model.pb" in exported and any("variables.data" in key for key in exported), exported
    lab.delete(made, "boris")


def claim(name: str) -> dict:
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name, "namespace": "kubeflow"},
            "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}}  # fmt: skip


def read_volume(lab: Lab, name: str, script: str) -> str:
    """What a shell command prints in a Pod that mounts a volume."""
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "look-", "namespace": "kubeflow"}, "spec": {
        "restartPolicy": "Never", "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": name}}],
        "containers": [{"name": "main", "image": "kfbox/base:1", "command": ["sh", "-c", script],
                        "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]}}  # fmt: skip
    made = lab.apply(pod)
    until(made, 60, lambda: lab.get(made)["status"].get("phase") in ("Succeeded", "Failed"))
    printed = lab.log(made)
    lab.delete(made)
    return printed


def test_upstream_sample_with_a_volume(lab: Lab) -> None:
    (sample,) = upstream("train", "tensorflow", "mnist_with_summaries", "tf_job_mnist.yaml")
    lab.apply(claim("tfevent-volume"))
    made = lab.apply(sample)
    lab.wait(made)
    assert "events.out.tfevents" in read_volume(lab, "tfevent-volume", "find /v/logs")
    lab.delete(made)


def test_a_sweep_into_sub_paths_of_one_volume(lab: Lab) -> None:
    """One TFJob for each pair of learning rate and number of hidden layers, each with its own folder."""
    lab.apply(claim("sweep"))
    made = {}
    for rate in ("0.003", "0.01"):
        for layers in (1, 2):
            folder = f"lr-{rate}-layers-{layers}"
            worker = replicas(1, "tensorflow", TF, [*MNIST_TF, "--log_dir=/logs", f"--learning_rate={rate}",
                                                    f"--hidden_layers={layers}", "--steps=150"])  # fmt: skip
            pod = worker["template"]["spec"]
            pod["volumes"] = [{"name": "logs", "persistentVolumeClaim": {"claimName": "sweep"}}]
            pod["containers"][0]["volumeMounts"] = [{"name": "logs", "mountPath": "/logs", "subPath": f"sweep/{folder}"}]
            name = f"sweep-{rate.replace('.', '-')}-{layers}"
            made[folder] = lab.apply(job("TFJob", name, "tfReplicaSpecs", Worker=worker))
    for what in made.values():
        lab.wait(what, limit=400)
    found = read_volume(lab, "sweep", "cd /v/sweep && find . -name 'events.out.tfevents*'").split()
    assert {path.split("/")[1] for path in found} == set(made), found
    for what in made.values():
        lab.delete(what)


def two_workers(name: str, epochs: int = 12) -> dict:
    """A job of two that takes some ten seconds, so that something can happen meanwhile."""
    slow = ["python3", "/opt/pytorch-mnist/mnist.py", f"--epochs={epochs}", "--pause=0.7"]
    return job("PyTorchJob", name, "pytorchReplicaSpecs", Master=replicas(1, "pytorch", TORCH, slow, "OnFailure"),
               Worker=replicas(1, "pytorch", TORCH, slow, "OnFailure"))  # fmt: skip


def printed(lab: Lab, what: str, text: str) -> bool:
    return any(text in lab.kubectl("logs", "-n", "kubeflow", pod, check=False) for pod in lab.pods(what))


def test_the_daemon_is_killed_in_the_middle(lab: Lab) -> None:
    made = lab.apply(two_workers("survivor"))
    until("both train", 90, lambda: printed(lab, made, "epoch=2 "))
    before = {name: pod["metadata"]["uid"] for name, pod in lab.pods(made).items()}
    lab.box.kill9()
    lab.box.up()
    lab.wait(made)
    after = lab.pods(made)
    assert {name: pod["metadata"]["uid"] for name, pod in after.items()} == before, "nothing was started again"
    assert all(c["restartCount"] == 0 for pod in after.values() for c in pod["status"]["containerStatuses"])
    lab.delete(made)
    until("no container is left", 60, lambda: not docker("ps", "-aq", "--filter", f"label=kfbox.dev/box={lab.box.id}",
                                                         "--filter", "label=io.kubernetes.pod.name=survivor-master-0"))  # fmt: skip


def test_suspend_and_resume(lab: Lab) -> None:
    made = lab.apply(two_workers("pausing", epochs=4))
    until("it runs", 90, lambda: lab.conditions(made).get("Running") == "True")
    lab.kubectl("-n", "kubeflow", "patch", made, "--type=merge", "-p", '{"spec":{"runPolicy":{"suspend":true}}}')
    until("its pods are gone", 60, lambda: not lab.pods(made))
    assert lab.conditions(made)["Suspended"] == "True"
    lab.kubectl("-n", "kubeflow", "patch", made, "--type=merge", "-p", '{"spec":{"runPolicy":{"suspend":false}}}')
    lab.wait(made)
    lab.delete(made)


def test_gang_waits_as_a_whole(lab: Lab) -> None:
    """Two Pods that each ask for most of the box: none may start, and the reason is told."""
    greedy = two_workers("greedy", epochs=1)
    cpus = int(lab.get("node/kfbox", "default")["status"]["allocatable"]["cpu"])
    for spec in greedy["spec"]["pytorchReplicaSpecs"].values():
        spec["template"]["spec"]["containers"][0]["resources"] = {"requests": {"cpu": str(cpus * 0.75)}}
    made = lab.apply(greedy)

    def told() -> list[str]:
        return [c["message"] for pod in lab.pods(made).values() for c in pod["status"].get("conditions", [])
                if c["type"] == "PodScheduled" and c["status"] == "False"]  # fmt: skip

    until("both wait", 30, lambda: len(told()) == 2)
    assert {pod["status"]["phase"] for pod in lab.pods(made).values()} == {"Pending"}
    assert lab.conditions(made).get("Running") != "True"
    lab.delete(made)


@pytest.mark.parametrize(("code", "wanted"), [(137, "Succeeded"), (3, "Failed")])
def test_exit_code_policy(lab: Lab, code: int, wanted: str) -> None:
    """128 and above is tried again in a new Pod, below that the job has failed."""
    script = f"test -e /v/{code} && exit 0; touch /v/{code}; exit {code}"
    if code == 137:
        lab.apply(claim("exit-codes"))
    worker = replicas(1, "tensorflow", "kfbox/base:1", ["sh", "-c", script], "ExitCode",
                      volumeMounts=[{"name": "v", "mountPath": "/v"}])  # fmt: skip
    worker["template"]["spec"]["volumes"] = [{"name": "v", "persistentVolumeClaim": {"claimName": "exit-codes"}}]
    made = lab.apply(job("TFJob", f"exit-{code}", "tfReplicaSpecs", Worker=worker))
    lab.wait(made, wanted, 90)
    lab.delete(made)


def test_new_tries_pause_also_when_the_daemon_is_killed(lab: Lab) -> None:
    """The first new try is made at once, the second after 10 s; meanwhile the Pod that failed keeps its log."""
    lab.apply(claim("tries"))
    script = "date +%s >>/v/tries; echo try $(wc -l </v/tries); test $(wc -l </v/tries) -ge 3 || exit 137"
    worker = replicas(1, "tensorflow", "kfbox/base:1", ["sh", "-c", script], "ExitCode",
                      volumeMounts=[{"name": "v", "mountPath": "/v"}])  # fmt: skip
    worker["template"]["spec"]["volumes"] = [{"name": "v", "persistentVolumeClaim": {"claimName": "tries"}}]
    made = lab.apply(job("TFJob", "tries", "tfReplicaSpecs", Worker=worker))
    until("the second try failed", 60, lambda: "waits 10 s" in lab.kubectl("-n", "kubeflow", "get", made, "-o", "yaml"))
    assert "try 2" in lab.log("tries-worker-0")
    lab.box.kill9()
    lab.box.up()
    lab.wait(made, limit=60)
    assert lab.get(made)["status"]["replicaStatuses"]["Worker"]["restarts"] == 2
    first, second, third = map(int, read_volume(lab, "tries", "cat /v/tries").split())
    assert second - first < 8 and third - second >= 9, (first, second, third)
    lab.delete(made)


def test_backoff_limit_deadline_and_ttl(lab: Lab) -> None:
    failing = job("PyTorchJob", "gives-up", "pytorchReplicaSpecs", {"backoffLimit": 1},
                  Master=replicas(1, "pytorch", "kfbox/base:1", ["sh", "-c", "exit 1"], "OnFailure"))  # fmt: skip
    endless = job("PyTorchJob", "too-long", "pytorchReplicaSpecs", {"activeDeadlineSeconds": 3},
                  Master=replicas(1, "pytorch", "kfbox/base:1", ["sleep", "600"]))  # fmt: skip
    fleeting = job("PyTorchJob", "fleeting", "pytorchReplicaSpecs", {"ttlSecondsAfterFinished": 1},
                   Master=replicas(1, "pytorch", "kfbox/base:1", ["true"]))  # fmt: skip
    made = [lab.apply(copy.deepcopy(j)) for j in (failing, endless, fleeting)]
    lab.wait(made[0], "Failed", 120)
    lab.wait(made[1], "Failed", 60)
    until("the third is gone", 60, lambda: made[2] not in lab.kubectl("-n", "kubeflow", "get", "pytorchjobs", "-o", "name"))
    for what in made[:2]:
        lab.delete(what)
