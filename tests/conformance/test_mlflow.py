"""MLflow's unmodified client tracks runs and registers models on the box, as its documentation shows it."""

import json
import math
import os
import pathlib
import re
import subprocess
import sys
from typing import Iterator

import mlflow
import numpy as np
import pytest
import requests
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException, RestException
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from box import Box

NAMESPACE = "kubeflow"
BUCKET = "mlflow-kubeflow"


@pytest.fixture(scope="module", autouse=True)
def tracking(box: Box) -> Iterator[None]:
    """Where MLflow finds the box: two settings, and nothing else."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_TOKEN", box.token)
        # Its client tries again for minutes when a server is away.
        patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        mlflow.set_tracking_uri(f"{box.url}/mlflow/{NAMESPACE}")
        yield
        mlflow.set_tracking_uri(None)


@pytest.fixture
def client() -> MlflowClient:
    return MlflowClient()


@pytest.fixture
def experiment(request: pytest.FixtureRequest) -> str:
    return mlflow.set_experiment(request.node.name).experiment_id


def test_a_run_with_all_that_can_be_logged(experiment: str, client: MlflowClient, tmp_path: pathlib.Path) -> None:
    with mlflow.start_run(run_name="first", tags={"team": "vision"}, description="a try") as run:
        mlflow.log_params({"rate": 0.1, "layers": 3, "note": "ä" * 500})
        for step in range(5):
            mlflow.log_metric("loss", 1 / (step + 1), step=step)
        mlflow.log_metrics({"accuracy": 0.9, "worst": math.nan, "best": math.inf})
        mlflow.set_tag("stage", "try")
        mlflow.log_dict({"a": [1, 2]}, "settings/all.json")
        mlflow.log_text("", "empty.txt")
        (tmp_path / "big.bin").write_bytes(b"kfbox" * 400_000)
        mlflow.log_artifact(str(tmp_path / "big.bin"), "data")
        frame = np.arange(4)
        mlflow.log_input(mlflow.data.from_numpy(frame, name="numbers"), context="training")

    found = client.get_run(run.info.run_id)
    assert found.info.status == "FINISHED" and found.info.run_name == "first"
    assert found.info.end_time >= found.info.start_time
    assert found.data.params == {"rate": "0.1", "layers": "3", "note": "ä" * 500}
    assert found.data.metrics["loss"] == 0.2 and found.data.metrics["accuracy"] == 0.9
    assert math.isnan(found.data.metrics["worst"]) and found.data.metrics["best"] > 1e308
    assert found.data.tags["team"] == "vision" and found.data.tags["mlflow.note.content"] == "a try"
    assert [d.dataset.name for d in found.inputs.dataset_inputs] == ["numbers"]
    history = client.get_metric_history(run.info.run_id, "loss")
    assert [(m.step, m.value) for m in history] == [(i, 1 / (i + 1)) for i in range(5)]
    # A param is written once.
    with pytest.raises(MlflowException, match="rate"):
        client.log_param(run.info.run_id, "rate", 0.2)

    names = {f.path for f in client.list_artifacts(run.info.run_id)}
    assert names == {"settings", "empty.txt", "data"}
    (big,) = client.list_artifacts(run.info.run_id, "data")
    assert (big.path, big.is_dir, big.file_size) == ("data/big.bin", False, 2_000_000)
    assert mlflow.artifacts.load_dict(f"{run.info.artifact_uri}/settings/all.json") == {"a": [1, 2]}
    assert mlflow.artifacts.load_text(f"{run.info.artifact_uri}/empty.txt") == ""
    there = mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="data", dst_path=str(tmp_path / "down"))
    assert (pathlib.Path(there) / "big.bin").read_bytes() == (tmp_path / "big.bin").read_bytes()


def test_the_files_of_a_run_are_objects_of_the_namespace(experiment: str, s3, box: Box) -> None:
    with mlflow.start_run() as run:
        mlflow.log_text("hello", "notes/a b+ä.txt")
    key = f"{experiment}/{run.info.run_id}/artifacts/notes/a b+ä.txt"
    assert s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() == b"hello"
    s3.put_object(Bucket=BUCKET, Key=key.replace("a b", "c"), Body=b"from S3")
    assert mlflow.artifacts.load_text(f"{run.info.artifact_uri}/notes/c+ä.txt") == "from S3"


def test_experiments_are_searched_renamed_put_away_and_taken_back(client: MlflowClient) -> None:
    ids = [client.create_experiment(f"sweep-{i}", tags={"kind": "sweep", "n": str(i)}) for i in range(5)]
    with pytest.raises(RestException, match="already exists"):
        client.create_experiment("sweep-1")
    found = client.search_experiments(filter_string="tags.kind = 'sweep' AND name LIKE 'sweep-%'", order_by=["name DESC"])
    assert [e.experiment_id for e in found] == ids[::-1]
    first = client.search_experiments(filter_string="tags.kind = 'sweep'", max_results=2)
    rest = client.search_experiments(filter_string="tags.kind = 'sweep'", max_results=10, page_token=first.token)
    assert len(first) == 2 and len(rest) == 3 and not rest.token
    client.rename_experiment(ids[0], "sweep-zero")
    assert client.get_experiment_by_name("sweep-zero").experiment_id == ids[0]
    client.set_experiment_tag(ids[0], "kind", "other")
    client.delete_experiment(ids[1])
    assert client.get_experiment(ids[1]).lifecycle_stage == "deleted"
    assert {e.experiment_id for e in client.search_experiments(filter_string="tags.kind = 'sweep'")} == set(ids[2:])
    with pytest.raises(RestException, match="deleted"):
        client.create_run(ids[1])
    client.restore_experiment(ids[1])
    client.create_run(ids[1])


def test_runs_are_searched_by_what_they_logged(experiment: str, client: MlflowClient) -> None:
    for i in range(12):
        with mlflow.start_run(run_name=f"r{i}", tags={"odd": str(i % 2)}):
            mlflow.log_param("rate", f"1e-{i}")
            mlflow.log_metric("loss", 12 - i)

    def names(filter: str, **how) -> list[str]:
        return [r.info.run_name for r in client.search_runs([experiment], filter, **how)]

    assert names("metrics.loss < 4 and tags.odd = '1'", order_by=["metrics.loss ASC"]) == ["r11", "r9"]
    assert names("params.rate = '1e-3'") == ["r3"]
    assert names("attributes.run_name LIKE 'r1%'", order_by=["attributes.start_time ASC"]) == ["r1", "r10", "r11"]
    # The newest first, and page by page.
    page = client.search_runs([experiment], max_results=5)
    second = client.search_runs([experiment], max_results=50, page_token=page.token)
    assert [r.info.run_name for r in [*page, *second]] == [f"r{i}" for i in range(11, -1, -1)]
    client.delete_run(page[0].info.run_id)
    assert "r11" not in names("")
    assert [r.info.run_name for r in client.search_runs([experiment], run_view_type=mlflow.entities.ViewType.DELETED_ONLY)] == ["r11"]
    client.restore_run(page[0].info.run_id)
    frame = mlflow.search_runs([experiment], filter_string="metrics.loss >= 11")
    assert set(frame["tags.mlflow.runName"]) == {"r0", "r1"}
    for bad, why in [("metrics.loss <", "filter"), ("nope.x = 1", "nope"), ("metrics.loss = 'x'", "numeric")]:
        with pytest.raises(RestException, match=why):
            names(bad)


def test_nested_runs_and_failed_runs(experiment: str, client: MlflowClient) -> None:
    with pytest.raises(ValueError, match="broken"), mlflow.start_run() as parent:
        with mlflow.start_run(nested=True):
            mlflow.log_metric("m", 1)
        raise ValueError("broken")
    assert client.get_run(parent.info.run_id).info.status == "FAILED"
    (child,) = client.search_runs([experiment], f"tags.mlflow.parentRunId = '{parent.info.run_id}'")
    assert child.info.status == "FINISHED" and child.data.metrics == {"m": 1}


def test_many_points_at_once(experiment: str, client: MlflowClient, box: Box) -> None:
    from mlflow.entities import Metric

    run = client.create_run(experiment)
    points = [Metric("loss", float(i), 1_700_000_000_000 + i, i) for i in range(3_000)]
    for at in range(0, len(points), 1_000):
        client.log_batch(run.info.run_id, metrics=points[at : at + 1_000])
    history = client.get_metric_history(run.info.run_id, "loss")
    assert [m.value for m in history] == [m.value for m in points]
    one = {"key": "x", "value": 1, "timestamp": 1, "step": 1}
    body = {"run_id": run.info.run_id, "metrics": [one] * 1_001}
    refused = box.call("POST", f"/mlflow/{NAMESPACE}/api/2.0/mlflow/runs/log-batch", json=body)
    assert refused.status_code == 400 and "1000" in refused.json()["message"]


@pytest.fixture
def trained(experiment: str) -> mlflow.entities.Run:
    """A model that scikit-learn's autolog has logged."""
    mlflow.sklearn.autolog(log_datasets=False)
    x, y = load_iris(return_X_y=True)
    with mlflow.start_run() as run:
        LogisticRegression(max_iter=200).fit(x, y)
    mlflow.sklearn.autolog(disable=True)
    return run


def test_autolog_of_scikit_learn_and_the_registry(trained: mlflow.entities.Run, client: MlflowClient) -> None:
    run = client.get_run(trained.info.run_id)
    assert run.data.params["max_iter"] == "200"
    assert run.data.metrics["training_accuracy_score"] > 0.9
    (output,) = run.outputs.model_outputs
    logged = mlflow.get_logged_model(output.model_id)
    assert logged.status == "READY" and logged.source_run_id == run.info.run_id
    assert {"MLmodel", "model.pkl"} & {f.path for f in client.list_logged_model_artifacts(logged.model_id)}

    name = "iris"
    version = mlflow.register_model(f"runs:/{run.info.run_id}/model", name, tags={"from": "autolog"})
    assert version.version == "1" and version.run_id == run.info.run_id
    again = mlflow.register_model(logged.model_uri, name)
    assert again.version == "2"
    client.set_registered_model_alias(name, "champion", "2")
    client.update_model_version(name, "2", "the better one")
    client.set_model_version_tag(name, "2", "checked", "yes")
    client.update_registered_model(name, "flowers")
    champion = client.get_model_version_by_alias(name, "champion")
    assert (champion.version, champion.description, champion.tags["checked"]) == ("2", "the better one", "yes")
    assert client.get_registered_model(name).aliases == {"champion": "2"}
    x, y = load_iris(return_X_y=True)
    for uri in [f"models:/{name}@champion", f"models:/{name}/1", logged.model_uri]:
        model = mlflow.sklearn.load_model(uri)
        assert model.score(x, y) > 0.9, uri
    assert (mlflow.pyfunc.load_model(f"models:/{name}@champion").predict(x)[:5] == 0).all()

    client.transition_model_version_stage(name, "1", "Production")
    client.transition_model_version_stage(name, "2", "Production", archive_existing_versions=True)
    assert [v.version for v in client.get_latest_versions(name, ["Production"])] == ["2"]
    assert client.get_model_version(name, "1").current_stage == "Archived"
    found = client.search_model_versions(f"name = '{name}'")
    assert [v.version for v in found] == ["2", "1"]
    assert [v.version for v in client.search_model_versions(f"run_id = '{run.info.run_id}' and tags.`from` = 'autolog'")] == ["1"]
    assert [m.name for m in client.search_registered_models("name LIKE 'ir%'")] == [name]
    client.delete_registered_model_alias(name, "champion")
    with pytest.raises(RestException, match="champion"):
        client.get_model_version_by_alias(name, "champion")
    client.delete_model_version(name, "2")
    # A number is never given twice.
    assert mlflow.register_model(logged.model_uri, name).version == "3"
    client.rename_registered_model(name, "flower")
    client.delete_registered_model("flower")
    with pytest.raises(RestException, match="flower"):
        client.get_registered_model("flower")


def test_a_model_is_logged_registered_and_searched_at_once(experiment: str, client: MlflowClient) -> None:
    x, y = load_iris(return_X_y=True)
    with mlflow.start_run():
        model = LogisticRegression(max_iter=50).fit(x, y)
        info = mlflow.sklearn.log_model(model, name="clf", registered_model_name="at-once", input_example=x[:2], params={"c": "1"})
        mlflow.log_metric("f1", 0.8, model_id=info.model_id)
    assert info.registered_model_version == "1" or info.registered_model_version == 1
    (found,) = mlflow.search_logged_models([experiment], filter_string="metrics.f1 > 0.5 AND params.c = '1'", output_format="list")
    assert found.model_id == info.model_id
    mlflow.set_logged_model_tags(info.model_id, {"good": "yes"})
    assert mlflow.get_logged_model(info.model_id).tags["good"] == "yes"
    # The client reads no model id of a version; its tag on the model is the way back.
    assert json.loads(mlflow.get_logged_model(info.model_id).tags["mlflow.modelVersions"]) == [{"name": "at-once", "version": "1"}]
    client.delete_logged_model(info.model_id)
    assert mlflow.search_logged_models([experiment], output_format="list") == []


def test_prompts_are_kept_beside_models(client: MlflowClient) -> None:
    made = mlflow.genai.register_prompt("greet", "Hello {{name}}", commit_message="first", tags={"lang": "en"})
    assert made.version == 1
    mlflow.genai.register_prompt("greet", "Hi {{name}}")
    mlflow.genai.set_prompt_alias("greet", "live", 2)
    assert mlflow.genai.load_prompt("prompts:/greet@live").format(name="Ada") == "Hi Ada"
    assert [p.name for p in mlflow.genai.search_prompts("name LIKE 'gr%'")] == ["greet"]
    assert "greet" not in [m.name for m in client.search_registered_models()]


def test_what_is_wrong_is_named(client: MlflowClient, experiment: str) -> None:
    def code(call, *args) -> str:
        with pytest.raises(RestException) as caught:
            call(*args)
        return caught.value.error_code

    assert code(client.get_run, "0" * 32) == "RESOURCE_DOES_NOT_EXIST"
    assert code(client.get_experiment, "987654") == "RESOURCE_DOES_NOT_EXIST"
    assert code(client.get_registered_model, "nobody") == "RESOURCE_DOES_NOT_EXIST"
    client.create_registered_model("taken")
    assert code(client.create_registered_model, "taken") == "RESOURCE_ALREADY_EXISTS"
    assert code(client.create_registered_model, "a/b") == "INVALID_PARAMETER_VALUE"
    run = client.create_run(experiment)
    assert code(client.search_runs, [experiment], "metrics.x ? 1") == "INVALID_PARAMETER_VALUE"
    client.set_terminated(run.info.run_id)
    client.delete_run(run.info.run_id)
    assert code(client.log_metric, run.info.run_id, "x", 1.0) == "INVALID_PARAMETER_VALUE"


@pytest.mark.parametrize("path", ["../../etc/passwd", "a/%2e%2e/%2e%2e/b", "%2e%2e/x", "a//b", "a%00b"])
def test_hostile_paths_of_artifacts(box: Box, path: str) -> None:
    url = f"{box.url}/mlflow/{NAMESPACE}/api/2.0/mlflow-artifacts/artifacts/{path}"
    asked = requests.Request("PUT", url, data=b"x", headers={"Authorization": f"Bearer {box.token}"}).prepare()
    # Not tidied up by the client.
    asked.url = url
    with requests.Session() as session:
        assert session.send(asked, timeout=20).status_code in (400, 404, 405)


def test_a_token_of_one_namespace_opens_no_other(box: Box) -> None:
    box.kubectl("create", "namespace", "mlflow-ada")
    made = box.cli("token", "create", "--user", "ada", "--namespace", "mlflow-ada", "--role", "edit")
    headers = {"Authorization": f"Bearer {made.strip()}"}

    def ask(path: str, extra: dict | None = None) -> int:
        return requests.get(box.url + path, headers=headers | (extra or {}), timeout=20).status_code

    search = "api/2.0/mlflow/experiments/search?max_results=5"
    assert ask(f"/mlflow/mlflow-ada/{search}") == 200
    assert ask(f"/mlflow/{NAMESPACE}/{search}") == 403
    assert ask(f"/{search}") == 403
    assert ask(f"/{search}", {"X-MLFLOW-WORKSPACE": "mlflow-ada"}) == 200
    assert ask(f"/mlflow/{NAMESPACE}/api/2.0/mlflow-artifacts/artifacts?path=1") == 403
    assert ask("/mlflow/nowhere/" + search) in (403, 404)
    # Experiments of one are not the other's.
    names = requests.get(f"{box.url}/mlflow/mlflow-ada/{search}", headers=headers, timeout=20).json()
    assert [e["name"] for e in names.get("experiments", [])] == ["Default"]


def test_a_link_that_the_client_printed_opens_the_boxs_page(box: Box) -> None:
    answer = requests.get(f"{box.url}/mlflow/{NAMESPACE}/", allow_redirects=False, timeout=20)
    assert answer.status_code == 302 and answer.headers["location"] == f"/tracking?ns={NAMESPACE}"


def test_what_was_answered_outlives_a_kill() -> None:
    box = Box()
    try:
        script = f"""
import mlflow, os
mlflow.set_tracking_uri("{box.url}/mlflow/kubeflow")
mlflow.set_experiment("killed")
with mlflow.start_run() as run:
    for i in range(50):
        mlflow.log_metric("loss", i, step=i)
    mlflow.log_text("kept", "a.txt")
    print("RUN", run.info.run_id)
"""
        env = os.environ | {"MLFLOW_TRACKING_TOKEN": box.token}
        done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        (run_id,) = re.findall(r"^RUN (\w+)$", done.stdout, re.M)
        box.kill9()
        box.up()
        root = "/mlflow/kubeflow/api/2.0"
        history = box.get(f"{root}/mlflow/metrics/get-history?run_id={run_id}&metric_key=loss")
        assert [m["value"] for m in history["metrics"]] == list(range(50))
        run = box.get(f"{root}/mlflow/runs/get?run_id={run_id}")["run"]
        path = run["info"]["artifact_uri"].removeprefix("mlflow-artifacts:/")
        assert box.call("GET", f"{root}/mlflow-artifacts/artifacts/{path}/a.txt").text == "kept"
    finally:
        box.close()
