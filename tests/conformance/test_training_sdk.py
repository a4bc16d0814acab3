"""The SDKs that Kubeflow users train with, unmodified: kubeflow-training's TrainingClient, kubeflow's TrainerClient, and
the plain Kubernetes client inside a Pod."""

from typing import Iterator

import pytest
from kubeflow.common.types import KubernetesBackendConfig
from kubeflow.trainer import CustomTrainer, TrainerClient
from kubeflow.training import TrainingClient
from kubernetes import client as kube
from kubernetes import config as kube_config

from box import Box, until


def train_digits(epochs: int = 1) -> None:
    """What a user would write in a cell: PyTorch's DDP, set up by the environment."""
    import os

    import torch
    import torch.distributed as dist
    from sklearn.datasets import load_digits

    dist.init_process_group("gloo")
    torch.manual_seed(0)
    images, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(images / 16.0, dtype=torch.float32), torch.tensor(labels)
    model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    rank, world = dist.get_rank(), dist.get_world_size()
    for _ in range(30 * epochs):
        for rows in torch.arange(len(x))[rank::world].split(64):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
    accuracy = (model(x).argmax(1) == y).float().mean().item()
    print(f"rank={rank} world={world} accuracy={accuracy:.3f} node={os.environ['HOSTNAME']}", flush=True)
    assert accuracy > 0.9


@pytest.fixture(scope="module")
def api(box: Box) -> kube.ApiClient:
    return kube_config.new_client_from_config(str(box.kubeconfig()))


@pytest.fixture(scope="module")
def training(box: Box) -> TrainingClient:
    return TrainingClient(config_file=str(box.kubeconfig()), namespace="kubeflow")


@pytest.fixture(scope="module")
def trainer(box: Box) -> Iterator[TrainerClient]:
    settings = kube.Configuration()
    kube_config.load_kube_config(str(box.kubeconfig()), client_configuration=settings)
    yield TrainerClient(KubernetesBackendConfig(namespace="kubeflow", client_configuration=settings))


def test_training_client_trains_a_function(training: TrainingClient) -> None:
    training.create_job(name="from-function", job_kind="PyTorchJob", base_image="kfbox/torch:1", num_workers=2,
                        num_procs_per_worker=1, train_func=train_digits)  # fmt: skip
    job = training.wait_for_job_conditions("from-function", polling_interval=1, wait_timeout=180)
    assert job.status.conditions[-1].type == "Succeeded"
    assert training.is_job_succeeded("from-function") and not training.is_job_running("from-function")
    assert training.get_job_pod_names("from-function") == ["from-function-master-0", "from-function-worker-0"]
    assert training.get_job_pod_names("from-function", is_master=True) == ["from-function-master-0"]
    logs, events = training.get_job_logs("from-function", verbose=True)
    (text,) = logs.values()
    assert "rank=0 world=2" in text and any("successfully completed" in line for lines in events.values() for line in lines), events
    assert "from-function" in [job.metadata.name for job in training.list_jobs()]
    job.metadata.labels = {"seen": "yes"}
    training.update_job(job, "from-function")
    assert training.get_job("from-function").metadata.labels["seen"] == "yes"
    training.delete_job("from-function")
    until("it is gone", 30, lambda: "from-function" not in [job.metadata.name for job in training.list_jobs()])


def test_trainer_client_trains_a_function_on_two_nodes(trainer: TrainerClient) -> None:
    names = {runtime.name for runtime in trainer.list_runtimes()}
    assert "torch-distributed" in names, names
    runtime = trainer.get_runtime("torch-distributed")
    name = trainer.train(runtime=runtime, trainer=CustomTrainer(func=train_digits, func_args={"epochs": 1}, num_nodes=2))
    job = trainer.wait_for_job_status(name, timeout=180)
    assert job.status == "Complete" and job.num_nodes == 2
    assert {step.name: step.status for step in job.steps} == {"node-0": "Succeeded", "node-1": "Succeeded"}
    text = "\n".join(trainer.get_job_logs(name))
    assert "rank=0 world=2" in text, text
    assert trainer.get_job_events(name)
    assert name in [job.name for job in trainer.list_jobs()]
    trainer.delete_job(name)
    until("it is gone", 30, lambda: name not in [job.name for job in trainer.list_jobs()])


def test_a_program_in_a_pod_speaks_to_the_box_as_in_a_cluster(api: kube.ApiClient) -> None:
    """load_incluster_config, nothing else: the address, the certificate and the token are where clients look."""
    script = (
        "from kubernetes import client, config\n"
        "config.load_incluster_config()\n"
        "print('pods', [p.metadata.name for p in client.CoreV1Api().list_namespaced_pod('kubeflow').items])\n"
        "try:\n"
        "    client.CoreV1Api().list_namespaced_pod('default')\n"
        "except client.ApiException as e:\n"
        "    print('default', e.status)\n"
    )
    core = kube.CoreV1Api(api)
    pod = {"metadata": {"name": "insider"}, "spec": {"restartPolicy": "Never", "containers": [
        {"name": "main", "image": "kfbox/python:3",
         "command": ["sh", "-c", 'pip install -q kubernetes==30.1.0 && exec python -c "$0"', script]}]}}  # fmt: skip
    core.create_namespaced_pod("kubeflow", pod)
    phase = until("it ended", 120, lambda: (p := core.read_namespaced_pod("insider", "kubeflow").status.phase)
                  in ("Succeeded", "Failed") and p)  # fmt: skip
    log = core.read_namespaced_pod_log("insider", "kubeflow")
    assert phase == "Succeeded", log
    assert "'insider'" in log and "default 403" in log, log
    core.delete_namespaced_pod("insider", "kubeflow")
