"""Upstream's own compiled pipelines, where a copy of them lies: KFBOX_CONFORMANCE, or shared/conformance beside the
repository. What this version runs must end as upstream's end-to-end test expects; what it does not run yet must be
refused by name when the run is created, never half-run."""

import os
import pathlib
import random
import string
from typing import Any

import kfp
import pytest
import yaml
from kfp_server_api import ApiException

from box import ROOT, Box
from conftest import Ended

FOLDER = pathlib.Path(os.environ.get("KFBOX_CONFORMANCE", ROOT.parent / "shared/conformance")) / "kfp"
FILES = sorted(p for d in ("valid", "argo_compatibility") for p in (FOLDER / d).rglob("*.yaml"))
INVALID = sorted(p for p in (FOLDER / "invalid").glob("*") if p.is_file())

# A word of the file, and what the refusal must say of it.
NOT_YET = {
    "parameterIterator": "ParallelFor",
    "artifactIterator": "ParallelFor",
    "isArtifactList": "list of artifacts",
    "importer": "importer",
    "workspace": "workspace",
    "argostub/": "argostub",
    "pvcMount": "pvcMount",
    "accelerator": "accelerator",
    "secretAsEnv": "secretAsEnv",
    "secretAsVolume": "secretAsVolume",
    "configMapAsEnv": "configMapAsEnv",
    "configMapAsVolume": "configMapAsVolume",
    "imagePullSecret": "imagePullSecret",
}
FAILS = {"pipeline_with_multiple_exit_handlers", "pipeline_with_task_using_ignore_upstream_failure"}
# Their command is called "my_program", which no image has: what can be seen is that they get as far as that.
FICTITIOUS = {"container_io", "container_with_if_placeholder", "container_with_placeholder_in_fstring"}
# Steps that sleep for a quarter of an hour unless told otherwise.
ARGUMENTS: dict[str, dict[str, Any]] = {
    "take_nap_compiled": {"naptime_secs": 1},
    "take_nap_pipeline_root_compiled": {"naptime_secs": 1},
}

if not FILES:
    pytest.skip(
        f"upstream's pipelines are not in {FOLDER}: set KFBOX_CONFORMANCE to a folder that has them in kfp/",
        allow_module_level=True,
    )


def name(path: pathlib.Path) -> str:
    return path.stem


def missing(path: pathlib.Path) -> list[str]:
    """The constructs of a file that this version does not run."""
    found = set()

    def look(node: Any) -> None:
        if isinstance(node, dict):
            for key, value in node.items():
                found.update(word for word in NOT_YET if word == key and value)
                look(value)
        elif isinstance(node, list):
            for item in node:
                look(item)
        elif isinstance(node, str) and node.startswith("argostub/"):
            found.add("argostub/")

    for document in yaml.safe_load_all(path.read_text()):
        look(document)
    return sorted(found)


def arguments(path: pathlib.Path) -> dict[str, Any]:
    """Upstream's test gives random values to the parameters that have no default."""
    given = dict(ARGUMENTS.get(path.stem, {}))
    spec = next(d for d in yaml.safe_load_all(path.read_text()) if d and "pipelineInfo" in d)
    values = {
        "STRING": "".join(random.choices(string.ascii_lowercase, k=8)),
        "NUMBER_INTEGER": random.randrange(1, 10),
        "NUMBER_DOUBLE": random.random(),
        "BOOLEAN": True,
        "LIST": ["a", "b"],
        "STRUCT": {"a": 1},
    }
    for parameter, about in spec["root"].get("inputDefinitions", {}).get("parameters", {}).items():
        if "defaultValue" not in about and not about.get("isOptional"):
            given.setdefault(parameter, values[about["parameterType"]])
    return given


RUN = [path for path in FILES if not missing(path)]
REFUSE = [path for path in FILES if missing(path)]


@pytest.fixture(scope="module")
def started(client: kfp.Client) -> dict[str, str]:
    """All runs at once: the box works through them while the tests wait for one after the other."""
    made = {}
    for path in RUN:
        made[path.stem] = client.create_run_from_pipeline_package(
            str(path), arguments=arguments(path), run_name=path.stem, enable_caching=False
        ).run_id
    return made


@pytest.mark.timeout(900)
@pytest.mark.parametrize("path", RUN, ids=name)
def test_ends_as_upstream_expects(path: pathlib.Path, started: dict[str, str], client: kfp.Client, box: Box) -> None:
    ended = Ended(box, client.wait_for_run_completion(started[path.stem], 720, sleep_duration=0.5))
    if path.stem in FICTITIOUS:
        assert ended.state == "FAILED" and "127" in ended.message(), str(ended)
        return
    assert ended.state == ("FAILED" if path.stem in FAILS else "SUCCEEDED"), str(ended)


@pytest.mark.parametrize("path", REFUSE, ids=name)
def test_what_it_cannot_run_yet_is_refused_by_name(path: pathlib.Path, client: kfp.Client) -> None:
    with pytest.raises(ApiException) as refusal:
        client.create_run_from_pipeline_package(str(path), arguments=arguments(path))
    assert refusal.value.status == 400
    said = str(refusal.value.body)
    assert any(NOT_YET[construct] in said for construct in missing(path)), f"{missing(path)}: {said}"


@pytest.mark.parametrize("path", REFUSE, ids=name)
def test_it_can_be_uploaded_all_the_same(path: pathlib.Path, client: kfp.Client) -> None:
    pipeline = client.upload_pipeline(str(path), pipeline_name=f"later {path.stem}")
    versions = client.list_pipeline_versions(pipeline.pipeline_id).pipeline_versions
    for version in versions:
        client.delete_pipeline_version(pipeline.pipeline_id, version.pipeline_version_id)
    client.delete_pipeline(pipeline.pipeline_id)


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.name)
def test_what_is_no_pipeline_is_refused(path: pathlib.Path, client: kfp.Client, box: Box) -> None:
    with open(path, "rb") as file:
        answer = box.call("POST", f"/apis/v2beta1/pipelines/upload?name={path.name}", files={"uploadfile": file})
    assert answer.status_code == 400, answer.text
    assert answer.json()["error_message"]
    assert client.get_pipeline_id(path.name) is None
