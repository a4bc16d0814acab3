"""A throw-away box for the Python tests and the benchmark: a `kfbox serve` on a free port with its own data folder."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from typing import Callable, TypeVar

import requests

ROOT = pathlib.Path(__file__).resolve().parents[2]
# A daemon that leaks must fail its test, not take the machine down.
ADDRESS_SPACE = 4 << 30
T = TypeVar("T")
KUBECTL = pathlib.Path(sys.executable).parent / "kubectl"


def binary() -> pathlib.Path:
    """The daemon under test: KFBOX_BIN, else the one that Cargo built."""
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    path = pathlib.Path(os.environ.get("KFBOX_BIN", target / "debug/kfbox"))
    if not path.exists():
        raise FileNotFoundError(f"{path}: cargo build -p kfbox, or set KFBOX_BIN")
    return path


def until(what: str, limit: float, ask: Callable[[], T | None]) -> T:
    """Asks again and again until there is an answer."""
    end = time.monotonic() + limit
    while True:
        answer = ask()
        if answer:
            return answer
        if time.monotonic() > end:
            raise TimeoutError(f"not within {limit} s: {what}")
        time.sleep(0.02)


def docker(*args: str) -> str:
    done = subprocess.run(["docker", *args], capture_output=True, text=True, check=True)
    return done.stdout.strip()


class Box:
    """A box; `close` removes all it made."""

    def __init__(self, config: str = "") -> None:
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="kfbox-test-"))
        self.data = self.folder / "data"
        self.binary = binary()
        self.config = self.folder / "config.toml"
        self.config.write_text(config)
        self.daemon: subprocess.Popen[bytes] | None = None
        self.up()

    def up(self) -> None:
        endpoints = self.data / "endpoints.json"
        endpoints.unlink(missing_ok=True)
        with open(self.folder / "log", "ab") as log:
            self.daemon = subprocess.Popen(
                ["prlimit", f"--as={ADDRESS_SPACE}", binary(), "serve", "--config", self.config]
                + ["--data-dir", self.data]
                + ["--port", "0", "--kube-port", "0", "--s3-port", "0"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

        def ready() -> dict | None:
            assert self.daemon and self.daemon.poll() is None, self.log()
            try:
                return json.loads(endpoints.read_text())
            except (OSError, ValueError):
                return None

        said = until("the box is ready", 30, ready)
        self.url: str = said["ui"]
        self.s3: str = said["s3"]
        (self.folder / "kubeconfig").unlink(missing_ok=True)
        self.token = pathlib.Path(said["admin_token_file"]).read_text().strip()
        self.id: str = json.loads((self.data / "box.json").read_text())["id"]

    def kubeconfig(self) -> pathlib.Path:
        """A kubeconfig of the administrator's, as `kfbox kubeconfig` writes it. Made anew after each start: the port changes."""
        path = self.folder / "kubeconfig"
        if path.exists():
            return path
        subprocess.run([binary(), "kubeconfig", "--data-dir", self.data, "--file", path], check=True, timeout=30)
        return path

    def kubectl(self, *args: str, stdin: str | None = None, check: bool = True, timeout: int = 120) -> str:
        """Runs the real kubectl, which PyPI carries; answers what it printed."""
        config = self.kubeconfig()
        done = subprocess.run([KUBECTL, "--kubeconfig", config, *args], input=stdin, capture_output=True, text=True, timeout=timeout)
        assert not check or done.returncode == 0, f"kubectl {' '.join(args)}: {done.stderr}{done.stdout}"
        return done.stdout if check else done.stdout + done.stderr

    def cli(self, *args: str, check: bool = True) -> str:
        """Runs kfbox itself, as the administrator on the box's machine."""
        done = subprocess.run([binary(), *args, "--data-dir", self.data], capture_output=True, text=True, timeout=60)
        assert not check or done.returncode == 0, f"kfbox {' '.join(args)}: {done.stderr}{done.stdout}"
        return done.stdout if check else done.stdout + done.stderr

    def key(self, name: str, *options: str) -> tuple[str, str]:
        """Makes a key to the S3 endpoint; answers its id and secret."""
        made = json.loads(self.cli("s3", "key", "create", name, *options, "--output", "json"))
        return made["accessKey"], made["secretKey"]

    def kill9(self) -> None:
        assert self.daemon
        self.daemon.send_signal(signal.SIGKILL)
        self.daemon.wait()

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def memory(self, field: str) -> int:
        """A field of /proc/PID/status in bytes, such as VmRSS."""
        assert self.daemon
        for line in pathlib.Path(f"/proc/{self.daemon.pid}/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
        raise KeyError(field)

    # The API as any program may call it; what the SDK offers, the tests do through the SDK.

    def call(self, method: str, path: str, **how) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.token}"} | how.pop("headers", {})
        return requests.request(method, self.url + path, headers=headers, timeout=60, **how)

    def get(self, path: str) -> dict:
        answer = self.call("GET", path)
        answer.raise_for_status()
        return answer.json()

    def tasks(self, run_id: str) -> dict[str, dict]:
        """The Task objects of a run by their path, the leading "root/" left out."""
        base = "/apis/pipelines.kubeflow.org/v2beta1/namespaces/kubeflow/tasks"
        items = self.get(f"{base}?labelSelector=pipeline/runid={run_id}")["items"]
        return {item["spec"]["path"].removeprefix("root/"): item for item in items}

    def state(self, run_id: str) -> str:
        return self.get(f"/apis/v2beta1/runs/{run_id}")["state"]

    def logs(self, task: dict) -> str:
        answer = self.call("GET", f"/api/v1/namespaces/kubeflow/pods/{task['status']['podName']}/log")
        answer.raise_for_status()
        return answer.text

    def artifact(self, artifact: dict) -> bytes:
        """The bytes of an artifact, through the door that the browser uses."""
        scheme, rest = artifact["uri"].split("://", 1)
        answer = self.call("GET", f"/artifacts/{scheme}/{rest}")
        answer.raise_for_status()
        return answer.content

    def containers(self) -> list[str]:
        """Without the sandboxes, which hold the others' network and are kept for later steps."""
        rows = docker("ps", "--all", "--filter", f"label=kfbox.dev/box={self.id}",
                      "--format", '{{.ID}} {{.Label "kfbox.dev/role"}}').splitlines()
        return [row.split()[0] for row in rows if not row.endswith(" sandbox")]

    def close(self) -> None:
        if self.daemon and self.daemon.poll() is None:
            self.kill9()
        label = f"label=kfbox.dev/box={self.id}"
        # A daemon asks for its network as it starts; killed early, the engine makes it when nobody waits any more.
        with contextlib.suppress(TimeoutError):
            until("its network", 3, lambda: docker("network", "ls", "--quiet", "--filter", label))
        for listing, removal in (
            (("ps", "--all"), ("rm", "--force", "--volumes")),
            (("network", "ls"), ("network", "rm")),
            (("images",), ("rmi", "--force")),
        ):
            for name in docker(*listing, "--quiet", "--filter", label).split():
                # One that ends at this moment is removed by the engine itself.
                with contextlib.suppress(subprocess.CalledProcessError):
                    docker(*removal, name)
        shutil.rmtree(self.folder, ignore_errors=True)
