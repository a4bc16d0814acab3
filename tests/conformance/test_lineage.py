"""From a model back to its data, code, image and parameters; from a commit on to all that came of it."""

import json
from typing import Any, Callable

import pytest
from kfp import dsl
from kfp.dsl import Dataset, Input, Model, Output
from model_registry import ModelRegistry

from box import Box, until

NAMESPACE = "kubeflow"
LINEAGE = f"/apis/kfbox.dev/v1alpha1/namespaces/{NAMESPACE}/lineage"


@dsl.component(base_image="python:3.11")
def train(data: Input[Dataset], model: Output[Model], rate: float):
    import pathlib

    rows = (pathlib.Path(data.path) / "train.csv").read_text().splitlines()
    pathlib.Path(model.path).write_text(f"{len(rows)} rows at {rate}")


@dsl.component(base_image="python:3.11")
def aside() -> str:
    return "nothing to do with it"


@dsl.pipeline
def learns(uri: str, rate: float = 0.1):
    found = dsl.importer(artifact_uri=uri, artifact_class=Dataset, reimport=True)
    train(data=found.output, rate=rate)
    aside()


@pytest.fixture(scope="module")
def story(box: Box, s3: Any, run: Callable) -> dict[str, Any]:
    """A commit, a run that trained on it, and the registered model."""
    box.cli("data", "create", "lineage")
    until("the bucket is there", 10, lambda: "lineage" in [b["Name"] for b in s3.list_buckets()["Buckets"]])
    s3.put_object(Bucket="lineage", Key="main/train.csv", Body=b"x,y\n1,2\n")
    uri = box.cli("data", "commit", "lineage", "--message", "rows of today").strip()
    ended = run(learns, uri=uri.rstrip("/"), rate=0.5)
    model = ended.artifact("train", "model")["uri"]
    registry = ModelRegistry(box.url, author="ada", is_secure=False, user_token=box.token)
    registry.register_model("lineage-model", model, version="1.0", model_format_name="text", model_format_version="1")
    return {"uri": uri, "run": ended.id, "model": model, "ended": ended}


def graph(box: Box, of: str, direction: str = "both") -> dict[str, dict]:
    answer = box.call("GET", LINEAGE, params={"of": of, "direction": direction})
    assert answer.status_code == 200, answer.text
    return {node["id"]: node for node in answer.json()["nodes"]}


def test_a_model_leads_back_to_its_commit_code_image_and_parameters(box: Box, story: dict) -> None:
    up = graph(box, "model/lineage-model/1", "up")
    commit = story["uri"].rstrip("/").rsplit("/", 1)[1]
    trained = up[f"run/{story['run']}/train"]
    assert up[f"dataset/lineage@{commit}"]["facts"]["message"] == "rows of today"
    assert trained["facts"]["parameters"] == {"rate": 0.5}
    assert trained["facts"]["image"] == "python:3.11"
    assert trained["facts"]["imageId"].startswith("sha256:")
    assert trained["facts"]["code"].startswith("sha256-")
    # The code is there as it ran.
    spec = box.get(f"/apis/pipelines.kubeflow.org/v2beta1/namespaces/{NAMESPACE}/pipelinespecs/{trained['facts']['code']}")
    assert "rows at" in json.dumps(spec)
    assert not any("aside" in node for node in up)


def test_a_commit_leads_to_what_came_of_it(box: Box, story: dict) -> None:
    commit = story["uri"].rstrip("/").rsplit("/", 1)[1]
    down = graph(box, f"dataset/lineage@{commit}", "down")
    assert {"model/lineage-model/1", f"run/{story['run']}/train"} <= set(down)
    # The artifact by any of its addresses, and a run as a whole.
    assert set(graph(box, story["model"], "down")) == set(graph(box, story["model"].replace("minio://", "s3://"), "down"))
    assert {f"run/{story['run']}/{task}" for task in ("importer", "train", "aside")} <= set(graph(box, f"run/{story['run']}"))


def test_openlineage_events_of_a_run(box: Box, story: dict) -> None:
    events = box.get(f"{LINEAGE}/events?runId={story['run']}")
    trained = [e for e in events if e["job"]["name"] == "train"]
    assert [e["eventType"] for e in trained] == ["START", "COMPLETE"]
    done = trained[1]
    assert done["run"]["facets"]["parent"]["run"]["runId"] == story["run"]
    assert [d["name"] for d in done["inputs"]] == [story["uri"].rstrip("/").split("/", 3)[3]]
    assert done["inputs"][0]["namespace"] == "s3://lineage"
    assert len(done["outputs"]) == 1
    assert [e["eventTime"] for e in events] == sorted(e["eventTime"] for e in events)


def test_bad_questions(box: Box, story: dict) -> None:
    def said(params: dict, status: int) -> str:
        answer = box.call("GET", LINEAGE, params=params)
        assert answer.status_code == status
        return answer.json()["message"]

    assert "of: required" in said({}, 400)
    assert "direction" in said({"of": story["model"], "direction": "sideways"}, 400)
    assert "nothing is known" in said({"of": "s3://nobody/knows/it"}, 404)
    token = box.cli("token", "create", "--user", "ada", "--namespace", "default", "--role", "edit").strip()
    assert box.call("GET", LINEAGE, params={"of": story["model"]}, headers={"Authorization": f"Bearer {token}"}).status_code == 403
    assert box.call("GET", f"{LINEAGE}/events?runId=nobody").status_code == 404
