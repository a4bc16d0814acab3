"""The S3 endpoint through the clients that people use, unmodified: boto3, minio-py, s3fs, s3cmd, rclone."""

import base64
import concurrent.futures
import hashlib
import io
import json
import os
import pathlib
import shutil
import subprocess
import sys
import zlib
from typing import Any, Callable

import botocore.exceptions
import minio
import pytest
import requests
import s3fs
from kfp import dsl

from box import Box
from conftest import Ended
from s3_client import MIB, Key, connect, refused


# --- boto3 ---


def test_an_object_keeps_its_bytes_and_what_is_said_of_it(s3: Any, bucket: str) -> None:
    body = os.urandom(3 * MIB)
    put = s3.put_object(
        Bucket=bucket, Key="a/b c/ü+=.bin", Body=body, ContentType="application/x-test", CacheControl="no-store",
        Metadata={"who": "me"}, Tagging="stage=raw",
    )  # fmt: skip
    assert put["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
    assert put["ChecksumCRC32"] == base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()
    got = s3.get_object(Bucket=bucket, Key="a/b c/ü+=.bin", ChecksumMode="ENABLED")
    assert got["Body"].read() == body
    assert (got["ContentType"], got["CacheControl"], got["Metadata"]) == ("application/x-test", "no-store", {"who": "me"})
    assert got["ChecksumCRC32"] == put["ChecksumCRC32"] and got["TagCount"] == 1
    part = s3.get_object(Bucket=bucket, Key="a/b c/ü+=.bin", Range="bytes=-5")
    assert part["ResponseMetadata"]["HTTPStatusCode"] == 206 and part["Body"].read() == body[-5:]
    refused("InvalidRange", s3.get_object, Bucket=bucket, Key="a/b c/ü+=.bin", Range=f"bytes={3 * MIB}-")
    copied = s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "a/b c/ü+=.bin"})
    assert copied["CopyObjectResult"]["ETag"] == put["ETag"]
    head = s3.head_object(Bucket=bucket, Key="copy")
    assert head["ContentLength"] == len(body) and head["Metadata"] == {"who": "me"}


def test_boto3_needs_no_words_in_the_shell_that_s3_env_sets_up(box: Box, s3: Any, bucket: str, tmp_path: pathlib.Path) -> None:
    """As the README shows it, but for the bucket."""
    (tmp_path / "digits.csv").write_text("1,2\n")
    upload = f'import boto3; boto3.client("s3").upload_file("digits.csv", "{bucket}", "data/digits.csv")'
    script = f"{box.cli('s3', 'env')}\n{sys.executable} -c '{upload}'"
    subprocess.run(["sh", "-euc", script], cwd=tmp_path, check=True, timeout=60)
    assert s3.get_object(Bucket=bucket, Key="data/digits.csv")["Body"].read() == b"1,2\n"


def test_large_files_travel_in_parts(s3: Any, bucket: str, tmp_path: pathlib.Path) -> None:
    """upload_file and download_file cut at 8 MiB and work on the parts in parallel."""
    path = tmp_path / "large"
    path.write_bytes(os.urandom(20 * MIB))
    s3.upload_file(str(path), bucket, "large")
    head = s3.head_object(Bucket=bucket, Key="large")
    assert head["ETag"].endswith('-3"') and head["ContentLength"] == 20 * MIB
    s3.download_file(bucket, "large", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == path.read_bytes()
    attributes = s3.get_object_attributes(Bucket=bucket, Key="large", ObjectAttributes=["ObjectParts", "ObjectSize", "Checksum"])
    assert attributes["ObjectSize"] == 20 * MIB and attributes["ObjectParts"]["TotalPartsCount"] == 3


def test_lists_are_in_order_folded_and_paged(s3: Any, bucket: str) -> None:
    names = ["a", "a/1", "a/2", "a0", "b/c/d", "b/e", "Z", "ä"]
    for name in reversed(names):
        s3.put_object(Bucket=bucket, Key=name, Body=b"")
    ordered = sorted(names, key=lambda name: name.encode())
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, PaginationConfig={"PageSize": 3})
    assert [entry["Key"] for page in pages for entry in page["Contents"]] == ordered
    top = s3.list_objects_v2(Bucket=bucket, Delimiter="/")
    assert [p["Prefix"] for p in top["CommonPrefixes"]] == ["a/", "b/"]
    assert [entry["Key"] for entry in top["Contents"]] == ["Z", "a", "a0", "ä"]
    old = s3.list_objects(Bucket=bucket, Prefix="b/", Delimiter="/")
    assert [entry["Key"] for entry in old["Contents"]] == ["b/e"] and old["CommonPrefixes"] == [{"Prefix": "b/c/"}]


def test_of_racing_creates_one_wins(s3: Any, bucket: str) -> None:
    def create(n: int) -> bool:
        try:
            s3.put_object(Bucket=bucket, Key="lock", Body=str(n).encode(), IfNoneMatch="*")
        except botocore.exceptions.ClientError as e:
            assert e.response["Error"]["Code"] == "PreconditionFailed", e
            return False
        return True

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        won = list(pool.map(create, range(16)))
    assert sum(won) == 1
    held = s3.get_object(Bucket=bucket, Key="lock")
    assert held["Body"].read() == str(won.index(True)).encode()
    refused("PreconditionFailed", s3.put_object, Bucket=bucket, Key="lock", Body=b"", IfMatch='"of another"')
    s3.put_object(Bucket=bucket, Key="lock", Body=b"mine", IfMatch=held["ETag"])


def test_versions_are_kept_and_come_back(s3: Any, bucket: str) -> None:
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    first = s3.put_object(Bucket=bucket, Key="k", Body=b"one")["VersionId"]
    s3.put_object(Bucket=bucket, Key="k", Body=b"two")
    marker = s3.delete_object(Bucket=bucket, Key="k")
    assert marker["DeleteMarker"]
    refused("NoSuchKey", s3.get_object, Bucket=bucket, Key="k")
    assert s3.get_object(Bucket=bucket, Key="k", VersionId=first)["Body"].read() == b"one"
    s3.delete_object(Bucket=bucket, Key="k", VersionId=marker["VersionId"])
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"two"
    assert len(s3.list_object_versions(Bucket=bucket)["Versions"]) == 2


@pytest.mark.parametrize("signature", [None, "s3v4"])
def test_presigned_urls_need_no_key(box: Box, key: Key, bucket: str, signature: str | None) -> None:
    """Without a word, boto3 signs URLs for other endpoints than AWS's in the old way."""
    s3 = connect(box, key, **({"signature_version": signature} if signature else {}))
    place = {"Bucket": bucket, "Key": "by url"}
    answer = requests.put(s3.generate_presigned_url("put_object", Params=place), data=b"sent")
    assert answer.status_code == 200, answer.text
    url = s3.generate_presigned_url("get_object", Params=place, ExpiresIn=60)
    assert requests.get(url).content == b"sent"
    assert requests.get(url.replace("by%20url", "another")).status_code == 403


def test_a_form_posts_an_object(s3: Any, bucket: str) -> None:
    form = s3.generate_presigned_post(bucket, "posted", Conditions=[["content-length-range", 1, 10]])
    answer = requests.post(form["url"], data=form["fields"], files={"file": b"12345"})
    assert answer.status_code == 204, answer.text
    assert s3.get_object(Bucket=bucket, Key="posted")["Body"].read() == b"12345"
    answer = requests.post(form["url"], data=form["fields"], files={"file": b"x" * 11})
    assert answer.status_code == 400 and "EntityTooLarge" in answer.text


def test_what_is_missing_says_so(s3: Any, bucket: str) -> None:
    refused("NotImplemented", s3.put_bucket_website, Bucket=bucket, WebsiteConfiguration={"IndexDocument": {"Suffix": "i"}})
    refused("NoSuchBucket", s3.list_objects_v2, Bucket="never-made")
    refused("NoSuchKey", s3.get_object, Bucket=bucket, Key="never made")
    refused("BucketNotEmpty", lambda: (s3.put_object(Bucket=bucket, Key="k"), s3.delete_bucket(Bucket=bucket)))


# --- the same bytes in steps ---


@dsl.container_component
def make(data: dsl.Output[dsl.Dataset]):
    return dsl.ContainerSpec(image="alpine", command=["sh", "-c", 'mkdir -p "$(dirname "$0")"; echo by the step > "$0"'], args=[data.path])


@dsl.container_component
def read(data: dsl.Input[dsl.Dataset], salt: str, text: dsl.OutputPath(str)):
    script = 'mkdir -p "$(dirname "$1")"; cat "$0" > "$1"; echo "$2"'
    return dsl.ContainerSpec(image="alpine", command=["sh", "-c", script], args=[data.path, text, salt])


@dsl.pipeline
def handed_over(salt: str):
    read(data=make().outputs["data"], salt=salt)


def test_steps_and_s3_see_the_same_bytes(box: Box, s3: Any, run: Callable[..., Ended]) -> None:
    first = run(handed_over, caching=True, salt="1")
    assert first.output("read", "text") == "by the step\n"
    bucket, key = first.artifact("make", "data")["uri"].removeprefix("minio://").split("/", 1)
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == b"by the step\n"
    assert key in [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket, Prefix=key)["Contents"]]
    # The same file: a change in the folder that steps mount is a change of the object, and the other way round.
    file = box.data / "artifacts/buckets" / bucket / key
    file.write_text("in the folder")
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == b"in the folder"
    s3.put_object(Bucket=bucket, Key=key, Body=b"over S3")
    again = run(handed_over, caching=True, salt="2")
    assert again.states() == {"make": "CACHED", "read": "SUCCEEDED"}
    assert again.output("read", "text") == "over S3"


# --- the others ---


def test_minio_py(box: Box, key: Key, bucket: str, tmp_path: pathlib.Path) -> None:
    client = minio.Minio(box.s3.removeprefix("http://"), access_key=key[0], secret_key=key[1], secure=False)
    body = os.urandom(12 * MIB)
    client.put_object(bucket, "data/x", io.BytesIO(body), length=-1, part_size=5 * MIB)
    with client.get_object(bucket, "data/x", offset=6 * MIB, length=MIB) as part:
        assert part.read() == body[6 * MIB : 7 * MIB]
    client.fget_object(bucket, "data/x", str(tmp_path / "x"))
    assert (tmp_path / "x").read_bytes() == body
    assert [o.object_name for o in client.list_objects(bucket, recursive=True)] == ["data/x"]
    assert bucket in [b.name for b in client.list_buckets()]
    assert client.stat_object(bucket, "data/x").size == len(body)
    assert requests.get(client.presigned_get_object(bucket, "data/x")).content == body
    client.remove_object(bucket, "data/x")
    assert not list(client.list_objects(bucket))


def test_s3fs(box: Box, key: Key, bucket: str) -> None:
    files = s3fs.S3FileSystem(key=key[0], secret=key[1], client_kwargs={"endpoint_url": box.s3}, use_listings_cache=False)
    with files.open(f"{bucket}/folder/table.csv", "wb") as out:
        out.write(b"a,b\n" * 2_000_000)
    assert files.du(bucket) == 8_000_000
    assert files.ls(f"{bucket}/folder") == [f"{bucket}/folder/table.csv"]
    with files.open(f"{bucket}/folder/table.csv", "rb") as table:
        table.seek(-4, 2)
        assert table.read() == b"a,b\n"
    files.mv(f"{bucket}/folder/table.csv", f"{bucket}/other.csv")
    assert files.find(bucket) == [f"{bucket}/other.csv"]
    files.rm(bucket + "/other.csv")


def tool(*command: str | pathlib.Path, env: dict[str, str] | None = None) -> str:
    # rclone of Debian's day stumbles over a CA bundle that it does not need here.
    surroundings = {name: value for name, value in os.environ.items() if name != "AWS_CA_BUNDLE"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=surroundings | (env or {}))
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    folder = tmp_path / "tree"
    (folder / "deep/er").mkdir(parents=True)
    (folder / "deep/er/leaf").write_bytes(os.urandom(17 * MIB))
    (folder / "deep/ä b").write_text("text")
    return folder


def same(one: pathlib.Path, other: pathlib.Path) -> None:
    def read(folder: pathlib.Path) -> dict[str, bytes]:
        return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}

    assert read(one) == read(other)


def test_s3cmd(box: Box, key: Key, bucket: str, folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    host = box.s3.removeprefix("http://")
    program = pathlib.Path(sys.executable).parent / "s3cmd"
    base = [sys.executable, program, "--config=/dev/null", f"--access_key={key[0]}", f"--secret_key={key[1]}",
            f"--host={host}", f"--host-bucket={host}", "--no-ssl", "--multipart-chunk-size-mb=5"]  # fmt: skip
    tool(*base, "sync", f"{folder}/", f"s3://{bucket}/tree/")
    assert f"s3://{bucket}/tree/deep/er/leaf" in tool(*base, "ls", "-r", f"s3://{bucket}")
    (tmp_path / "back").mkdir()
    tool(*base, "get", "-r", f"s3://{bucket}/tree/", f"{tmp_path}/back/")
    same(folder, tmp_path / "back")
    assert "upload:" not in tool(*base, "sync", f"{folder}/", f"s3://{bucket}/tree/"), "nothing changed"
    tool(*base, "del", "-r", "--force", f"s3://{bucket}/tree/")
    assert not tool(*base, "ls", "-r", f"s3://{bucket}")


def test_rclone(box: Box, key: Key, bucket: str, folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    assert shutil.which("rclone"), "apt-get install rclone"
    env = {"RCLONE_CONFIG": "/dev/null", "RCLONE_CONFIG_BOX_TYPE": "s3", "RCLONE_CONFIG_BOX_PROVIDER": "Other",
           "RCLONE_CONFIG_BOX_ENDPOINT": box.s3, "RCLONE_CONFIG_BOX_ACCESS_KEY_ID": key[0],
           "RCLONE_CONFIG_BOX_SECRET_ACCESS_KEY": key[1], "RCLONE_S3_CHUNK_SIZE": "5Mi", "RCLONE_S3_UPLOAD_CUTOFF": "5Mi"}  # fmt: skip
    tool("rclone", "sync", str(folder), f"box:{bucket}/tree", env=env)
    tool("rclone", "check", str(folder), f"box:{bucket}/tree", "--download", env=env)
    tool("rclone", "copy", f"box:{bucket}/tree", str(tmp_path / "back"), env=env)
    same(folder, tmp_path / "back")
    (folder / "deep/ä b").unlink()
    tool("rclone", "sync", str(folder), f"box:{bucket}/tree", env=env)
    assert tool("rclone", "lsf", "-R", "--files-only", f"box:{bucket}", env=env).split() == ["tree/deep/er/leaf"]


def test_a_bucket_holds_no_more_than_its_quota(box: Box, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="a", Body=b"x" * 600_000)
    assert box.cli("s3", "quota", bucket, "1M").strip() == f"{bucket} may hold 976.6 KiB"
    for call in [s3.put_object, lambda **how: s3.upload_fileobj(io.BytesIO(how["Body"]), how["Bucket"], how["Key"])]:
        with pytest.raises(Exception, match="QuotaExceeded|raise its quota"):
            call(Bucket=bucket, Key="b", Body=b"x" * 500_000)
    upload = s3.create_multipart_upload(Bucket=bucket, Key="c")["UploadId"]
    assert "raise its quota" in refused("QuotaExceeded", s3.upload_part, Bucket=bucket, Key="c", UploadId=upload, PartNumber=1, Body=b"x" * 500_000)
    s3.abort_multipart_upload(Bucket=bucket, Key="c", UploadId=upload)
    refused("QuotaExceeded", s3.copy_object, Bucket=bucket, Key="d", CopySource=f"{bucket}/a")
    report = json.loads(box.cli("s3", "du", "--output", "json"))
    (mine,) = [b for b in report["buckets"] if b["name"] == bucket]
    assert (mine["bytes"], mine["quota"], mine["namespace"]) == (600_000, 1_000_000, "kubeflow")
    assert report["disk"]["free"] < report["disk"]["total"] and report["disk"]["images"] > 0
    sizes = {part["path"]: part["bytes"] for part in report["disk"]["parts"]}
    assert sizes["artifacts/blobs"] >= 600_000 and sizes["meta.redb"] > 0
    assert bucket in box.cli("s3", "du")
    s3.delete_object(Bucket=bucket, Key="a")
    s3.put_object(Bucket=bucket, Key="b", Body=b"x" * 500_000)
    assert box.cli("s3", "quota", bucket, "0").strip() == f"{bucket} has no limit"
    s3.put_object(Bucket=bucket, Key="e", Body=b"x" * 900_000)
    assert "no bucket" in box.cli("s3", "quota", "nobody-has-it", "1M", check=False)
    assert "no size" in box.cli("s3", "quota", bucket, "much", check=False)
    # Who has a namespace sees its buckets, and sets no quotas.
    token = box.cli("token", "create", "--user", "ada", "--namespace", "default", "--role", "edit").strip()
    headers = {"Authorization": f"Bearer {token}"}
    seen = box.call("GET", "/apis/kfbox.dev/v1alpha1/storage", headers=headers).json()
    assert "disk" not in seen and all(b["namespace"] == "default" for b in seen["buckets"])
    quota = f"/apis/kfbox.dev/v1alpha1/namespaces/default/buckets/{bucket}/quota"
    assert box.call("PUT", quota, headers=headers, json={"bytes": 5}).status_code == 403
    assert box.call("PUT", quota, json={"bytes": "x"}).status_code == 400
