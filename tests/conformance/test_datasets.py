"""Data sets with versions: commits over S3, in steps, as pipeline inputs; branches, tags, diffs, triggers."""

import json
import subprocess
from typing import Any, Iterator

import kfp
import pandas
import pytest
from kfp import dsl
from kfp.dsl import Dataset, Input

from box import Box, until
from s3_client import connect, refused

NAMESPACE = "kubeflow"


@pytest.fixture
def data(box: Box, s3: Any, request: pytest.FixtureRequest) -> Iterator[str]:
    """A data set of the test's own, named after it."""
    name = request.node.name.removeprefix("test_").replace("_", "-")[:60].strip("-")
    assert box.cli("data", "create", name, "--description", "a test's").strip() == f"s3://{name}/main/"
    until("the bucket is there", 10, lambda: name in [b["Name"] for b in s3.list_buckets()["Buckets"]])
    yield name


def put(s3: Any, name: str, files: dict[str, str]) -> None:
    for key, text in files.items():
        s3.put_object(Bucket=name, Key=key, Body=text.encode())


def get(s3: Any, uri: str) -> str:
    bucket, key = uri.removeprefix("s3://").split("/", 1)
    return s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode()


def commit(box: Box, name: str, message: str = "", *options: str) -> str:
    """Answers the commit's URI."""
    return box.cli("data", "commit", name, "--message", message, "--author", "ada", *options).strip()


def test_commits_do_not_change(box: Box, s3: Any, data: str) -> None:
    put(s3, data, {"main/a.csv": "x,y\n1,2\n", "main/deep/b.txt": "b", "main/c.txt": "c"})
    first = commit(box, data, "first")
    put(s3, data, {"main/a.csv": "x,y\n3,4\n", "main/new.txt": "new"})
    s3.delete_object(Bucket=data, Key="main/c.txt")
    second = commit(box, data, "second")
    assert first != second
    assert get(s3, first + "a.csv") == "x,y\n1,2\n" and get(s3, first + "c.txt") == "c"
    assert get(s3, second + "a.csv") == "x,y\n3,4\n"
    keys = [o["Key"].split("/", 1)[1] for o in s3.list_objects_v2(Bucket=data, Prefix=second.split("/", 3)[3])["Contents"]]
    assert keys == ["a.csv", "deep/b.txt", "new.txt"]
    # Nobody changes them: not over S3 in any way.
    prefix = first.removeprefix(f"s3://{data}/")
    for call, how in [
        (s3.put_object, {"Key": prefix + "a.csv", "Body": b"no"}),
        (s3.delete_object, {"Key": prefix + "a.csv"}),
        (s3.put_object, {"Key": prefix + "more.csv", "Body": b"no"}),
        (s3.put_object, {"Key": "elsewhere/x", "Body": b"no"}),
        (s3.put_object, {"Key": "main", "Body": b"no"}),
        (s3.create_multipart_upload, {"Key": prefix + "a.csv"}),
        (s3.copy_object, {"Key": prefix + "a.csv", "CopySource": f"{data}/main/new.txt"}),
        (s3.put_object_tagging, {"Key": prefix + "a.csv", "Tagging": {"TagSet": []}}),
    ]:
        assert "data set" in refused("AccessDenied", call, Bucket=data, **how)
    gone = s3.delete_objects(Bucket=data, Delete={"Objects": [{"Key": prefix + "a.csv"}, {"Key": "main/new.txt"}]})
    assert [e["Key"] for e in gone["Errors"]] == [prefix + "a.csv"]
    assert get(s3, first + "a.csv") == "x,y\n1,2\n"

    assert box.cli("data", "diff", data, prefix.strip("/"), second.rstrip("/").rsplit("/", 1)[1]).splitlines() == ["~ a.csv", "- c.txt", "+ new.txt"]
    # Alone: beside its parent. And what is not committed yet.
    assert box.cli("data", "diff", data, prefix.strip("/")).splitlines() == ["+ a.csv", "+ c.txt", "+ deep/b.txt"]
    assert box.cli("data", "diff", data, second.rstrip("/").rsplit("/", 1)[1], "main").splitlines() == ["- new.txt"]
    log = box.cli("data", "log", data).splitlines()
    assert "second" in log[1] or "second" in log[2]
    assert "+1 ~1 -1" in "\n".join(log)
    assert "first" in box.kubectl("get", "dsc", "-n", NAMESPACE)


def test_equal_bytes_are_kept_once(box: Box, s3: Any, data: str) -> None:
    big = "0123456789" * 100_000

    def stored() -> int:
        done = subprocess.run(["du", "-s", "--block-size=1", box.data / "artifacts"], capture_output=True, text=True, check=True)
        return int(done.stdout.split()[0])

    put(s3, data, {"main/one.bin": big})
    commit(box, data)
    before = stored()
    put(s3, data, {"main/two.bin": big, "main/three.bin": big})
    commit(box, data)
    for i in range(5):
        put(s3, data, {"main/small.txt": str(i)})
        commit(box, data)
    assert stored() - before < len(big)
    listed = json.loads(box.cli("data", "log", data, "--output", "json"))
    assert len(listed) == 7 and all(c["status"]["phase"] == "Ready" for c in listed)


def test_a_commit_of_nothing_new_stands_for_its_parent(box: Box, s3: Any, data: str) -> None:
    put(s3, data, {"main/a": "1"})
    first = commit(box, data)
    put(s3, data, {"main/a": "1"})
    assert commit(box, data) == first


def test_branches_and_tags(box: Box, s3: Any, data: str) -> None:
    put(s3, data, {"main/a": "1", "main/b": "2"})
    first = commit(box, data)
    box.cli("data", "tag", data, "v1.0", first.rstrip("/").rsplit("/", 1)[1])
    put(s3, data, {"main/a": "changed"})
    assert box.cli("data", "branch", data, "trial", "--from", "v1.0").strip() == f"s3://{data}/trial/"
    until("the branch is there", 10, lambda: "Contents" in s3.list_objects_v2(Bucket=data, Prefix="trial/"))
    assert get(s3, f"s3://{data}/trial/a") == "1"
    put(s3, data, {"trial/c": "3"})
    tried = commit(box, data, "tried", "--branch", "trial")
    assert box.cli("data", "diff", data, "v1.0", tried.rstrip("/").rsplit("/", 1)[1]).splitlines() == ["+ c"]
    # What a tag names stays.
    (name,) = [c["metadata"]["name"] for c in json.loads(box.cli("data", "log", data, "--output", "json")) if c["status"]["uri"] == first]
    box.kubectl("delete", "datasetcommit", name, "-n", NAMESPACE, "--wait=false")
    until("it says why it stays", 10, lambda: "v1.0" in box.get(f"/apis/kfbox.dev/v1alpha1/namespaces/{NAMESPACE}/datasetcommits/{name}")["status"].get("message", ""))
    assert get(s3, first + "a") == "1"
    box.cli("data", "tag", data, "v1.0")
    box.kubectl("wait", "--for=delete", f"datasetcommit/{name}", "-n", NAMESPACE, "--timeout=20s")
    refused("NoSuchKey", s3.get_object, Bucket=data, Key=first.removeprefix(f"s3://{data}/") + "a")
    assert get(s3, tried + "c") == "3"


def test_bad_input_is_named(box: Box, data: str) -> None:
    def refusal(**spec: Any) -> str:
        manifest = {"apiVersion": "kfbox.dev/v1alpha1", "kind": "Dataset", "metadata": {"name": data}, "spec": spec}
        return box.kubectl("apply", "-n", NAMESPACE, "-f", "-", stdin=json.dumps(manifest), check=False)

    assert "spec.branches[0].name" in refusal(branches=[{"name": "a/b"}])
    assert "every data set has it" in refusal(branches=[{"name": "main"}])
    assert "could be the id of a commit" in refusal(branches=[{"name": "0123456789ab"}])
    assert "spec.tags[x]" in refusal(tags={"x": "nonsense"})
    assert "spec.triggers[0].pipelineId" in refusal(triggers=[{}])
    assert "spec.triggers[0].branch" in refusal(triggers=[{"pipelineId": "p", "branch": "nope"}])
    assert "no branch nope" in box.cli("data", "commit", data, "--branch", "nope", check=False)
    assert "not found" in box.cli("data", "commit", "nobody-knows-it", check=False)
    assert "at least" in box.cli("data", "create", "X", check=False) or "metadata.name" in box.cli("data", "create", "X", check=False)
    # The bucket of another namespace.
    box.kubectl("create", "namespace", "data-bob")
    box.cli("data", "create", data, "--namespace", "data-bob")
    where = f"/apis/kfbox.dev/v1alpha1/namespaces/data-bob/datasets/{data}"
    until("it says why", 10, lambda: "another namespace" in box.get(where).get("status", {}).get("message", ""))
    box.kubectl("delete", "dataset", data, "-n", "data-bob", "--timeout=20s")
    diff = f"/apis/kfbox.dev/v1alpha1/namespaces/{NAMESPACE}/datasets/{data}/diff"
    assert "to: required" in box.call("GET", diff).json()["message"]
    made = box.cli("token", "create", "--user", "bob", "--namespace", "data-bob", "--role", "edit").strip()
    assert box.call("GET", diff + "?to=main", headers={"Authorization": f"Bearer {made}"}).status_code == 403


def test_a_deleted_data_set_leaves_its_bucket(box: Box, s3: Any, data: str) -> None:
    put(s3, data, {"main/a": "1"})
    first = commit(box, data)
    box.kubectl("delete", "dataset", data, "-n", NAMESPACE, "--timeout=30s")
    refused("NoSuchKey", s3.get_object, Bucket=data, Key=first.removeprefix(f"s3://{data}/") + "a")
    assert get(s3, f"s3://{data}/main/a") == "1"
    put(s3, data, {"anywhere": "again"})
    assert data not in box.kubectl("get", "dsc", "-n", NAMESPACE)


@dsl.component(base_image="python:3.11")
def read(data: Input[Dataset]) -> str:
    import pathlib

    folder = pathlib.Path(data.path)
    try:
        (folder / "more").write_text("no")
    except OSError:
        return ",".join(f"{p.name}={p.read_text()}" for p in sorted(folder.iterdir()))
    return "it could be written to"


@dsl.pipeline
def reads(uri: str) -> str:
    found = dsl.importer(artifact_uri=uri, artifact_class=Dataset, reimport=True)
    return read(data=found.output).output


def test_a_commit_is_the_input_of_a_pipeline(box: Box, s3: Any, data: str, run) -> None:
    put(s3, data, {"main/a.txt": "before"})
    first = commit(box, data)
    put(s3, data, {"main/a.txt": "after"})
    ended = run(reads, uri=first.rstrip("/"))
    assert ended.output("read") == "a.txt=before"


@dsl.component(base_image="python:3.11")
def make(data: dsl.Output[Dataset]):
    import pathlib

    folder = pathlib.Path(data.path)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "made.txt").write_text("by a step")


@dsl.pipeline
def makes():
    make()


def test_what_a_step_leaves_in_a_branch_is_committed(box: Box, s3: Any, data: str, client: kfp.Client) -> None:
    started = client.create_run_from_pipeline_func(makes, arguments={}, enable_caching=False, pipeline_root=f"s3://{data}/main/out")
    ended = client.wait_for_run_completion(started.run_id, 120, sleep_duration=0.2)
    assert ended.state == "SUCCEEDED"
    uri = commit(box, data, "made by a run")
    found = s3.list_objects_v2(Bucket=data, Prefix=uri.removeprefix(f"s3://{data}/"))["Contents"]
    (key,) = [o["Key"] for o in found if o["Key"].endswith("made.txt")]
    assert get(s3, f"s3://{data}/{key}") == "by a step"


def test_a_commit_starts_a_pipeline(box: Box, s3: Any, data: str, client: kfp.Client, tmp_path) -> None:
    file = tmp_path / "reads.yaml"
    kfp.compiler.Compiler().compile(reads, str(file))
    pipeline = client.upload_pipeline(str(file), pipeline_name=data)
    trigger = {"pipelineId": pipeline.pipeline_id, "parameters": {"uri": "s3://$(dataset)/$(commit.id)"}}
    box.kubectl("patch", "dataset", data, "-n", NAMESPACE, "--type=merge", "-p", json.dumps({"spec": {"triggers": [trigger]}}))
    put(s3, data, {"main/a.txt": "new"})
    uri = commit(box, data)
    (made,) = json.loads(box.cli("data", "log", data, "--output", "json"))
    assert "message" not in made["status"], made
    (run_id,) = made["status"]["runs"]
    ended = client.wait_for_run_completion(run_id, 120, sleep_duration=0.2)
    assert ended.state == "SUCCEEDED"
    assert box.tasks(run_id)["read"]["status"]["outputs"]["parameters"]["Output"] == "a.txt=new"
    where = f"/apis/pipelines.kubeflow.org/v2beta1/namespaces/{NAMESPACE}/runs/{run_id}"
    assert box.get(where)["metadata"]["annotations"]["kfbox.dev/commit"] == f"{data}@{made['status']['id']}"
    # Nothing new, nothing runs.
    assert commit(box, data) == uri
    runs = [c["status"].get("runs", []) for c in json.loads(box.cli("data", "log", data, "--output", "json"))]
    assert sorted(map(len, runs)) == [0, 1]
    # A pipeline that cannot be started does not stop the commit.
    box.kubectl("patch", "dataset", data, "-n", NAMESPACE, "--type=merge", "-p", json.dumps({"spec": {"triggers": [{"pipelineId": "nobody"}]}}))
    put(s3, data, {"main/a.txt": "newer"})
    assert commit(box, data) != uri


def test_pandas_reads_a_commit(box: Box, s3: Any, data: str, key) -> None:
    put(s3, data, {"main/train.csv": "x,y\n1,2\n3,4\n"})
    uri = commit(box, data)
    storage = {"key": key[0], "secret": key[1], "client_kwargs": {"endpoint_url": box.s3}}
    frame = pandas.read_csv(uri + "train.csv", storage_options=storage)
    assert frame.y.tolist() == [2, 4]
    frame.to_parquet(f"s3://{data}/main/train.parquet", storage_options=storage)
    again = pandas.read_parquet(commit(box, data) + "train.parquet", storage_options=storage)
    assert again.equals(frame)


def test_a_commit_outlives_a_kill(tmp_path) -> None:
    box = Box()
    try:
        s3 = connect(box, box.key("tests"))
        box.cli("data", "create", "killed")
        until("the bucket is there", 10, lambda: "killed" in [b["Name"] for b in s3.list_buckets()["Buckets"]])
        for i in range(300):
            s3.put_object(Bucket="killed", Key=f"main/{i:04}", Body=str(i).encode())
        manifest = {"apiVersion": "kfbox.dev/v1alpha1", "kind": "DatasetCommit", "metadata": {"name": "first"}, "spec": {"dataset": "killed"}}
        box.kubectl("create", "-n", NAMESPACE, "-f", "-", stdin=json.dumps(manifest))
        box.kill9()
        box.up()
        path = f"/apis/kfbox.dev/v1alpha1/namespaces/{NAMESPACE}/datasetcommits/first"
        done = until("it is made", 30, lambda: (found := box.get(path)).get("status", {}).get("uri") and found)
        assert done["status"]["phase"] == "Ready" and done["status"]["objects"] == 300
        s3 = connect(box, box.key("again"))
        assert get(s3, done["status"]["uri"] + "0299") == "299"
    finally:
        box.close()
