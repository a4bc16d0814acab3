"""Runs the core of Ceph's S3 conformance suite (ceph/s3-tests) against a throw-away box, and keeps a ratchet.

    python tests/s3/ceph.py SUITE [pytest options]       SUITE is a checkout of ceph/s3-tests
    python tests/s3/ceph.py SUITE --ratchet              fails when a test that passed once does not, adds new ones

It needs the suite's requirements.txt and pytest-timeout, and KFBOX_BIN (default target/debug/kfbox). The core leaves
out what the box does not have and says so: ACLs, bucket policies, IAM, encryption, object lock, logging, web sites.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PASSED = HERE / "ceph-passed.txt"
MARKS = (
    "bucket_logging bucket_logging_cleanup cloud_transition cloud_restore target_by_bucket lifecycle lifecycle_expiration "
    "lifecycle_transition encryption sse_s3 bucket_encryption bucket_policy object_ownership iam_account iam_cross_account "
    "iam_role iam_tenant iam_user auth_aws2 fails_on_aws fails_without_logging_rollover"
).split()
NAMES = "acl access_bucket public policy ownership object_lock logging sse_ kms encrypt website account usage".split()
# Users of the suite, each a namespace of the box.
USERS = {"s3 main": "s3main", "s3 alt": "s3alt", "s3 tenant": "s3tenant", "iam": "s3iam"}


def kfbox(data, *args):
    binary = os.environ.get("KFBOX_BIN", str(ROOT / "target/debug/kfbox"))
    done = subprocess.run([binary, *args, "--data-dir", str(data)], check=True, capture_output=True, text=True)
    return done.stdout


def start(data):
    binary = os.environ.get("KFBOX_BIN", str(ROOT / "target/debug/kfbox"))
    ports = ["--port", "0", "--kube-port", "0", "--s3-port", "0"]
    log = open(data.parent / "box.log", "w")
    box = subprocess.Popen([binary, "serve", "--data-dir", str(data), *ports], stderr=log)
    found = data / "endpoints.json"
    deadline = time.monotonic() + 30
    while not found.exists():
        if box.poll() is not None or time.monotonic() > deadline:
            sys.exit(f"the box does not start: {(data.parent / 'box.log').read_text()[-800:]}")
        time.sleep(0.05)
    return box, json.loads(found.read_text())


def create_namespace(endpoints, name):
    import urllib.request

    token = pathlib.Path(endpoints["admin_token_file"]).read_text().strip()
    body = json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}).encode()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(endpoints["ui"] + "/api/v1/namespaces", body, headers)
    urllib.request.urlopen(request).read()


def configuration(data, endpoints):
    host, port = endpoints["s3"].removeprefix("http://").split(":")
    lines = ["[DEFAULT]", f"host = {host}", f"port = {port}", "is_secure = False", "ssl_verify = False"]
    lines += ["[fixtures]", "bucket prefix = ceph-{random}-", "iam name prefix = s3-tests-", "iam path prefix = /s3-tests/"]
    for section, namespace in USERS.items():
        create_namespace(endpoints, namespace)
        key = json.loads(kfbox(data, "s3", "key", "create", "ceph", "--namespace", namespace, "--output", "json"))
        lines += [f"[{section}]", f"display_name = {namespace}", f"user_id = {namespace}", f"email = {namespace}@example.com"]
        lines += ["api_name = ", f"access_key = {key['accessKey']}", f"secret_key = {key['secretKey']}"]
        if section == "s3 tenant":
            lines += ["tenant = "]
    for section in ("iam root", "iam alt root"):
        lines += [f"[{section}]", "access_key = none", "secret_key = none", "user_id = none", "email = none@example.com"]
    file = data.parent / "s3tests.conf"
    file.write_text("\n".join(lines) + "\n")
    return file


def main():
    if len(sys.argv) < 2 or not (pathlib.Path(sys.argv[1]) / "s3tests").is_dir():
        sys.exit(__doc__)
    suite, options = pathlib.Path(sys.argv[1]).resolve(), sys.argv[2:]
    ratchet = "--ratchet" in options
    options = [o for o in options if o != "--ratchet"]
    with tempfile.TemporaryDirectory(prefix="kfbox-ceph-") as folder:
        data = pathlib.Path(folder) / "data"
        box, endpoints = start(data)
        try:
            report = pathlib.Path(folder) / "report.xml"
            marks = " and ".join(f"not {m}" for m in MARKS)
            names = " and ".join(f"not {n}" for n in NAMES)
            files = ["s3tests/functional/test_s3.py", "s3tests/functional/test_headers.py"]
            command = [sys.executable, "-m", "pytest", "-q", "--timeout", "60", "--tb", "line", "-p", "no:cacheprovider", "-W", "ignore"]
            command += ["-m", marks, "-k", names, "--junitxml", str(report), *files, *options]
            env = {**os.environ, "S3TEST_CONF": str(configuration(data, endpoints))}
            subprocess.run(command, cwd=suite, env=env, check=False)
            passed, failed = outcome(report)
        finally:
            box.terminate()
            box.wait(30)
        print(f"\ncore: {len(passed)} passed, {len(failed)} failed")
        if ratchet:
            keep(passed)


def outcome(report):
    import xml.etree.ElementTree as tree

    passed, failed = set(), set()
    for case in tree.parse(report).iter("testcase"):
        kinds = {child.tag for child in case}
        if "skipped" not in kinds:
            (failed if kinds & {"failure", "error"} else passed).add(case.get("name"))
    return passed, failed


def keep(passed):
    before = set(PASSED.read_text().split()) if PASSED.exists() else set()
    lost = sorted(before - passed)
    PASSED.write_text("\n".join(sorted(before | passed)) + "\n")
    if lost:
        sys.exit("passed once, and does not now: " + ", ".join(lost))


main()
