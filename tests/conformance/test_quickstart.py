"""The quick-start, compiled by the SDK and run through it: what it leaves, and that a second run costs nothing."""

import io
import json
import random
import re
import time

import joblib
import kfp
import pytest
from digits import digits
from kfp import compiler
from sklearn.datasets import load_digits

from box import Box, until
from conftest import Ended

STEPS = {"load", "split", "train", "train-2", "evaluate", "evaluate-2", "choose", "publish"}


@pytest.fixture(scope="module")
def first(run) -> Ended:
    return run(digits, timeout=300, caching=True)


def test_every_step_succeeded(first: Ended) -> None:
    assert first.states() == dict.fromkeys(STEPS, "SUCCEEDED"), str(first)
    assert all(len(task["status"]["attempts"]) == 1 for task in first.tasks.values())


def test_models_read_digits(first: Ended) -> None:
    for exam in ("evaluate", "evaluate-2"):
        accuracy = first.output(exam)
        assert 0.9 < accuracy <= 1
        metrics = first.artifact(exam, "metrics")
        assert metrics["type"] == "system.Metrics"
        assert metrics["metadata"]["accuracy"] == accuracy
        assert metrics["metadata"]["images"] == 450
    assert first.output("choose", "accuracy") == max(first.output("evaluate"), first.output("evaluate-2"))


def test_confusion_matrix(first: Ended) -> None:
    confusion = first.artifact("evaluate", "confusion")
    assert confusion["type"] == "system.ClassificationMetrics"
    matrix = confusion["metadata"]["confusionMatrix"]
    matrix = matrix.get("struct", matrix)
    rows = [row["row"] for row in matrix["rows"]]
    assert len(rows) == 10 and all(len(row) == 10 for row in rows)
    assert sum(map(sum, rows)) == 450
    assert [spec["displayName"] for spec in matrix["annotationSpecs"]] == [str(d) for d in range(10)]


def test_report_is_html_that_cannot_act(first: Ended, box: Box) -> None:
    report = first.artifact("evaluate", "report")
    scheme, rest = report["uri"].split("://", 1)
    answer = box.call("GET", f"/artifacts/{scheme}/{rest}")
    assert answer.status_code == 200
    assert "<h1>support vectors: " in answer.text
    policy = answer.headers["content-security-policy"]
    assert "sandbox" in policy and "default-src 'none'" in policy and "allow-same-origin" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_published_model_loads(first: Ended, box: Box) -> None:
    published = first.artifact("publish", "published")
    assert published["type"] == "system.Model"
    about = published["metadata"]
    assert about["algorithm"] == first.output("choose", "best")
    assert about["accuracy"] == first.output("choose", "accuracy")
    assert re.fullmatch(r"scikit-learn \d+\.\d+\.\d+", about["framework"])
    model = joblib.load(io.BytesIO(box.artifact(published)))
    images, labels = load_digits(return_X_y=True)
    assert (model.predict(images) == labels).mean() > 0.95


def test_second_run_is_cached(first: Ended, run) -> None:
    began = time.monotonic()
    second = run(digits, caching=True)
    assert second.states() == dict.fromkeys(STEPS, "CACHED"), str(second)
    assert time.monotonic() - began < 10
    assert second.output("evaluate") == first.output("evaluate")
    assert second.artifact("publish", "published")["uri"] == first.artifact("publish", "published")["uri"]
    assert second.tasks["load"]["status"]["cachedFrom"] == {"runId": first.id, "taskPath": "root/load"}


def test_other_parameters_miss_the_cache_where_they_matter(first: Ended, run) -> None:
    other = run(digits, caching=True, timeout=200, test_size=0.5)
    states = other.states()
    assert states["load"] == "CACHED"
    assert states["split"] == states["train"] == "SUCCEEDED"
    assert other.artifact("evaluate", "metrics")["metadata"]["images"] == 899


def test_packages_were_installed_once(first: Ended, box: Box) -> None:
    pods = box.get("/api/v1/namespaces/kubeflow/pods")["items"]
    builds = [pod["metadata"]["name"] for pod in pods if pod["metadata"]["name"].startswith("env-")]
    assert len(builds) == len(set(builds))
    # No step of the run met pip: its log is only what the step printed.
    for path in STEPS:
        assert "Collecting" not in first.log(path) and "Requirement already" not in first.log(path)


@pytest.mark.timeout(600)
def test_it_survives_kill_9_at_any_moment(tmp_path) -> None:
    """On a box of its own, so that packages are installed anew: the kills hit set-up, steps and the gaps between."""
    file = tmp_path / "digits.yaml"
    compiler.Compiler().compile(digits, str(file))
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    box = Box()
    try:
        made = kfp.Client(host=box.url, existing_token=box.token, namespace="kubeflow").create_run_from_pipeline_package(
            str(file), enable_caching=False
        )
        finished: dict[str, str] = {}
        while True:
            time.sleep(dice.uniform(0.5, 8))
            tasks = box.tasks(made.run_id)
            for path, task in tasks.items():
                if task["status"]["state"] == "SUCCEEDED":
                    attempts = json.dumps(task["status"]["attempts"])
                    assert finished.setdefault(path, attempts) == attempts, f"{path} ran again"
            if box.state(made.run_id) not in ("PENDING", "RUNNING"):
                break
            box.kill9()
            box.up()
        assert box.state(made.run_id) == "SUCCEEDED", box.tasks(made.run_id)
        tasks = box.tasks(made.run_id)
        assert set(tasks) == STEPS
        assert all(len(task["status"]["attempts"]) == 1 for task in tasks.values()), tasks
        until("no container is left", 20, lambda: not box.containers())
    finally:
        box.close()
