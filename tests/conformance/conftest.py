"""One box for all conformance tests, and what they share: the SDK's client, running a pipeline to its end."""

import os
import pathlib
import sys
from typing import Any, Callable, Iterator

import kfp
import pytest

# The box only. An installed one, or a context of the SDK, must not leak in.
for name in [n for n in os.environ if n.startswith(("KF_PIPELINES_", "KFBOX_HOST", "KFBOX_TOKEN"))]:
    del os.environ[name]

from box import ROOT, Box  # noqa: E402
from s3_client import Key, connect  # noqa: E402

sys.path.insert(0, str(ROOT / "images/quickstart"))


class Ended:
    """A run that has ended."""

    def __init__(self, box: Box, run: Any) -> None:
        self.box, self.run, self.id = box, run, run.run_id
        self.state: str = run.state
        self.tasks = box.tasks(run.run_id)

    def states(self) -> dict[str, str]:
        return {path: task["status"]["state"] for path, task in self.tasks.items()}

    def output(self, path: str, name: str = "Output") -> Any:
        return self.tasks[path]["status"]["outputs"]["parameters"][name]

    def artifact(self, path: str, name: str) -> dict:
        (artifact,) = self.tasks[path]["status"]["outputs"]["artifacts"][name]
        return artifact

    def log(self, path: str) -> str:
        return self.box.logs(self.tasks[path])

    def message(self) -> str:
        return self.run.error.message if self.run.error else ""

    def __str__(self) -> str:
        tasks = "\n".join(f"  {path}: {task['status']}" for path, task in self.tasks.items())
        return f"run {self.id} {self.state}: {self.message()}\n{tasks}"


@pytest.fixture(scope="session")
def box() -> Iterator[Box]:
    box = Box()
    yield box
    box.close()


@pytest.fixture(scope="session")
def client(box: Box, tmp_path_factory: pytest.TempPathFactory) -> kfp.Client:
    # The SDK keeps a context file in the home folder.
    os.environ["HOME"] = str(tmp_path_factory.mktemp("home"))
    return kfp.Client(host=box.url, existing_token=box.token)


@pytest.fixture(scope="session")
def run(box: Box, client: kfp.Client) -> Callable[..., Ended]:
    """Runs a pipeline function, or a compiled file, to its end."""

    def run(pipeline: Any, timeout: int = 120, caching: bool = False, state: str = "SUCCEEDED", **arguments) -> Ended:
        if isinstance(pipeline, pathlib.Path):
            made = client.create_run_from_pipeline_package(
                str(pipeline), arguments=arguments, run_name=pipeline.stem, enable_caching=caching
            )
        else:
            made = client.create_run_from_pipeline_func(pipeline, arguments=arguments, enable_caching=caching)
        ended = Ended(box, client.wait_for_run_completion(made.run_id, timeout, sleep_duration=0.2))
        assert ended.state == state, str(ended)
        return ended

    return run


@pytest.fixture(scope="session")
def key(box: Box) -> Key:
    return box.key("tests")


@pytest.fixture(scope="session")
def s3(box: Box, key: Key) -> Any:
    return connect(box, key)


@pytest.fixture
def bucket(s3: Any, request: pytest.FixtureRequest) -> Iterator[str]:
    """A bucket of the test's own, named after it; gone with all its versions at the end."""
    name = request.node.name.replace("_", "-").split("[")[0][:60].rstrip("-")
    s3.create_bucket(Bucket=name)
    yield name
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=name):
        for entry in page.get("Versions", []) + page.get("DeleteMarkers", []):
            s3.delete_object(Bucket=name, Key=entry["Key"], VersionId=entry["VersionId"])
    s3.delete_bucket(Bucket=name)
