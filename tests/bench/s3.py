"""What the S3 endpoint costs: small and large objects, lists, memory, beside nginx (static files and DAV) and another
S3 server in the same run on the same disk.

    tests/bench/run.sh s3               (sets up what it needs, then calls this)
    MANY=1000000 tests/bench/run.sh s3  (lists in a bucket of a million; 100,000 otherwise)

nginx and s3s-fs (the demonstration server of the protocol library that kfbox uses) do not flush what they write to the
disk; kfbox does before it answers. wrk makes the small requests, curl the large ones; URLs are presigned.

A benchmark: it prints, it asserts nothing.
"""

import contextlib
import os
import pathlib
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any, Iterator

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "conformance"))

import boto3  # noqa: E402
import requests  # noqa: E402
from botocore.config import Config  # noqa: E402

from box import Box, until  # noqa: E402

SMALL, COUNT, CONNECTIONS, SECONDS, ROUNDS = 1024, 2000, 8, 3, 3
LARGE, LARGES = 64 << 20, 6
MANY = int(os.environ.get("MANY", 100_000))
MIB = 1 << 20


class Server:
    """Where requests go: a name, and URLs for a verb and a key."""

    def __init__(self, name: str, base: str, keys: tuple[str, str] | None = None) -> None:
        self.name, self.base = name, base
        self.s3: Any = keys and boto3.client(
            "s3", endpoint_url=base, region_name="us-east-1", aws_access_key_id=keys[0], aws_secret_access_key=keys[1],
            config=Config(signature_version="s3v4", s3={"addressing_style": "path"}, max_pool_connections=32),
        )  # fmt: skip
        if self.s3:
            self.s3.create_bucket(Bucket="bench")

    def url(self, verb: str, key: str) -> str:
        if not self.s3:
            return f"{self.base}/bench/{key}"
        operation = {"GET": "get_object", "PUT": "put_object"}[verb]
        return self.s3.generate_presigned_url(operation, Params={"Bucket": "bench", "Key": key}, ExpiresIn=86400)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def process(*command: str, port: int, **how: Any) -> Iterator[subprocess.Popen[bytes]]:
    started = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **how)

    def answers() -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        return False

    try:
        until(f"{command[0]} answers", 20, answers)
        yield started
    finally:
        started.terminate()
        started.wait(20)


@contextlib.contextmanager
def nginx(folder: pathlib.Path) -> Iterator[Server]:
    port = free_port()
    (folder / "files/bench").mkdir(parents=True)
    (folder / "body").mkdir()
    config = folder / "nginx.conf"
    config.write_text(f"""
        user root; daemon off; worker_processes 2; pid {folder}/pid; error_log {folder}/error.log;
        events {{ worker_connections 512; }}
        http {{ access_log off; sendfile on; keepalive_requests 1000000; client_max_body_size 0;
            client_body_temp_path {folder}/body;
            server {{ listen 127.0.0.1:{port}; root {folder}/files;
                location / {{ dav_methods PUT; create_full_put_path on; }} }} }}
    """)
    with process("nginx", "-c", str(config), "-p", str(folder), port=port):
        yield Server("nginx", f"http://127.0.0.1:{port}")


@contextlib.contextmanager
def s3s_fs(folder: pathlib.Path) -> Iterator[Server]:
    port = free_port()
    folder.mkdir()
    command = ["s3s-fs", "--access-key", "bench", "--secret-key", "benchbench", "--host", "127.0.0.1", "--port", str(port)]
    with process(*command, str(folder), port=port):
        yield Server("s3s-fs", f"http://127.0.0.1:{port}", ("bench", "benchbench"))


def wrk(server: Server, verb: str, folder: pathlib.Path, names: list[str]) -> tuple[float, float]:
    """Requests a second, and the median milliseconds of one."""
    paths = [server.url(verb, name).removeprefix(server.base) for name in names]
    listed = folder / "urls"
    listed.write_text("\n".join(paths))
    script = folder / "load.lua"
    script.write_text(f"""
        local paths, at = {{}}, 0
        for line in io.lines("{listed}") do paths[#paths + 1] = line end
        local started = 0
        function setup(thread) thread:set("offset", started * math.floor(#paths / 2)); started = started + 1 end
        local body = "{verb}" == "PUT" and string.rep("x", {SMALL}) or nil
        function request() at = at + 1; return wrk.format("{verb}", paths[(offset + at) % #paths + 1], nil, body) end
    """)
    command = ["wrk", "-t2", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "--latency", "-s", script, server.base]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "Non-2xx" not in said, said
    figure, unit = re.search(r"50%\s+([\d.]+)(us|ms|s)", said).groups()
    return float(re.search(r"Requests/sec:\s+([\d.]+)", said).group(1)), float(figure) * {"us": 1e-3, "ms": 1, "s": 1e3}[unit]


def curl(server: Server, verb: str, file: pathlib.Path) -> float:
    """MiB a second, on two connections."""
    began = time.monotonic()
    for pair in range(0, LARGES, 2):
        how = ["-T", str(file)] if verb == "PUT" else ["-o", "/dev/null"]
        both = [subprocess.Popen(["curl", "-sSf", *how, server.url(verb, f"large-{pair + n}")]) for n in (0, 1)]
        assert [one.wait() for one in both] == [0, 0]
    return LARGES * LARGE / MIB / (time.monotonic() - began)


def row(what: str, figures: dict[str, str]) -> None:
    print(f"  {what:<36}" + "".join(f"{name}: {figure:<22}" for name, figure in figures.items()).rstrip(), flush=True)


def disk(folder: pathlib.Path) -> None:
    block, took = os.urandom(4096), []
    with open(folder / "sync", "wb") as file:
        for _ in range(200):
            file.write(block)
            file.flush()
            began = time.monotonic()
            os.fdatasync(file.fileno())
            took.append((time.monotonic() - began) * 1000)
    began = time.monotonic()
    with open(folder / "raw", "wb") as file:
        for _ in range(8):
            file.write(bytes(LARGE))
        os.fsync(file.fileno())
    rate = 8 * LARGE / MIB / (time.monotonic() - began)
    (folder / "raw").unlink()
    print(f"  the disk: {rate:.0f} MiB/s written and flushed, fdatasync p50 {statistics.median(took):.2f} ms")


def lists(box: Box, server: Server, folder: pathlib.Path) -> None:
    filled = 0
    for size in (1_000, 10_000, 100_000, 1_000_000):
        if size > MANY:
            return
        while filled < size:
            count = min(10_000, size - filled)
            names = [f"many/{n:07}" for n in range(filled, filled + count)]
            urls = folder / "fill"
            targets = "".join(f'url = "{server.url("PUT", name)}"\noutput = /dev/null\n' for name in names)
            urls.write_text(f'request = PUT\ndata = "x"\n{targets}')
            subprocess.run(["curl", "-sSf", "-Z", "--parallel-max", "32", "-K", urls], check=True, stderr=subprocess.DEVNULL)
            filled += count
        page = {"Bucket": "bench", "Prefix": "many/", "StartAfter": f"many/{max(0, size // 2 - 1001):07}", "MaxKeys": 1000}
        url, session, took = server.s3.generate_presigned_url("list_objects_v2", Params=page), requests.Session(), []
        for _ in range(21):
            began = time.monotonic()
            answer = session.get(url)
            took.append((time.monotonic() - began) * 1000)
        note = f"{answer.text.count('<Key>')} keys, memory {box.memory('VmRSS') / MIB:.0f} MiB"
        print(f"  list 1,000 of {size:>9,}              {statistics.median(took):8.1f} ms   {note}", flush=True)


def main() -> None:
    folder = pathlib.Path(tempfile.mkdtemp(prefix="kfbox-bench-", dir="/var/tmp"))
    file = folder / "large"
    file.write_bytes(os.urandom(LARGE))
    box = Box()
    try:
        with nginx(folder / "nginx") as static, s3s_fs(folder / "s3s") as other:
            servers = [Server("kfbox", box.s3, box.key("bench")), static, other]
            disk(folder)
            names = [f"small-{n}" for n in range(COUNT)]
            for what, measure in (
                ("PUT 1 KiB, 8 connections", lambda s: "{:.0f}/s p50 {:.2f} ms".format(*wrk(s, "PUT", folder, names))),
                ("GET 1 KiB, 8 connections", lambda s: "{:.0f}/s p50 {:.2f} ms".format(*wrk(s, "GET", folder, names))),
                ("PUT 64 MiB, 2 connections", lambda s: f"{curl(s, 'PUT', file):.0f} MiB/s"),
                ("GET 64 MiB, 2 connections", lambda s: f"{curl(s, 'GET', file):.0f} MiB/s"),
            ):
                for _ in range(ROUNDS):
                    row(what, {server.name: measure(server) for server in servers})
            print(f"  memory of the daemon: now {box.memory('VmRSS') / MIB:.0f} MiB, at its highest {box.memory('VmHWM') / MIB:.0f} MiB")
            lists(box, servers[0], folder)
    finally:
        box.close()
        shutil.rmtree(folder, ignore_errors=True)


main()
