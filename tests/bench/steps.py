"""What a step costs: from the end of one step's process to the start of the next one's.

Each step of a chain adds the time at which its process started to the list it was given, and ends at once. The gap
between two neighbours is everything that is not the user's own work: noticing the end, reading outputs, deciding,
creating and starting the next container. The same chain runs three ways on the same image: `docker run` in a shell
loop, kfbox, and kfp.local with its DockerRunner. Lightweight Python steps also pay for the interpreter and the SDK,
on both sides alike.
"""

import contextlib
import io
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

import kfp
from kfp import compiler, dsl, local

IMAGE = "kfbox-bench:1"
STEPS = int(sys.argv[1]) if len(sys.argv) > 1 else 10
BINARY = os.environ["KFBOX_BIN"]


@dsl.container_component
def tick(before: str, now: dsl.OutputPath(str)):
    # An own "mkdir": kfp.local does not make the folder of an output.
    script = 'mkdir -p "$(dirname "$0")"; echo "$1 $(date +%s.%N)" > "$0"'
    return dsl.ContainerSpec(image=IMAGE, command=["sh", "-c", script], args=[now, before])


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def tick_python(before: str) -> str:
    import time

    return f"{before} {time.time()}"


@dsl.pipeline(name="bench-container")
def container_chain() -> str:
    last = tick(before="start")
    for _ in range(STEPS - 1):
        last = tick(before=last.outputs["now"])
    return last.outputs["now"]


@dsl.pipeline(name="bench-python")
def python_chain() -> str:
    last = tick_python(before="start")
    for _ in range(STEPS - 1):
        last = tick_python(before=last.output)
    return last.output


def gaps(times: str) -> list[float]:
    moments = [float(t) for t in times.split()[1:]]
    return [b - a for a, b in zip(moments, moments[1:])]


def row(what: str, seconds: list[float]) -> None:
    ms = sorted(1000 * s for s in seconds)
    print(f"  {what:<44}{statistics.median(ms):>8.0f} ms{ms[0]:>8.0f}{ms[-1]:>8.0f}", flush=True)


def build_image() -> None:
    with tempfile.TemporaryDirectory() as folder:
        dockerfile = f"FROM kfbox/python:3\nRUN pip install -q kfp=={kfp.__version__}\n"
        pathlib.Path(folder, "Dockerfile").write_text(dockerfile)
        subprocess.run(["docker", "build", "-q", "-t", IMAGE, folder], check=True, stdout=subprocess.DEVNULL)


def docker_run() -> list[float]:
    times = "start"
    for _ in range(STEPS):
        now = subprocess.run(
            ["docker", "run", "--rm", IMAGE, "date", "+%s.%N"], check=True, capture_output=True, text=True
        )
        times += " " + now.stdout.strip()
    return gaps(times)


class Box:
    """A throw-away kfbox."""

    def __init__(self) -> None:
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="kfbox-bench-"))
        began = time.monotonic()
        self.process = subprocess.Popen(
            [BINARY, "serve", "--data-dir", self.folder / "data", "--port", "0"], stderr=subprocess.DEVNULL
        )
        endpoints = self.folder / "data/endpoints.json"
        while not endpoints.exists():
            if self.process.poll() is not None:
                sys.exit("kfbox serve ended: run it by hand to see why")
            time.sleep(0.001)
        self.start_seconds = time.monotonic() - began
        found = json.loads(endpoints.read_text())
        self.url, self.token = found["ui"], pathlib.Path(found["admin_token_file"]).read_text()

    def get(self, path: str) -> str:
        request = urllib.request.Request(self.url + path, headers={"Authorization": f"Bearer {self.token}"})
        with urllib.request.urlopen(request) as answer:
            return answer.read().decode()

    def memory(self, field: str) -> float:
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"{field}:\s+(\d+)", status)[1]) / 1024

    def chain(self, pipeline) -> list[float]:
        package = str(self.folder / "chain.yaml")
        compiler.Compiler().compile(pipeline, package)
        client = kfp.Client(host=self.url, existing_token=self.token)
        run = client.create_run_from_pipeline_package(package, enable_caching=False)
        ended = client.wait_for_run_completion(run.run_id, timeout=600, sleep_duration=0.5)
        if ended.state != "SUCCEEDED":
            sys.exit(f"the chain ended {ended.state}: {ended.error}")
        selector = f"labelSelector=pipeline/runid={run.run_id}"
        tasks = json.loads(self.get(f"/apis/pipelines.kubeflow.org/v2beta1/namespaces/kubeflow/tasks?{selector}"))
        outputs = (value for t in tasks["items"] for value in t["status"]["outputs"]["parameters"].values())
        return gaps(max(outputs, key=len))

    def mean_ms(self, metric: str) -> float:
        text = self.get("/metrics")
        total, count = (float(re.search(rf"^{metric}_{part} (\S+)", text, re.M)[1]) for part in ("sum", "count"))
        return 1000 * total / count

    def close(self) -> None:
        box = json.loads((self.folder / "data/box.json").read_text())["id"]
        self.process.terminate()
        self.process.wait()
        for kind, remove in (("ps -aq", "rm -f"), ("network ls -q", "network rm")):
            command = f"docker {kind} --filter label=kfbox.dev/box={box} | xargs -r docker {remove}"
            subprocess.run(command, shell=True, stdout=subprocess.DEVNULL, check=False)
        shutil.rmtree(self.folder)


def kfp_local(pipeline) -> list[float]:
    with tempfile.TemporaryDirectory() as root:
        local.init(runner=local.DockerRunner(), pipeline_root=root)
        # It tells its whole story on stdout.
        with contextlib.redirect_stdout(io.StringIO()):
            return gaps(pipeline().outputs["Output"])


def main() -> None:
    build_image()
    starts, idle = [], []
    for _ in range(5):
        box = Box()
        starts.append(box.start_seconds)
        time.sleep(1)
        idle.append(box.memory("VmRSS"))
        box.close()
    print(f"daemon: ready after {1000 * statistics.median(starts):.0f} ms, idle {statistics.median(idle):.1f} MiB resident")

    box = Box()
    # One step first, on all sides: image layers in the page cache, the box's network made.
    subprocess.run(["docker", "run", "--rm", IMAGE, "true"], check=True)
    box.chain(container_chain)
    print(f"gap between two steps of a chain of {STEPS}:  {'median':>22}{'min':>8}{'max':>8}")
    row("docker run --rm, one after the other", docker_run())
    row("kfbox, container steps", box.chain(container_chain))
    row("kfp.local DockerRunner, container steps", kfp_local(container_chain))
    row("kfbox, lightweight Python steps", box.chain(python_chain))
    row("kfp.local DockerRunner, lightweight Python steps", kfp_local(python_chain))
    ours, engine = (box.mean_ms(f"kfbox_pod_{m}_seconds") for m in ("ready_to_create", "engine_start"))
    print(f"  of which, per step: kfbox itself {ours:.1f} ms (ready to create call), engine {engine:.0f} ms (create and start)")
    print(f"daemon after {3 * STEPS} steps: {box.memory('VmRSS'):.1f} MiB resident, peak {box.memory('VmHWM'):.1f} MiB")
    box.close()


if __name__ == "__main__":
    main()
