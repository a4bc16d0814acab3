"""Kubeflow's unmodified registry clients, `model-registry` and the hub of the `kubeflow` SDK, keep models on the box."""

from typing import Any, Iterator

import mlflow
import pytest
import requests
from kubeflow.hub import ModelRegistryClient
from mlflow import MlflowClient
from model_registry import ModelRegistry
from model_registry.types import ArtifactState, DocArtifact, ModelArtifact, RegisteredModelState

from box import Box

API = "/api/model_registry/v1"


@pytest.fixture(scope="module")
def registry(box: Box) -> ModelRegistry:
    return ModelRegistry(box.url, author="ada", is_secure=False, user_token=box.token)


def test_the_quick_start_of_the_client(registry: ModelRegistry) -> None:
    model = registry.register_model(
        "mnist", "s3://models/mnist.onnx", version="2.0.0", version_description="digits", owner="lab",
        model_format_name="onnx", model_format_version="1", storage_key="lab-s3", storage_path="mnist.onnx",
        model_source_kind="kfp", model_source_class="pipelinerun", model_source_id="1234", model_source_name="nightly",
        metadata={"accuracy": 0.98, "epochs": 5, "final": True, "kind": "cnn"},
    )  # fmt: skip
    assert model.id and model.owner == "lab" and model.state == RegisteredModelState.LIVE
    version = registry.get_model_version("mnist", "2.0.0")
    assert (version.name, version.author, version.description) == ("2.0.0", "ada", "digits")
    assert version.custom_properties == {"accuracy": 0.98, "epochs": 5, "final": True, "kind": "cnn"}
    artifact = registry.get_model_artifact("mnist", "2.0.0")
    assert (artifact.uri, artifact.model_format_name, artifact.storage_key) == ("s3://models/mnist.onnx", "onnx", "lab-s3")
    assert (artifact.model_source_kind, artifact.model_source_id) == ("kfp", "1234")
    assert artifact.create_time_since_epoch and artifact.state == ArtifactState.UNKNOWN
    # The same version again is refused by the client, which has asked.
    with pytest.raises(Exception, match="already exists"):
        registry.register_model("mnist", "s3://x", version="2.0.0", model_format_name="onnx", model_format_version="1")

    model.description = "handwritten digits"
    model.custom_properties = {"team": "vision"}
    assert registry.update(model).description == "handwritten digits"
    again = registry.get_registered_model("mnist")
    assert again.custom_properties == {"team": "vision"} and again.id == model.id
    assert int(again.last_update_time_since_epoch) >= int(again.create_time_since_epoch)
    artifact.uri = "s3://models/other.onnx"
    registry.update(artifact)
    assert registry.get_model_artifact("mnist", "2.0.0").uri == "s3://models/other.onnx"
    version.state = type(version.state).ARCHIVED
    assert registry.update(version).state.value == "ARCHIVED"
    assert registry.get_registered_model("nobody") is None
    assert registry.get_model_version("mnist", "9") is None


def test_lists_are_sorted_and_come_in_pages(registry: ModelRegistry, box: Box) -> None:
    for i in range(7):
        registry.register_model(f"many-{i}", f"s3://m/{i}", version="1", model_format_name="x", model_format_version="1", metadata={"n": i})
    for i in range(2, 5):
        registry.register_model("many-0", f"s3://m/0/{i}", version=str(i), model_format_name="x", model_format_version="1")
    names = [m.name for m in registry.get_registered_models().page_size(2).order_by_id() if m.name.startswith("many-")]
    assert names == [f"many-{i}" for i in range(7)]
    newest = [m.name for m in registry.get_registered_models().order_by_creation_time().descending() if m.name.startswith("many-")]
    assert newest == names[::-1]
    # A version that is registered touches its model.
    touched = [m.name for m in registry.get_registered_models().order_by_update_time().descending()]
    assert touched[0] == "many-0"
    assert [v.name for v in registry.get_model_versions("many-0")] == ["1", "2", "3", "4"]

    # The client has no word for the API's filter.
    def found(path: str, query: str) -> list[str]:
        answer = box.call("GET", API + path, params={"filterQuery": query})
        return [item["name"] for item in answer.json()["items"]]

    assert found("/registered_models", "name LIKE 'many-%' AND (name = 'many-3' OR name = 'many-5')") == ["many-3", "many-5"]
    assert found("/model_versions", "customProperties.n.int_value > 4 AND author = 'ada'") == ["1", "1"]


def test_the_hub_of_the_kubeflow_sdk(box: Box) -> None:
    hub = ModelRegistryClient(box.url, author="ada", user_token=box.token)
    hub.register_model(
        "hub", "s3://models/hub", version="1.0", model_format_name="sklearn", model_format_version="1",
        metadata={"a": "b"}, version_description="first",
    )  # fmt: skip
    assert hub.get_model("hub").name == "hub"
    version = hub.get_model_version("hub", "1.0")
    assert version.description == "first"
    assert hub.get_model_artifact("hub", "1.0").uri == "s3://models/hub"
    assert "hub" in [m.name for m in hub.list_models()]
    assert [v.name for v in hub.list_model_versions("hub")] == ["1.0"]
    version.description = "second"
    assert hub.update_model_version(version).description == "second"


def test_other_artifacts_of_a_version(registry: ModelRegistry) -> None:
    registry.register_model("docs", "s3://d", version="1", model_format_name="x", model_format_version="1")
    version = registry.get_model_version("docs", "1")

    def put(artifact: Any) -> Any:
        return registry.async_runner(registry._api.upsert_model_version_artifact(artifact, version.id))

    doc = put(DocArtifact(name="card", uri="s3://d/card.md"))
    assert isinstance(doc, DocArtifact) and doc.id
    doc.uri = "s3://d/card2.md"
    assert put(doc).id == doc.id
    both = registry.async_runner(registry._api.get_model_version_artifacts(version.id))
    assert sorted(type(a).__name__ for a in both) == ["DocArtifact", "ModelArtifact"]
    (only,) = registry.async_runner(registry._api.get_model_artifacts(version.id))
    assert isinstance(only, ModelArtifact)


@pytest.fixture
def mlflow_client(box: Box) -> Iterator[MlflowClient]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_TOKEN", box.token)
        uri = f"{box.url}/mlflow/kubeflow"
        mlflow.set_tracking_uri(uri)
        yield MlflowClient(uri)
        mlflow.set_tracking_uri(None)


def test_what_one_client_registers_the_other_sees(registry: ModelRegistry, mlflow_client: MlflowClient, box: Box) -> None:
    registry.register_model("shared", "s3://models/shared/1", version="v1.0", model_format_name="x", model_format_version="1", metadata={"f1": 0.9})
    seen = mlflow_client.get_model_version("shared", "1")
    assert (seen.source, seen.tags) == ("s3://models/shared/1", {"f1": "0.9"})
    mlflow_client.create_model_version("shared", "s3://models/shared/2", tags={"by": "mlflow"})
    assert registry.get_model_version("shared", "2").custom_properties == {"by": "mlflow"}
    assert registry.get_model_artifact("shared", "2").uri == "s3://models/shared/2"
    mlflow_client.set_registered_model_alias("shared", "champion", "2")
    table = box.kubectl("get", "registeredmodels.kfbox.dev", "-n", "kubeflow")
    assert "champion=2" in table


def test_bad_input_is_named(box: Box) -> None:
    def refused(method: str, path: str, body: dict | None = None, status: int = 400) -> str:
        answer = box.call(method, API + path, json=body)
        assert answer.status_code == status, answer.text
        return answer.json()["message"]

    assert "name" in refused("POST", "/registered_models", {})
    assert "state" in refused("POST", "/registered_models", {"name": "x", "state": "ASLEEP"})
    assert "customProperties.a.metadataType" in refused("POST", "/registered_models", {"name": "x", "customProperties": {"a": {"x": 1}}})
    assert "lastVersion" in refused("POST", "/registered_models", {"name": "x", "lastVersion": 7})
    made = box.call("POST", f"{API}/registered_models", json={"name": "only"})
    assert made.status_code == 201
    assert "exists" in refused("POST", "/registered_models", {"name": "only"}, 409)
    assert "registeredModelId" in refused("POST", "/model_versions", {"name": "1"})
    refused("POST", "/model_versions", {"name": "1", "registeredModelId": "999999"}, 404)
    refused("GET", "/registered_models/none", status=404)
    assert "name or externalId" in refused("GET", "/registered_model")
    assert "parentResourceId" in refused("GET", "/model_version?name=1")
    assert "orderBy" in refused("GET", "/registered_models?orderBy=COLOUR")
    assert "pageSize" in refused("GET", "/registered_models?pageSize=-1")
    assert "nextPageToken" in refused("GET", "/registered_models?nextPageToken=zz")
    assert "filter" in refused("GET", "/registered_models?filterQuery=name%20%3D")
    version = box.call("POST", f"{API}/model_versions", json={"name": "1", "registeredModelId": made.json()["id"]}).json()
    artifacts = f"/model_versions/{version['id']}/artifacts"
    assert "artifactType" in refused("POST", artifacts, {"name": "a"})
    assert "state" in refused("POST", artifacts, {"artifactType": "doc-artifact", "state": "ASLEEP"})
    assert "uri" in refused("POST", artifacts, {"artifactType": "doc-artifact", "uri": 5})
    refused("GET", "/inference_services", status=501)
    refused("POST", "/model_artifacts", {"artifactType": "model-artifact"}, status=501)
    refused("GET", "/nonsense", status=404)
    # Nothing of what was refused is there.
    assert box.get(API + artifacts)["items"] == []


def test_a_namespace_has_its_own_registry(box: Box) -> None:
    box.kubectl("create", "namespace", "mr-ada")
    mine = ModelRegistry(f"{box.url}/model-registry/mr-ada", author="ada", is_secure=False, user_token=box.token)
    mine.register_model("secret-model", "s3://x", version="1", model_format_name="x", model_format_version="1")
    assert [m.name for m in mine.get_registered_models()] == ["secret-model"]
    names = [m["name"] for m in box.get(f"{API}/registered_models?pageSize=1000")["items"]]
    assert "secret-model" not in names
    assert requests.get(f"{box.url}{API}/registered_models", timeout=20).status_code == 401
    assert box.call("GET", f"/model-registry/nowhere{API}/registered_models").status_code == 404
