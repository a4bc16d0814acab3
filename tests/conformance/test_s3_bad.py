"""What the S3 endpoint refuses: keys that reach too far, forged and stale signatures, hostile and broken requests."""

import datetime
import http.client
import json
import os
import socket
import urllib.parse
from typing import Any

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest
import requests

from box import Box, until
from s3_client import MIB, Key, connect, refused


def signed(box: Box, key: Key, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> requests.Response:
    """A request with our own path, as no client would write it, signed in order."""
    request = botocore.awsrequest.AWSRequest(method, box.s3 + path, headers or {}, body)
    botocore.auth.S3SigV4Auth(botocore.credentials.Credentials(*key), "s3", "us-east-1").add_auth(request)
    host, port = box.s3.removeprefix("http://").split(":")
    call = http.client.HTTPConnection(host, int(port), timeout=30)
    call.request(method, path, body, dict(request.headers))
    answer = call.getresponse()
    made = requests.Response()
    made.status_code, made._content = answer.status, answer.read()
    return made


def keys_in(s3: Any, bucket: str) -> list[str]:
    return [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]


# --- who may ---


def test_without_a_signature_nothing_opens(box: Box, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"mine")
    for method, path in (("GET", "/"), ("GET", f"/{bucket}/k"), ("PUT", f"/{bucket}/x"), ("DELETE", f"/{bucket}/k")):
        answer = requests.request(method, box.s3 + path)
        assert answer.status_code == 403 and "<Code>AccessDenied</Code>" in answer.text, (method, path, answer.text)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"mine"


def test_a_forged_signature_and_an_unknown_key_are_told_apart(box: Box, key: Key) -> None:
    refused("SignatureDoesNotMatch", connect(box, (key[0], "not the secret")).list_buckets)
    refused("InvalidAccessKeyId", connect(box, ("nobody", "secret")).list_buckets)


def test_a_stale_request_is_refused(box: Box, key: Key, monkeypatch: pytest.MonkeyPatch) -> None:
    late = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(minutes=20)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda remove_tzinfo=True: late.replace(tzinfo=None))
    answer = signed(box, key, "GET", "/")
    assert answer.status_code == 403 and "RequestTimeTooSkewed" in answer.text, answer.text


def test_a_url_for_one_upload_copies_nothing(box: Box, key: Key, s3: Any, bucket: str) -> None:
    """A header that is not signed must not turn an upload into a copy of what its holder may not read."""
    s3.put_object(Bucket=bucket, Key="secret", Body=b"not yours")
    url = connect(box, key, signature_version="s3v4").generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "out"})
    answer = requests.put(url, headers={"x-amz-copy-source": f"/{bucket}/secret"})
    assert answer.status_code == 403, answer.text
    assert keys_in(s3, bucket) == ["secret"]


def test_a_key_opens_what_its_rules_say(box: Box, s3: Any, bucket: str) -> None:
    for name in ("in/a", "out/b"):
        s3.put_object(Bucket=bucket, Key=name, Body=b"x")
    reader = connect(box, box.key("reader", "--bucket", f"{bucket}/in/", "--role", "view"))
    assert reader.get_object(Bucket=bucket, Key="in/a")["Body"].read() == b"x"
    assert reader.list_objects_v2(Bucket=bucket, Prefix="in/")["KeyCount"] == 1
    refused("AccessDenied", reader.put_object, Bucket=bucket, Key="in/new", Body=b"")
    refused("AccessDenied", reader.get_object, Bucket=bucket, Key="out/b")
    refused("AccessDenied", reader.list_objects_v2, Bucket=bucket)
    refused("AccessDenied", reader.create_bucket, Bucket="of-a-reader")
    writer = connect(box, box.key("writer", "--bucket", f"{bucket}/in/"))
    writer.put_object(Bucket=bucket, Key="in/new", Body=b"")
    refused("AccessDenied", writer.copy_object, Bucket=bucket, Key="in/stolen", CopySource=f"{bucket}/out/b")
    assert "revoked" in box.cli("s3", "key", "revoke", "reader")
    until("the key opens nothing", 10, lambda: opens_nothing(reader, bucket))


def opens_nothing(client: Any, bucket: str) -> bool:
    try:
        client.get_object(Bucket=bucket, Key="in/a")
    except client.exceptions.ClientError as e:
        return e.response["Error"]["Code"] == "InvalidAccessKeyId"
    return False


def test_namespaces_do_not_see_each_other(box: Box, s3: Any, bucket: str) -> None:
    box.call("POST", "/api/v1/namespaces", json={"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "s3-other"}}).raise_for_status()
    other = connect(box, box.key("mine", "--namespace", "s3-other"))
    refused("AccessDenied", other.list_objects_v2, Bucket=bucket)
    refused("AccessDenied", other.put_object, Bucket=bucket, Key="k", Body=b"")
    refused("BucketAlreadyExists", other.create_bucket, Bucket=bucket)
    assert bucket not in [b["Name"] for b in other.list_buckets()["Buckets"]]


def test_an_expired_key_opens_nothing(box: Box) -> None:
    old = connect(box, box.key("old", "--expires", "2020-01-01T00:00:00Z"))
    assert "expired" in refused("InvalidAccessKeyId", old.list_buckets)
    said = box.cli("s3", "key", "create", "never", "--expires", "tomorrow", check=False)
    assert 'spec.expires: "tomorrow" is no time' in said


# --- names ---

HOSTILE = ["..", "../x", "a/../../x", "/etc/passwd", "//", "a//b", ".", "./a", "a/", "a\\..\\b", "\u202e", "é", "e\u0301", "\n", "%2e%2e/x", "index.redb"]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_keys_are_keys_and_nothing_more(box: Box, key: Key, s3: Any, bucket: str, name: str) -> None:
    """Written to the wire as they are: clients tidy up such paths before they sign."""
    path = f"/{bucket}/" + urllib.parse.quote(name, safe="/")
    before = sorted(p.name for p in (box.data / "artifacts").iterdir())
    answer = signed(box, key, "PUT", path, b"hostile")
    assert answer.status_code in (200, 400), answer.text
    assert keys_in(s3, bucket) == ([name] if answer.status_code == 200 else [])
    if answer.status_code == 200:
        assert signed(box, key, "GET", path).content == b"hostile"
    assert sorted(p.name for p in (box.data / "artifacts").iterdir()) == before
    assert not (box.data / "x").exists() and not (box.data / "artifacts/buckets/x").exists()


def test_keys_have_a_length_and_no_nul(box: Box, key: Key, s3: Any, bucket: str) -> None:
    assert signed(box, key, "PUT", f"/{bucket}/" + "k" * 1024, b"").status_code == 200
    for name, code in (("k" * 1025, "KeyTooLong"), ("ü" * 513, "KeyTooLong"), ("a%00b", "Invalid")):
        answer = signed(box, key, "PUT", f"/{bucket}/{urllib.parse.quote(name, safe='%')}", b"")
        assert answer.status_code == 400 and code in answer.text, (name, answer.text)
    assert keys_in(s3, bucket) == ["k" * 1024]


@pytest.mark.parametrize("name", ["A", "ab", "UPPER", "under_score", "..", "x" * 64, "192.168.0.1", "a..b", "-a", "a-", "xn--a"])
def test_bucket_names(box: Box, key: Key, name: str) -> None:
    answer = signed(box, key, "PUT", f"/{name}")
    assert answer.status_code == 400 and "InvalidBucketName" in answer.text, answer.text


# --- bodies ---


def test_a_wrong_digest_leaves_nothing(box: Box, key: Key, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"before")
    for header, value in (
        ("content-md5", "AAAAAAAAAAAAAAAAAAAAAA=="),
        ("x-amz-checksum-sha256", "A" * 43 + "="),
        ("x-amz-checksum-crc32", "AAAAAA=="),
    ):
        answer = signed(box, key, "PUT", f"/{bucket}/k", b"after", {header: value})
        assert answer.status_code == 400 and ("BadDigest" in answer.text or "InvalidDigest" in answer.text), answer.text
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"before"


def test_an_upload_that_breaks_off_leaves_nothing(box: Box, key: Key, s3: Any, bucket: str) -> None:
    url = urllib.parse.urlsplit(s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "half"}))
    with socket.create_connection((url.hostname, url.port)) as call:
        head = f"PUT {url.path}?{url.query} HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Length: {10 * MIB}\r\n\r\n"
        call.sendall(head.encode() + b"x" * MIB)
    incoming = box.data / "artifacts/incoming"
    until("what had come is removed", 10, lambda: not list(incoming.iterdir()))
    assert keys_in(s3, bucket) == []


def test_a_refused_upload_ends_its_connection(box: Box, bucket: str) -> None:
    """A client that waits for "100 Continue" never sends the body of what is refused: on the same connection, its next
    request could be taken for that body."""
    for waits, connection in [({"Expect": "100-continue"}, "close"), ({}, None)]:
        answer = requests.put(f"{box.s3}/{bucket}/x", data=b"no", headers=waits, timeout=20)
        assert answer.status_code == 403
        assert answer.headers.get("connection") == connection


def test_parts_are_checked(s3: Any, bucket: str) -> None:
    upload = s3.create_multipart_upload(Bucket=bucket, Key="m")["UploadId"]
    place = {"Bucket": bucket, "Key": "m", "UploadId": upload}
    for number in (0, 10_001):
        refused("InvalidArgument", s3.upload_part, **place, PartNumber=number, Body=b"x")
    small = s3.upload_part(**place, PartNumber=1, Body=b"too small")["ETag"]
    last = s3.upload_part(**place, PartNumber=2, Body=b"last")["ETag"]
    parts = [{"PartNumber": 1, "ETag": small}, {"PartNumber": 2, "ETag": last}]
    finish = lambda parts: {"MultipartUpload": {"Parts": parts}} | place  # noqa: E731
    refused("EntityTooSmall", s3.complete_multipart_upload, **finish(parts))
    refused("InvalidPartOrder", s3.complete_multipart_upload, **finish(parts[::-1]))
    refused("InvalidPart", s3.complete_multipart_upload, **finish([{"PartNumber": 7, "ETag": small}]))
    refused("InvalidPart", s3.complete_multipart_upload, **finish([{"PartNumber": 2, "ETag": small}]))
    assert keys_in(s3, bucket) == []
    s3.complete_multipart_upload(**finish(parts[1:]))
    assert s3.get_object(Bucket=bucket, Key="m")["Body"].read() == b"last"
    refused("NoSuchUpload", s3.upload_part, **place, PartNumber=1, Body=b"late")


BOMB = '<?xml version="1.0"?><!DOCTYPE d [<!ENTITY a "' + "ha" * 50 + '">' + "".join(
    f'<!ENTITY {chr(98 + i)} "{("&" + chr(97 + i) + ";") * 10}">' for i in range(8)
) + "]><Delete><Object><Key>&i;</Key></Object></Delete>"  # fmt: skip


@pytest.mark.parametrize("body", [BOMB, "<Delete>" + "<Object>" * 100_000, "not XML", "", "<Delete><Object><Key>"])
def test_hostile_xml_is_malformed(box: Box, key: Key, s3: Any, bucket: str, body: str) -> None:
    before = box.memory("VmRSS")
    answer = signed(box, key, "POST", f"/{bucket}?delete=", body.encode(), {"content-md5": md5(body)})
    assert answer.status_code == 400 and ("MalformedXML" in answer.text or "Missing" in answer.text), answer.text
    assert box.memory("VmRSS") < before + 64 * MIB


def md5(text: str) -> str:
    import base64
    import hashlib

    return base64.b64encode(hashlib.md5(text.encode()).digest()).decode()


# --- what was acknowledged ---


def test_a_flipped_bit_is_found_and_not_served(box: Box, s3: Any, bucket: str) -> None:
    body = os.urandom(MIB)
    s3.put_object(Bucket=bucket, Key="k", Body=body)
    (file,) = [p for p in (box.data / "artifacts/blobs").rglob("*") if p.is_file() and p.read_bytes() == body]
    file.write_bytes(bytes([body[0] ^ 1]) + body[1:])
    said = box.cli("s3", "scrub", check=False)
    assert f"s3://{bucket}/k: its bytes have changed" in said and "1 objects damaged" in said, said
    assert "damaged" in refused("InternalError", s3.get_object, Bucket=bucket, Key="k")
    assert "BAD   stored bytes" in box.cli("doctor", check=False)
    s3.put_object(Bucket=bucket, Key="k", Body=body)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == body
    assert " 0 objects damaged" in box.cli("s3", "scrub")



def test_what_was_acknowledged_survives_kill_9() -> None:
    """Killed while eight writers are at it, some of them in parts: all that was acknowledged is there, and nothing is torn."""
    import concurrent.futures
    import threading

    box = Box()
    try:
        key = box.key("writer")
        done: dict[str, bytes] = {}
        stop = threading.Event()

        def write(n: int) -> None:
            s3 = connect(box, key)
            for i in range(1_000):
                name, body = f"{n}/{i}", os.urandom((1, 700, 90_000, 2 * MIB)[i % 4])
                try:
                    s3.put_object(Bucket="mlpipeline", Key=name, Body=body)
                except Exception:
                    assert stop.is_set()
                    return
                done[name] = body

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            writers = [pool.submit(write, n) for n in range(8)]
            until("some are written", 60, lambda: len(done) > 100)
            stop.set()
            box.kill9()
            for writer in writers:
                writer.result()
        box.up()
        s3 = connect(box, key)
        found = {entry["Key"] for page in s3.get_paginator("list_objects_v2").paginate(Bucket="mlpipeline") for entry in page["Contents"]}
        assert found >= done.keys() and len(found) <= len(done) + 8, "at most one of each writer is not acknowledged"
        for name in found:
            body = s3.get_object(Bucket="mlpipeline", Key=name)["Body"].read()
            assert body == done.get(name, body) and len(body) in (1, 700, 90_000, 2 * MIB)
        assert json.loads((box.data / "box.json").read_text())["id"] == box.id
    finally:
        box.close()
