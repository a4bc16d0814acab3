"""What a step costs: kfbox beside plain `docker run` and beside the SDK's own local runner, in one run, on one image.

    tests/bench/run.sh                  (sets up what it needs, then calls this)

A benchmark: it prints, it asserts nothing. Figures are medians in milliseconds unless they say otherwise.
"""

import contextlib
import io
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from typing import Callable

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "conformance"))

warnings.simplefilter("ignore")

import kfp  # noqa: E402
from kfp import dsl, local  # noqa: E402

from box import Box, binary, docker  # noqa: E402

CHAIN = 10
IMAGE = "kfbox-bench:1"
DOCKERFILE = "FROM kfbox/python:3\nRUN pip install --quiet kfp==2.17.0\n"


def row(what: str, *values: float, note: str = "") -> None:
    figures = "  ".join(f"{value:8.0f}" for value in values)
    print(f"  {what:<58}{figures}  {note}".rstrip(), flush=True)


def image() -> None:
    """kfp is in the image, so that no side pays for installing it."""
    subprocess.run(["docker", "build", "--quiet", "--network", "host", "--tag", IMAGE, "-"],
                   input=DOCKERFILE.encode(), env=os.environ | {"DOCKER_BUILDKIT": "0"}, check=True, capture_output=True)  # fmt: skip


def silence() -> contextlib.AbstractContextManager:
    """For the SDK, which prints links, and a page for each local step."""
    return contextlib.redirect_stdout(io.StringIO())


def gaps(stamps: list[float]) -> float:
    return statistics.median((b - a) * 1000 for a, b in zip(stamps, stamps[1:]))


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def stamp(before: float) -> float:
    import time

    return time.time()


@dsl.pipeline(name="python-chain")
def python_chain():
    at = 0.0
    for _ in range(CHAIN):
        at = stamp(before=at).output


@dsl.container_component
def clock(at: dsl.OutputPath(str)):
    return dsl.ContainerSpec(image=IMAGE, command=["sh", "-c", 'mkdir -p "$(dirname "$0")"; date +%s.%N >"$0"', at])


@dsl.pipeline(name="plain-chain")
def plain_chain():
    before = None
    for _ in range(CHAIN):
        step = clock()
        if before:
            step.after(before)
        before = step


def docker_run() -> tuple[float, float]:
    """Until the process starts, and in all."""
    started, ended = [], []
    for _ in range(CHAIN):
        began = time.time()
        at = float(docker("run", "--rm", IMAGE, "date", "+%s.%N"))
        ended.append((time.time() - began) * 1000)
        started.append((at - began) * 1000)
    return statistics.median(started), statistics.median(ended)


def on_kfbox(box: Box, client: kfp.Client, pipeline: Callable, output: str) -> tuple[float, float]:
    """From one step's process to the next step's, and the whole run by the number of steps."""
    began = time.monotonic()
    with silence():
        run = client.create_run_from_pipeline_func(pipeline, enable_caching=False)
    while (state := box.state(run.run_id)) in ("PENDING", "RUNNING"):
        time.sleep(0.01)
    whole = time.monotonic() - began
    if state != "SUCCEEDED":
        raise SystemExit(f"the run ended {state}: {box.tasks(run.run_id)}")
    stamps = sorted(float(t["status"]["outputs"]["parameters"][output]) for t in box.tasks(run.run_id).values())
    return gaps(stamps), whole * 1000 / CHAIN


def on_local_runner(pipeline: Callable, folder: str) -> float:
    local.init(runner=local.DockerRunner(), pipeline_root=folder, raise_on_error=True)
    began = time.monotonic()
    with silence():
        pipeline()
    return (time.monotonic() - began) * 1000 / CHAIN


def of_metrics(text: str, name: str) -> tuple[float, float]:
    """A histogram's mean in milliseconds, and how many it counted."""
    def value(suffix: str) -> float:
        found = re.search(rf"^kfbox_{name}_{suffix} ([0-9.e+-]+)", text, re.MULTILINE)
        return float(found[1]) if found else 0

    total, count = value("sum"), value("count")
    return total * 1000 / max(count, 1), count


def main() -> None:
    os.environ["HOME"] = tempfile.mkdtemp(prefix="kfbox-bench-")
    image()
    release = "release" in binary().parts or "bin" in binary().parts
    print(f"{binary()}{'' if release else '  (not a release build)'}")
    print(docker("version", "--format", "Docker {{.Server.Version}}") + f", {os.cpu_count()} CPUs")

    print("\nthe daemon")
    starts = []
    for _ in range(5):
        began = time.monotonic()
        box = Box()
        starts.append((time.monotonic() - began) * 1000)
        box.close()
    row("start-up, from exec to ready, empty data folder", statistics.median(starts))
    box = Box()
    try:
        time.sleep(5)
        row("idle memory, MiB (resident)", box.memory("VmRSS") / (1 << 20))
        client = kfp.Client(host=box.url, existing_token=box.token, namespace="kubeflow")
        on_kfbox(box, client, plain_chain, "at")  # warms the page cache and the network for everybody

        print(f"\na step of a chain of {CHAIN}, ms")
        started, ended = docker_run()
        row("docker run: until its process starts", started)
        row("docker run --rm: in all", ended)
        gap, whole = on_kfbox(box, client, plain_chain, "at")
        row("kfbox, shell step: from one process to the next", gap)
        row("kfbox, shell step: run / steps", whole)
        gap, whole = on_kfbox(box, client, python_chain, "Output")
        row("kfbox, lightweight Python step: from one to the next", gap)
        row("kfbox, lightweight Python step: run / steps", whole)
        with tempfile.TemporaryDirectory() as folder:
            row("kfp.local DockerRunner, the same pipeline: run / steps", on_local_runner(python_chain, folder))

        print("\nof which, by /metrics of the daemon, mean ms")
        text = box.call("GET", "/metrics").text
        for name, what in (
            ("pod_ready_to_create_seconds", "kfbox itself: from ready to the engine's create call"),
            ("pod_engine_start_seconds", "the engine: create and start"),
        ):
            mean, count = of_metrics(text, name)
            print(f"  {what:<58}{mean:8.1f}  over {count:.0f} steps")
        row("memory at its highest in all this, MiB", box.memory("VmHWM") / (1 << 20))
    finally:
        box.close()


if __name__ == "__main__":
    main()
