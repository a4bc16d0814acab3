"""What the Kubernetes-shaped door costs: large lists, many watches, and a job from apply to its first process beside a
bare `docker run` of the same command on the same image.

    tests/bench/run.sh kube             (sets up what it needs, then calls this)

A benchmark: it prints, it asserts nothing. Milliseconds unless it says otherwise.
"""

import asyncio
import concurrent.futures
import json
import pathlib
import statistics
import subprocess
import sys
import time
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "conformance"))

import requests  # noqa: E402

from box import Box, until  # noqa: E402

OBJECTS, WATCHERS, JOBS = 10_000, 1_000, 10
MAPS = "/api/v1/namespaces/kubeflow/configmaps"
IMAGE, STAMP = "kfbox/base:1", ["date", "+%s.%N"]


def row(what: str, *figures: float, unit: str = "ms", note: str = "") -> None:
    print(f"  {what:<58}{'  '.join(f'{f:8.1f}' for f in figures)} {unit}  {note}".rstrip(), flush=True)


def memory(box: Box) -> float:
    return box.memory("VmRSS") / 2**20


def lists(box: Box) -> None:
    def make(share: range) -> None:
        session = requests.Session()
        session.headers["Authorization"] = f"Bearer {box.token}"
        for n in share:
            body = {"metadata": {"name": f"m-{n:05}", "labels": {"group": str(n % 100)}}, "data": {"key": "x" * 200}}
            session.post(box.url + MAPS, json=body).raise_for_status()

    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        list(pool.map(make, [range(k, OBJECTS, 16) for k in range(16)]))
    row(f"create {OBJECTS} objects, 16 clients", OBJECTS / (time.monotonic() - began), unit="/s")
    for what, query in (("list all", ""), ("list by label, 100 of them", "?labelSelector=group=7"), ("first page of 500", "?limit=500")):
        took = []
        for _ in range(5):
            began = time.monotonic()
            answer = box.call("GET", MAPS + query)
            took.append((time.monotonic() - began) * 1000)
        row(f"{what} ({len(answer.content) >> 10} KiB)", statistics.median(took))
    row("memory of the daemon then", memory(box), unit="MiB")


async def watches(box: Box) -> None:
    host, port = urllib.parse.urlsplit(box.url).netloc.split(":")
    version = box.get(MAPS + "?limit=1")["metadata"]["resourceVersion"]
    seen: list[float] = []
    ready = asyncio.Event()

    async def watch() -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        query = f"{MAPS}?watch=true&resourceVersion={version}&fieldSelector=metadata.name=m-00000"
        writer.write(f"GET {query} HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer {box.token}\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        nonlocal open_
        open_ += 1
        if open_ == WATCHERS:
            ready.set()
        await reader.readuntil(b"\n")  # the chunk's size
        seen.append(time.monotonic())
        writer.close()

    open_ = 0
    tasks = [asyncio.create_task(watch()) for _ in range(WATCHERS)]
    await ready.wait()
    row(f"memory of the daemon with {WATCHERS} watches", memory(box), unit="MiB")
    began = time.monotonic()
    patch = {"data": {"key": "changed"}}
    how = {"headers": {"Content-Type": "application/merge-patch+json"}, "data": json.dumps(patch)}
    await asyncio.to_thread(lambda: box.call("PATCH", f"{MAPS}/m-00000", **how).raise_for_status())
    await asyncio.gather(*tasks)
    delays = sorted((at - began) * 1000 for at in seen)
    row("one change until the median and the last watch knows it", statistics.median(delays), delays[-1])


def jobs(box: Box) -> None:
    """From the request to the first process, by the clock of the process itself."""
    plain, ours = [], []
    subprocess.run(["docker", "run", "--rm", IMAGE, *STAMP], check=True, capture_output=True)
    for n in range(JOBS):
        began = time.time()
        done = subprocess.run(["docker", "run", "--rm", IMAGE, *STAMP], check=True, capture_output=True, text=True)
        plain.append((float(done.stdout) - began) * 1000)
        worker = {"replicas": 1, "template": {"spec": {"containers": [{"name": "tensorflow", "image": IMAGE, "command": STAMP}]}}}
        job = {"apiVersion": "kubeflow.org/v1", "kind": "TFJob", "metadata": {"name": f"j{n}"}, "spec": {"tfReplicaSpecs": {"Worker": worker}}}
        began = time.time()
        box.call("POST", "/apis/kubeflow.org/v1/namespaces/kubeflow/tfjobs", json=job).raise_for_status()
        pod = f"/api/v1/namespaces/kubeflow/pods/j{n}-worker-0"
        until("it ended", 60, lambda: (r := box.call("GET", pod)).ok and r.json()["status"]["phase"] == "Succeeded")
        ours.append((float(box.call("GET", pod + "/log").text) - began) * 1000)
    row("docker run: command to first process (median, worst)", statistics.median(plain), max(plain))
    row("TFJob: apply to first process (median, worst)", statistics.median(ours), max(ours))


def main() -> None:
    box = Box()
    try:
        row("memory of the daemon, idle", memory(box), unit="MiB")
        lists(box)
        asyncio.run(watches(box))
        jobs(box)
    finally:
        box.close()


main()
