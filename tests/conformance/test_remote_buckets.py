"""Buckets of other servers, read through: another box over S3, Azure by Microsoft's own Azurite, and WebDAV."""

import base64
import json
import pathlib
import socket
import subprocess
import sys
from typing import Any, Iterator

import pytest
import requests
from azure.storage.blob import BlobServiceClient
from kfp import dsl
from kfp.dsl import Dataset, Input

from box import Box, until
from s3_client import connect, refused

NAMESPACE = "kubeflow"


@pytest.fixture(scope="module")
def other() -> Iterator[Box]:
    box = Box()
    yield box
    box.close()


def secret(box: Box, name: str, values: dict[str, str]) -> None:
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": NAMESPACE}, "data": data}
    box.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))


def mount(box: Box, name: str, phase: str = "Ready", **spec: str) -> dict:
    manifest = {"apiVersion": "kfbox.dev/v1alpha1", "kind": "RemoteBucket", "metadata": {"name": name}, "spec": {"namespace": NAMESPACE} | spec}
    box.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
    where = f"/apis/kfbox.dev/v1alpha1/remotebuckets/{name}"
    return until(f"it is {phase}", 40, lambda: (found := box.get(where)).get("status", {}).get("phase") == phase and found)


@pytest.fixture(scope="module")
def there(other: Box) -> Any:
    """The other box's S3, with something in it."""
    s3 = connect(other, other.key("owner"))
    s3.create_bucket(Bucket="lab")
    for key in ["data/a.csv", "data/deep/b.txt", "data/deep/c.txt", "other.txt", "data/ü 1.txt"]:
        s3.put_object(Bucket="lab", Key=key, Body=key.encode(), ContentType="text/x-test")
    s3.put_object(Bucket="lab", Key="data/big.bin", Body=b"0123456789" * 7_000_000)
    return s3


@pytest.fixture(scope="module")
def mounted(box: Box, other: Box, there: Any) -> str:
    key = other.key("reader", "--bucket", "lab", "--role", "view")
    secret(box, "other-box", {"AWS_ACCESS_KEY_ID": key[0], "AWS_SECRET_ACCESS_KEY": key[1]})
    mount(box, "from-the-lab", url="s3://lab/data", endpoint=other.s3, secretName="other-box")
    return "from-the-lab"


def test_another_box_is_read_through(s3: Any, there: Any, mounted: str) -> None:
    keys = [o["Key"] for o in s3.list_objects_v2(Bucket=mounted)["Contents"]]
    assert keys == ["a.csv", "big.bin", "deep/b.txt", "deep/c.txt", "ü 1.txt"]
    page = s3.list_objects_v2(Bucket=mounted, Delimiter="/")
    assert [p["Prefix"] for p in page["CommonPrefixes"]] == ["deep/"]
    assert [o["Key"] for o in page["Contents"]] == ["a.csv", "big.bin", "ü 1.txt"]
    assert [o["Key"] for o in s3.list_objects_v2(Bucket=mounted, Prefix="deep/")["Contents"]] == ["deep/b.txt", "deep/c.txt"]
    pages = list(s3.get_paginator("list_objects_v2").paginate(Bucket=mounted, PaginationConfig={"PageSize": 2}))
    assert [o["Key"] for p in pages for o in p["Contents"]] == keys and len(pages) == 3
    for _ in range(2):
        got = s3.get_object(Bucket=mounted, Key="deep/b.txt")
        assert got["Body"].read() == b"data/deep/b.txt"
        assert got["ETag"] == there.head_object(Bucket="lab", Key="data/deep/b.txt")["ETag"]
    assert s3.get_object(Bucket=mounted, Key="ü 1.txt")["Body"].read() == "data/ü 1.txt".encode()
    # A part of a large one is only that part.
    part = s3.get_object(Bucket=mounted, Key="big.bin", Range="bytes=69999995-69999999")
    assert part["Body"].read() == b"56789" and part["ContentRange"] == "bytes 69999995-69999999/70000000"
    assert s3.head_object(Bucket=mounted, Key="big.bin")["ContentLength"] == 70_000_000
    whole = s3.get_object(Bucket=mounted, Key="big.bin")["Body"].read()
    assert len(whole) == 70_000_000 and whole[:10] == b"0123456789"
    refused("NoSuchKey", s3.get_object, Bucket=mounted, Key="nothing")
    refused("NoSuchKey", s3.get_object, Bucket=mounted, Key="../other.txt")
    # A copy of it is the box's own.
    s3.create_bucket(Bucket="own-copy")
    s3.copy_object(Bucket="own-copy", Key="a.csv", CopySource=f"{mounted}/a.csv")
    assert s3.get_object(Bucket="own-copy", Key="a.csv")["Body"].read() == b"data/a.csv"


def test_what_changes_there_changes_here(s3: Any, there: Any, mounted: str) -> None:
    there.put_object(Bucket="lab", Key="data/changing", Body=b"first")
    assert s3.get_object(Bucket=mounted, Key="changing")["Body"].read() == b"first"
    there.put_object(Bucket="lab", Key="data/changing", Body=b"second!")
    until("the change is seen", 15, lambda: s3.get_object(Bucket=mounted, Key="changing")["Body"].read() == b"second!")
    there.delete_object(Bucket="lab", Key="data/changing")

    def gone() -> bool:
        try:
            s3.head_object(Bucket=mounted, Key="changing")
        except Exception as e:
            return "404" in str(e)
        return False

    until("it is gone", 15, gone)


def test_nothing_is_written_there(s3: Any, mounted: str) -> None:
    for call, how in [
        (s3.put_object, {"Key": "a.csv", "Body": b"no"}),
        (s3.delete_object, {"Key": "a.csv"}),
        (s3.create_multipart_upload, {"Key": "x"}),
        (s3.delete_bucket, {}),
    ]:
        assert "another server" in refused("AccessDenied", call, Bucket=mounted, **how)


@dsl.component(base_image="python:3.11")
def read(data: Input[Dataset]) -> str:
    import pathlib

    return ",".join(sorted(p.read_text() for p in pathlib.Path(data.path).rglob("*") if p.is_file()))


@dsl.pipeline
def reads(uri: str) -> str:
    found = dsl.importer(artifact_uri=uri, artifact_class=Dataset, reimport=True)
    return read(data=found.output).output


def test_a_pipeline_reads_it_as_files(mounted: str, run) -> None:
    assert run(reads, uri=f"s3://{mounted}/deep").output("read") == "data/deep/b.txt,data/deep/c.txt"


def test_what_is_wrong_is_said(box: Box, other: Box, s3: Any, there: Any) -> None:
    where = {"endpoint": other.s3}
    secret(box, "wrong-keys", {"AWS_ACCESS_KEY_ID": "nobody.kubeflow", "AWS_SECRET_ACCESS_KEY": "x"})
    assert "InvalidAccessKeyId" in mount(box, "wrong-secret", "Failed", url="s3://lab", secretName="wrong-keys", **where)["status"]["message"]
    assert "no Secret" in mount(box, "no-secret", "Failed", url="s3://lab", secretName="nobody", **where)["status"]["message"]
    assert "ftp" in mount(box, "wrong-scheme", "Failed", url="ftp://lab")["status"]["message"]
    assert "does not give" in mount(box, "nobody-there", "Failed", url="s3://lab", endpoint="http://127.0.0.1:1")["status"]["message"]
    s3.create_bucket(Bucket="already-here")
    assert "already" in mount(box, "already-here", "Failed", url="s3://lab", **where)["status"]["message"]
    s3.put_object(Bucket="already-here", Key="a", Body=b"stays")
    box.kubectl("delete", "remotebucket", "already-here", "--timeout=20s")
    assert s3.get_object(Bucket="already-here", Key="a")["Body"].read() == b"stays"
    refused("ServiceUnavailable", s3.list_objects_v2, Bucket="nobody-there")
    for name in ["wrong-secret", "no-secret", "wrong-scheme", "nobody-there"]:
        box.kubectl("delete", "remotebucket", name, "--timeout=20s")
    refused("NoSuchBucket", s3.list_objects_v2, Bucket="nobody-there")
    # Only who administers the box: the box itself asks the server.
    token = box.cli("token", "create", "--user", "ada", "--namespace", NAMESPACE, "--role", "edit").strip()
    body = {"apiVersion": "kfbox.dev/v1alpha1", "kind": "RemoteBucket", "metadata": {"name": "hers"}, "spec": {"namespace": NAMESPACE, "url": "http://127.0.0.1/"}}
    made = box.call("POST", "/apis/kfbox.dev/v1alpha1/remotebuckets", json=body, headers={"Authorization": f"Bearer {token}"})
    assert made.status_code == 403


def test_after_a_kill_it_is_there_again(other: Box, there: Any) -> None:
    box = Box()
    try:
        key = other.key("again", "--bucket", "lab", "--role", "view")
        secret(box, "other-box", {"AWS_ACCESS_KEY_ID": key[0], "AWS_SECRET_ACCESS_KEY": key[1]})
        mount(box, "from-the-lab", url="s3://lab/data/deep", endpoint=other.s3, secretName="other-box")
        mine = box.key("tests")
        assert connect(box, mine).get_object(Bucket="from-the-lab", Key="b.txt")["Body"].read() == b"data/deep/b.txt"
        box.kill9()
        box.up()
        s3 = connect(box, mine)

        def read() -> bool:
            try:
                return s3.get_object(Bucket="from-the-lab", Key="c.txt")["Body"].read() == b"data/deep/c.txt"
            except Exception as e:
                assert "no way yet" in str(e), e
                return False

        until("it can be read again", 20, read)
    finally:
        box.close()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def answers(method: str, url: str) -> bool:
    try:
        return requests.request(method, url, timeout=2).status_code < 500
    except requests.RequestException:
        return False


AZURITE = "azurite@3.35.0"
# Azurite's account, the same for everybody.
ACCOUNT = "devstoreaccount1"
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@pytest.fixture(scope="module")
def azurite() -> Iterator[str]:
    """Azurite, Microsoft's stand-in for Azure storage, from npm."""
    folder = pathlib.Path(sys.prefix).parent / "azurite"
    program = folder / "node_modules/.bin/azurite-blob"
    if not program.exists():
        command = ["npm", "install", "--prefix", folder, "--no-audit", "--no-fund", "--loglevel=error", AZURITE]
        subprocess.run(command, check=True, timeout=300)
    port = free_port()
    command = [program, "--inMemoryPersistence", "--silent", "--skipApiVersionCheck", "--blobHost", "127.0.0.1", "--blobPort", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}/{ACCOUNT}"
    until("Azurite answers", 30, lambda: answers("GET", url))
    yield url
    server.terminate()
    server.wait()


def test_an_azure_container(box: Box, s3: Any, azurite: str) -> None:
    container = BlobServiceClient(azurite, credential=ACCOUNT_KEY).create_container("lab")
    for name in ["sets/a.csv", "sets/deep/b.txt", "z.txt"]:
        container.upload_blob(name, name.encode())
    secret(box, "azure", {"AZURE_STORAGE_ACCOUNT": ACCOUNT, "AZURE_STORAGE_KEY": ACCOUNT_KEY})
    mount(box, "from-azure", url="az://lab/sets", endpoint=azurite, secretName="azure")
    assert [o["Key"] for o in s3.list_objects_v2(Bucket="from-azure")["Contents"]] == ["a.csv", "deep/b.txt"]
    page = s3.list_objects_v2(Bucket="from-azure", Delimiter="/")
    assert [p["Prefix"] for p in page["CommonPrefixes"]] == ["deep/"]
    assert s3.get_object(Bucket="from-azure", Key="deep/b.txt")["Body"].read() == b"sets/deep/b.txt"
    assert s3.get_object(Bucket="from-azure", Key="a.csv", Range="bytes=5-9")["Body"].read() == b"a.csv"


@pytest.fixture(scope="module")
def webdav(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, pathlib.Path]]:
    """A WebDAV server of Python's, over a folder."""
    folder = tmp_path_factory.mktemp("webdav")
    port = free_port()
    command = [sys.executable, "-m", "wsgidav.server.server_cli", "--host", "127.0.0.1", "--port", str(port), "--root", folder]
    server = subprocess.Popen([*command, "--auth", "anonymous", "--no-config", "-q"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until("the WebDAV server answers", 20, lambda: answers("OPTIONS", f"http://127.0.0.1:{port}/"))
    yield f"http://127.0.0.1:{port}", folder
    server.terminate()
    server.wait()


def test_a_webdav_folder(box: Box, s3: Any, webdav: tuple[str, pathlib.Path]) -> None:
    url, folder = webdav
    (folder / "sets/deep").mkdir(parents=True)
    (folder / "sets/a.csv").write_text("x,y\n1,2\n")
    (folder / "sets/deep/b.txt").write_text("b" * 100_000)
    mount(box, "from-webdav", url=url)
    assert [o["Key"] for o in s3.list_objects_v2(Bucket="from-webdav")["Contents"]] == ["sets/a.csv", "sets/deep/b.txt"]
    page = s3.list_objects_v2(Bucket="from-webdav", Prefix="sets/", Delimiter="/")
    assert [p["Prefix"] for p in page["CommonPrefixes"]] == ["sets/deep/"]
    assert s3.get_object(Bucket="from-webdav", Key="sets/a.csv")["Body"].read() == b"x,y\n1,2\n"
    part = s3.get_object(Bucket="from-webdav", Key="sets/deep/b.txt", Range="bytes=5-9")
    assert part["Body"].read() == b"bbbbb"
