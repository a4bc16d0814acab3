"""Input that must be refused: a 4xx that names the field and the mend, and the box goes on."""

import io
import json
import tarfile
import zipfile
from typing import Any, Iterator

import kfp
import pytest
import yaml
from kfp import compiler, dsl
from kfp_server_api import ApiException

from box import Box

UPLOAD = "/apis/v2beta1/pipelines/upload"


@dsl.container_component
def hello(text: str):
    return dsl.ContainerSpec(image="alpine:3", command=["echo"], args=[text])


@dsl.pipeline(name="hello")
def pipeline(text: str, times: int = 1):
    hello(text=text)


@pytest.fixture(scope="module")
def spec(tmp_path_factory) -> dict[str, Any]:
    file = tmp_path_factory.mktemp("spec") / "hello.yaml"
    compiler.Compiler().compile(pipeline, str(file))
    return yaml.safe_load(file.read_text())


@pytest.fixture(autouse=True)
def goes_on(box: Box) -> Iterator[None]:
    """After whatever a test did, the same daemon answers, and is not swollen."""
    pid = box.daemon.pid
    yield
    assert box.daemon.poll() is None and box.daemon.pid == pid, box.log()
    assert box.call("GET", "/apis/v2beta1/healthz").status_code == 200
    assert box.memory("VmRSS") < 200 << 20


def upload(box: Box, name: str, content: bytes) -> tuple[int, str]:
    answer = box.call("POST", UPLOAD, params={"name": name}, files={"uploadfile": (name, content)})
    return answer.status_code, answer.json().get("error_message", "")


def run(box: Box, spec: Any, **parameters: Any) -> tuple[int, str]:
    body = {"display_name": "bad", "pipeline_spec": spec, "runtime_config": {"parameters": parameters}}
    answer = box.call("POST", "/apis/v2beta1/runs", json=body)
    return answer.status_code, answer.json().get("message", "")


def zipped(**files: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def test_empty_file(box: Box) -> None:
    code, message = upload(box, "empty.yaml", b"")
    assert code == 400 and "empty" in message


def test_no_file(box: Box) -> None:
    answer = box.call("POST", UPLOAD, files={"other": b"x"})
    assert answer.status_code == 400 and "uploadfile" in answer.text


def test_not_yaml(box: Box) -> None:
    code, message = upload(box, "broken.yaml", b"root: [1\npipelineInfo: {")
    assert code == 400 and "line" in message


def test_foreign_yaml(box: Box) -> None:
    code, message = upload(box, "deployment.yaml", b"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n")
    assert code == 400 and ("pipelineInfo" in message or "kfp" in message)


def test_alias_bomb(box: Box) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    code, message = upload(box, "bomb.yaml", "\n".join(lines).encode())
    assert code == 400 and message


def test_deep_nesting(box: Box) -> None:
    code, message = upload(box, "deep.yaml", b"[" * 100_000)
    assert code == 400 and message


def test_hundred_mebibytes(box: Box) -> None:
    code, message = upload(box, "huge.yaml", b"x" * (100 << 20))
    assert code == 413 and "32 MiB" in message


def test_zip_bomb(box: Box) -> None:
    code, message = upload(box, "bomb.zip", zipped(**{"pipeline.yaml": b" " * (200 << 20)}))
    assert code in (400, 413) and message


@pytest.mark.parametrize("name", ["../../evil.yaml", "/etc/evil.yaml", "a/../../evil.yaml"])
def test_zip_that_climbs_out(box: Box, name: str) -> None:
    code, message = upload(box, "climb.zip", zipped(**{name: b"x: 1"}))
    assert code == 400 and message
    assert not list(box.folder.rglob("evil.yaml"))


def test_tar_with_a_link(box: Box) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        link = tarfile.TarInfo("pipeline.yaml")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    code, message = upload(box, "link.tar.gz", out.getvalue())
    assert code == 400 and "root:" not in message


def test_cycle(box: Box, spec: dict[str, Any]) -> None:
    looped = json.loads(json.dumps(spec))
    tasks = looped["root"]["dag"]["tasks"]
    tasks["again"] = json.loads(json.dumps(tasks["hello"]))
    tasks["hello"]["dependentTasks"], tasks["again"]["dependentTasks"] = ["again"], ["hello"]
    code, message = run(box, looped, text="x")
    assert code == 400 and "again" in message and "hello" in message
    code, message = upload(box, "cycle.json", json.dumps(looped).encode())
    assert code == 400 and "cycl" in message.lower() or "each other" in message


def test_dangling_references(box: Box, spec: dict[str, Any]) -> None:
    def broken(change) -> tuple[int, str]:
        copy = json.loads(json.dumps(spec))
        change(copy)
        return run(box, copy, text="x")

    def component(s): s["root"]["dag"]["tasks"]["hello"]["componentRef"]["name"] = "comp-nowhere"
    def executor(s): s["components"]["comp-hello"]["executorLabel"] = "exec-nowhere"
    def producer(s):
        s["root"]["dag"]["tasks"]["hello"]["inputs"]["parameters"]["text"] = {
            "taskOutputParameter": {"producerTask": "task-nowhere", "outputParameterKey": "x"}
        }
    for change in (component, executor, producer):
        code, message = broken(change)
        assert code == 400 and "nowhere" in message, message


def test_parameters(box: Box, spec: dict[str, Any]) -> None:
    code, message = run(box, spec)
    assert code == 400 and "text" in message
    code, message = run(box, spec, text="x", txet="y")
    assert code == 400 and "txet" in message
    code, message = run(box, spec, text="x", times="many")
    assert code == 400 and "times" in message
    code, message = run(box, spec, text="x", times=1.5)
    assert code == 400 and "times" in message


def test_the_sdk_shows_the_reason(client: kfp.Client) -> None:
    with pytest.raises(ApiException) as refusal:
        client.create_run_from_pipeline_func(pipeline, arguments={"text": "x", "colour": "blue"})
    assert refusal.value.status == 400
    body = json.loads(refusal.value.body)
    assert body["code"] == 3 and "colour" in body["message"] and body["details"][0]["@type"].endswith("Status")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"pipeline_spec": 3}', b'{"surprise": 1}'])
def test_run_bodies(box: Box, body: bytes) -> None:
    answer = box.call("POST", "/apis/v2beta1/runs", data=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400 and answer.json()["message"]


def test_unknown_ids(box: Box) -> None:
    base = "/apis/v2beta1"
    for path in ("/runs/x", "/experiments/x", "/pipelines/x", "/pipelines/x/versions/y"):
        assert box.call("GET", base + path).status_code == 404, path
    for verb in ("archive", "unarchive", "terminate", "retry"):
        assert box.call("POST", f"{base}/runs/x:{verb}").status_code == 404, verb
    body = {"display_name": "x", "pipeline_version_reference": {"pipeline_id": "no", "pipeline_version_id": "no"}}
    answer = box.call("POST", f"{base}/runs", json=body)
    assert answer.status_code in (400, 404) and "no" in answer.json()["message"]


@pytest.mark.parametrize("query", [
    "page_size=-1", "page_size=x", "page_token=xyz", "sort_by=colour", "sort_by=created_at sideways",
    'filter={"predicates":[{"operation":1,"key":"colour","stringValue":"x"}]}', "filter={", 'filter={"predicates":3}',
])  # fmt: skip
def test_list_queries(box: Box, query: str) -> None:
    key, value = query.split("=", 1)
    answer = box.call("GET", "/apis/v2beta1/runs", params={key: value})
    assert answer.status_code == 400 and answer.json()["message"], answer.text


@pytest.mark.parametrize("path", [
    "minio/mlpipeline/../../../meta.redb", "minio/mlpipeline/%2e%2e/%2e%2e/admin.token",
    "minio/mlpipeline/..%2f..%2f..%2fadmin.token", "minio/..", "minio//etc/passwd", "file/etc/passwd",
    "minio/mlpipeline/%00", "minio/mlpipeline/" + "a" * 5000,
])  # fmt: skip
def test_paths_stay_inside_the_store(box: Box, path: str) -> None:
    import http.client

    host = box.url.removeprefix("http://")
    connection = http.client.HTTPConnection(host)
    # requests would tidy the path up before it is sent.
    connection.putrequest("GET", f"/artifacts/{path}", skip_accept_encoding=True)
    connection.putheader("Authorization", f"Bearer {box.token}")
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read()
    assert answer.status in (400, 403, 404, 414), body
    assert box.token.encode() not in body and b"root:" not in body
