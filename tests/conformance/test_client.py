"""The SDK's client, unmodified: everything it offers for pipelines, versions, experiments and runs."""

import io
import json
import tarfile
import time
import zipfile

import kfp
import kfp_server_api
import pytest
from kfp import compiler, dsl
from kfp_server_api import ApiException

from box import Box, until


@dsl.container_component
def say(text: str):
    return dsl.ContainerSpec(image="alpine:3", command=["sh", "-c"], args=['echo "$0"', text])


@dsl.container_component
def nap(seconds: int):
    return dsl.ContainerSpec(image="alpine:3", command=["sh", "-c"], args=['sleep "$0"', seconds])


@dsl.pipeline(name="greeting", description="Says a text.")
def greeting(text: str = "hello"):
    say(text=text)


@dsl.pipeline(name="long")
def long(seconds: int = 600):
    say(text="after").after(nap(seconds=seconds))


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, str]:
    """The same pipeline in each form that can be uploaded."""
    folder = tmp_path_factory.mktemp("files")
    compiler.Compiler().compile(greeting, str(folder / "greeting.yaml"))
    text = (folder / "greeting.yaml").read_bytes()
    with zipfile.ZipFile(folder / "greeting.zip", "w") as archive:
        archive.writestr("pipeline.yaml", text)
    with tarfile.open(folder / "greeting.tar.gz", "w:gz") as archive:
        member = tarfile.TarInfo("pipeline.yaml")
        member.size = len(text)
        archive.addfile(member, io.BytesIO(text))
    return {form: str(folder / f"greeting.{form}") for form in ("yaml", "zip", "tar.gz")}


def status_of(refusal: pytest.ExceptionInfo[ApiException]) -> int:
    return refusal.value.status


def test_health_and_paths(client: kfp.Client, box: Box) -> None:
    assert client.get_kfp_healthz().multi_user is False
    behind_prefix = kfp.Client(host=f"{box.url}/pipeline", existing_token=box.token)
    assert behind_prefix.list_experiments().experiments


def test_a_client_without_the_token_is_refused(box: Box) -> None:
    stranger = kfp.Client(host=box.url, existing_token="wrong", namespace="kubeflow")
    with pytest.raises(ApiException) as refusal:
        stranger.list_runs()
    assert status_of(refusal) == 401


@pytest.mark.parametrize("form", ["yaml", "zip", "tar.gz"])
def test_upload_run_delete(client: kfp.Client, files: dict[str, str], form: str, box: Box) -> None:
    name = f"greeting as {form}"
    pipeline = client.upload_pipeline(files[form], pipeline_name=name, description="first")
    assert pipeline.display_name == name and pipeline.description == "first"
    assert client.get_pipeline_id(name) == pipeline.pipeline_id
    (version,) = client.list_pipeline_versions(pipeline.pipeline_id).pipeline_versions
    assert version.pipeline_spec["pipelineInfo"]["name"] == "greeting"
    with pytest.raises(ApiException) as refusal:
        client.upload_pipeline(files[form], pipeline_name=name)
    assert status_of(refusal) == 409

    second = client.upload_pipeline_version(files[form], "second", pipeline_id=pipeline.pipeline_id, description="2nd")
    assert client.get_pipeline_version(pipeline.pipeline_id, second.pipeline_version_id).display_name == "second"
    experiment = client.create_experiment("uploads")
    run = client.run_pipeline(
        experiment.experiment_id,
        "by version",
        # Its own text, or the cache would answer: a stored version is run as it was compiled.
        params={"text": f"bye {form}"},
        pipeline_id=pipeline.pipeline_id,
        version_id=second.pipeline_version_id,
            )
    ended = client.wait_for_run_completion(run.run_id, 60, sleep_duration=0.2)
    assert ended.state == "SUCCEEDED"
    assert ended.pipeline_version_reference.pipeline_version_id == second.pipeline_version_id
    assert box.logs(box.tasks(run.run_id)["say"]).strip() == f"bye {form}"

    with pytest.raises(ApiException) as refusal:
        client.delete_pipeline(pipeline.pipeline_id)
    assert status_of(refusal) == 400, "it still has versions"
    for version in client.list_pipeline_versions(pipeline.pipeline_id).pipeline_versions:
        client.delete_pipeline_version(pipeline.pipeline_id, version.pipeline_version_id)
    client.delete_pipeline(pipeline.pipeline_id)
    assert client.get_pipeline_id(name) is None
    assert client.get_run(run.run_id).state == "SUCCEEDED", "a run outlives its pipeline"


def test_run_from_function_and_file(client: kfp.Client, files: dict[str, str]) -> None:
    made = client.create_run_from_pipeline_func(greeting, arguments={"text": "a"}, experiment_name="from code")
    by_file = client.create_run_from_pipeline_package(files["yaml"], arguments={"text": "b"}, run_name="by file")
    for result in (made, by_file):
        assert result.wait_for_run_completion(60).state == "SUCCEEDED"
    run = client.get_run(made.run_id)
    assert run.runtime_config.parameters == {"text": "a"}
    experiment = client.get_experiment(experiment_name="from code")
    assert run.experiment_id == experiment.experiment_id
    assert client.get_run(by_file.run_id).display_name == "by file"
    details = {task.display_name: task for task in run.run_details.task_details}
    assert details["say"].state == "SUCCEEDED"
    assert [entry.state for entry in run.state_history][-1] == "SUCCEEDED"
    assert run.created_at <= run.finished_at


def test_experiments(client: kfp.Client) -> None:
    made = client.create_experiment("study", description="of something")
    assert client.create_experiment("study").experiment_id == made.experiment_id, "the SDK takes what is there"
    assert client.get_experiment(experiment_name="study").description == "of something"
    client.archive_experiment(made.experiment_id)
    assert client.get_experiment(made.experiment_id).storage_state == "ARCHIVED"
    client.unarchive_experiment(made.experiment_id)
    assert client.get_experiment(made.experiment_id).storage_state == "AVAILABLE"
    client.delete_experiment(made.experiment_id)
    with pytest.raises(ApiException) as refusal:
        client.get_experiment(made.experiment_id)
    assert status_of(refusal) == 404
    assert client.get_experiment(experiment_name="Default")


def test_lists_pages_sorting_filters(client: kfp.Client) -> None:
    experiment = client.create_experiment("lists").experiment_id
    names = [f"run {letter}" for letter in "badec"]
    for name in names:
        run = client.create_run_from_pipeline_func(greeting, run_name=name, experiment_name="lists")
        client.wait_for_run_completion(run.run_id, 60, sleep_duration=0.2)

    def listed(**how) -> list[str]:
        return [run.display_name for run in client.list_runs(experiment_id=experiment, **how).runs or []]

    assert listed(page_size=50) == names, "oldest first"
    assert listed(sort_by="display_name desc", page_size=50) == sorted(names, reverse=True)
    first = client.list_runs(experiment_id=experiment, page_size=2, sort_by="display_name asc")
    seen, token, pages = [run.display_name for run in first.runs], first.next_page_token, 1
    assert first.total_size == 5
    while token:
        page = client.list_runs(experiment_id=experiment, page_size=2, page_token=token, sort_by="display_name asc")
        seen, token, pages = seen + [run.display_name for run in page.runs], page.next_page_token, pages + 1
    assert seen == sorted(names) and pages == 3

    def where(**predicate) -> str:
        return json.dumps({"predicates": [predicate]})

    assert listed(filter=where(operation="EQUALS", key="display_name", stringValue="run d")) == ["run d"]
    assert listed(filter=where(operation=9, key="name", stringValue="run")) == names
    assert listed(filter=where(operation="NOT_EQUALS", key="state", stringValue="SUCCEEDED")) == []
    assert listed(filter=where(operation="IN", key="name", stringValues={"values": ["run a", "run e", "x"]})) == ["run a", "run e"]


def test_terminate_and_retry(client: kfp.Client, box: Box) -> None:
    run = client.create_run_from_pipeline_func(long, enable_caching=False).run_id
    until("the step runs", 30, lambda: box.tasks(run).get("nap", {}).get("status", {}).get("state") == "RUNNING")
    with pytest.raises(ApiException) as refusal:
        kfp_server_api.RunServiceApi(client._run_api.api_client).run_service_retry_run(run)
    assert status_of(refusal) == 400, "it still runs"
    client.terminate_run(run)
    until("it stops", 30, lambda: box.state(run) == "CANCELED")
    until("no container is left", 20, lambda: not box.containers())
    assert "say" not in box.tasks(run) or box.tasks(run)["say"]["status"]["state"] in ("CANCELED", "SKIPPED")
    with pytest.raises(ApiException) as refusal:
        client.terminate_run(run)
    assert status_of(refusal) == 400, "it has ended"


def test_retry_runs_only_what_failed(client: kfp.Client, box: Box, tmp_path) -> None:
    @dsl.container_component
    def once(marker: dsl.Output[dsl.Artifact]):
        return dsl.ContainerSpec(image="alpine:3", command=["sh", "-c"], args=["echo made >$0", marker.path])

    @dsl.container_component
    def fails_at_first(marker: dsl.Input[dsl.Artifact]):
        # What a step leaves beside the artifacts does not last: only time tells a first try from a second.
        return dsl.ContainerSpec(
            image="alpine:3",
            command=["sh", "-c"],
            args=['test $(($(date +%s) - $(stat -c %Y "$0"))) -ge 3', marker.path],
        )

    @dsl.pipeline(name="second-try")
    def second_try():
        say(text="end").after(fails_at_first(marker=once().outputs["marker"]))

    run = client.create_run_from_pipeline_func(second_try, enable_caching=False).run_id
    assert client.wait_for_run_completion(run, 60, sleep_duration=0.2).state == "FAILED"
    before = box.tasks(run)["once"]["metadata"]["uid"]
    time.sleep(3)
    kfp_server_api.RunServiceApi(client._run_api.api_client).run_service_retry_run(run)
    until("it goes on", 60, lambda: box.state(run) == "SUCCEEDED")
    tasks = box.tasks(run)
    assert tasks["once"]["metadata"]["uid"] == before, "what had succeeded stays"
    assert tasks["say"]["status"]["state"] == "SUCCEEDED"


def test_archive_and_delete(client: kfp.Client, box: Box) -> None:
    run = client.create_run_from_pipeline_func(greeting).run_id
    client.wait_for_run_completion(run, 60, sleep_duration=0.2)
    client.archive_run(run)
    assert client.get_run(run).storage_state == "ARCHIVED"
    # Upstream sets the state without looking at it: to do it again is no error.
    client.archive_run(run)
    assert client.get_run(run).storage_state == "ARCHIVED"
    client.unarchive_run(run)
    client.unarchive_run(run)
    assert client.get_run(run).storage_state == "AVAILABLE"
    client.delete_run(run)
    with pytest.raises(ApiException) as refusal:
        client.get_run(run)
    assert status_of(refusal) == 404
    assert box.tasks(run) == {}


def test_the_second_client_of_the_sdk(box: Box) -> None:
    kubeflow_client = pytest.importorskip("kfp.kubeflow_client")
    pipelines = kubeflow_client.PipelinesClient(
        kubeflow_client.KubernetesBackendConfig(base_url=box.url, user_token=box.token)
    )
    assert pipelines is not None
