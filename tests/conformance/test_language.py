"""The pipeline language, compiled by the SDK: parameters and artifacts of all types, control flow, failure."""

import time
from typing import NamedTuple, Optional

import pytest
from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Markdown, Metrics, Model, Output

from box import Box, until


@dsl.component
def types(text: str, whole: int, real: float, flag: bool, items: list, table: dict) -> str:
    import json

    seen = [text, whole, real, flag, items, table]
    print(json.dumps(seen))
    return " ".join(type(value).__name__ for value in seen)


def test_parameters_of_all_types(run) -> None:
    @dsl.pipeline(name="types")
    def pipeline(
        text: str = 'quotes " and \\ and {{$.x}} and ünï',
        whole: int = 3,
        real: float = 2.5,
        flag: bool = True,
        items: list = [1, "two", {"three": 3}],
        table: dict = {"a": [1, 2], "b": {"c": "d"}},
    ):
        types(text=text, whole=whole, real=real, flag=flag, items=items, table=table)

    ended = run(pipeline)
    assert ended.output("types") == "str int float bool list dict"
    assert '["quotes \\" and \\\\ and {{$.x}} and \\u00fcn\\u00ef", 3, 2.5, true, [1, "two", {"three": 3' in ended.log("types")
    given = run(pipeline, text="", whole=-7, real=1e-9, flag=False, items=[], table={})
    assert '["", -7, 1e-09, false, [], {}]' in given.log("types").splitlines()


def test_outputs_of_all_types(run) -> None:
    @dsl.component
    def make() -> NamedTuple("Made", [("s", str), ("i", int), ("f", float), ("b", bool), ("l", list), ("d", dict)]):
        from collections import namedtuple

        return namedtuple("Made", "s i f b l d")("line\nbreak", 10**12, 0.1, False, [1, [2]], {"k": {"n": 1.5}})

    @dsl.component
    def check(s: str, i: int, f: float, b: bool, l: list, d: dict) -> bool:
        return (s, i, f, b, l, d) == ("line\nbreak", 10**12, 0.1, False, [1, [2]], {"k": {"n": 1.5}})

    @dsl.pipeline(name="outputs")
    def pipeline() -> bool:
        made = make().outputs
        return check(s=made["s"], i=made["i"], f=made["f"], b=made["b"], l=made["l"], d=made["d"]).output

    assert run(pipeline).output("check") is True


def test_artifacts_and_their_metadata(run, box: Box) -> None:
    @dsl.component
    def make(data: Output[Dataset], model: Output[Model], metrics: Output[Metrics], note: Output[Markdown]):
        import os

        with open(data.path, "w") as file:
            file.write("a,b\n1,2\n")
        os.makedirs(model.path)
        with open(os.path.join(model.path, "weights.bin"), "wb") as file:
            file.write(bytes(range(256)))
        data.metadata["rows"] = 1
        model.metadata["nested"] = {"list": [1, 2.5, "x", True, None]}
        metrics.log_metric("loss", 0.25)
        with open(note.path, "w") as file:
            file.write("# Title")

    @dsl.component
    def use(data: Input[Dataset], model: Input[Model]) -> str:
        import os

        try:
            with open(data.path, "a"):
                wrote = True
        except OSError:
            wrote = False
        assert data.metadata["rows"] == 1
        return f"{open(data.path).read()!r} {os.listdir(model.path)} {model.metadata['nested']} wrote={wrote}"

    @dsl.pipeline(name="artifacts")
    def pipeline():
        made = make().outputs
        use(data=made["data"], model=made["model"])

    ended = run(pipeline)
    said = ended.output("use")
    assert said.startswith("'a,b\\n1,2\\n' ['weights.bin']") and "2.5" in said
    assert said.endswith("wrote=False"), "an input cannot be changed behind its maker's back"
    data, model = ended.artifact("make", "data"), ended.artifact("make", "model")
    assert data["type"] == "system.Dataset" and "make" in data["uri"] and ended.id in data["uri"]
    assert box.artifact(data) == b"a,b\n1,2\n"
    scheme, rest = model["uri"].split("://")
    folder = box.get(f"/artifacts/{scheme}/{rest}")
    assert folder["entries"] == [{"name": "weights.bin", "size": 256, "dir": False}]
    part = box.call("GET", f"/artifacts/{scheme}/{rest}/weights.bin", headers={"Range": "bytes=250-"})
    assert part.status_code == 206 and part.content == bytes(range(250, 256))
    assert ended.artifact("make", "metrics")["metadata"] == {"loss": 0.25}


def test_conditions(run) -> None:
    @dsl.component
    def flip(face: str) -> str:
        return face

    @dsl.component
    def say(text: str) -> str:
        return text

    @dsl.pipeline(name="conditions")
    def pipeline(face: str, number: int) -> str:
        side = flip(face=face).output
        with dsl.If(side == "heads"):
            a = say(text="heads")
        with dsl.Elif(side == "tails"):
            b = say(text="tails")
        with dsl.Else():
            c = say(text="edge")
        with dsl.If(number > 10, name="big"):
            with dsl.If(number < 20):
                say(text="teens")
        return say(text=dsl.OneOf(a.output, b.output, c.output)).output

    for face, number, expected in (("heads", 5, "heads"), ("tails", 15, "tails"), ("rim", 25, "edge")):
        ended = run(pipeline, face=face, number=number)
        (final,) = [t for path, t in ended.tasks.items() if "/" not in path and path.startswith("say")]
        assert final["status"]["outputs"]["parameters"]["Output"] == expected
        spoken = [t for p, t in ended.tasks.items() if "/" in p and t["spec"]["type"] == "Container" and t["status"]["state"] == "SUCCEEDED"]
        assert len(spoken) == (2 if number == 15 else 1), str(ended)
        assert "SKIPPED" in ended.states().values()


def test_sub_pipelines(run) -> None:
    @dsl.component
    def add(a: int, b: int) -> int:
        return a + b

    @dsl.pipeline(name="inner")
    def inner(a: int, b: int = 10) -> int:
        return add(a=a, b=b).output

    @dsl.pipeline(name="middle")
    def middle(a: int) -> int:
        return inner(a=inner(a=a).output, b=1).output

    @dsl.pipeline(name="outer")
    def outer(a: int = 1) -> int:
        return add(a=middle(a=a).output, b=100).output

    ended = run(outer)
    assert ended.output("add") == 112
    assert ended.states()["middle/inner/add"] == "SUCCEEDED"
    assert ended.tasks["middle"]["spec"]["type"] == "DAG"


def test_order_without_data(run) -> None:
    @dsl.component
    def clock() -> float:
        import time

        return time.time()

    @dsl.pipeline(name="after")
    def pipeline():
        one = clock()
        two = clock().after(one)
        clock().after(one, two)

    ended = run(pipeline)
    times = [ended.output(name) for name in ("clock", "clock-2", "clock-3")]
    assert times == sorted(times)


def test_container_components_and_placeholders(run) -> None:
    @dsl.container_component
    def echo(text: str, out: dsl.OutputPath(str), data: Output[Artifact], number: int = 7, note: Optional[str] = None):
        return dsl.ContainerSpec(
            image="alpine:3.20",
            command=["sh", "-euc", 'mkdir -p "$(dirname "$0")"; printf "%s|" "$@" | tee "$0" >"$1.copy"; printf "%s|" "$@" >"$0"', out],
            args=[
                data.path,
                dsl.ConcatPlaceholder(["--text=", text, ";", number]),
                dsl.IfPresentPlaceholder(input_name="note", then=["--note", note], else_=["--no-note"]),
                "name={{$.pipeline_task_name}}",
            ],
        )  # fmt: skip

    @dsl.pipeline(name="placeholders")
    def pipeline():
        echo(text="a b").set_display_name("plain")
        echo(text="c", note="hey")

    ended = run(pipeline)
    plain, noted = ended.output("echo", "out"), ended.output("echo-2", "out")
    assert "|--text=a b;7|--no-note|name=echo|" in plain
    assert "|--text=c;7|--note|hey|name=echo-2|" in noted


def test_environment_and_names(run) -> None:
    @dsl.component
    def look(job: str, task: str) -> list:
        import os

        return [job, task, os.environ["COLOUR"], os.environ["KFP_POD_NAME"], os.environ["KFP_RETRY_INDEX"]]

    @dsl.pipeline(name="names")
    def pipeline():
        step = look(job=dsl.PIPELINE_JOB_NAME_PLACEHOLDER, task=dsl.PIPELINE_TASK_NAME_PLACEHOLDER)
        step.set_env_variable("COLOUR", "blue = green; $HOME")

    ended = run(pipeline)
    job, task, colour, pod, attempt = ended.output("look")
    assert (job, task, colour, attempt) == (ended.run.display_name, "look", "blue = green; $HOME", "0")
    assert pod == ended.tasks["look"]["status"]["podName"]


def test_caching_by_step(run) -> None:
    @dsl.component
    def stamp(text: str) -> float:
        import time

        return time.time()

    @dsl.component
    def use(value: float) -> float:
        return value

    @dsl.pipeline(name="cached")
    def pipeline(text: str = "x"):
        use(value=stamp(text=text).output)

    first = run(pipeline, caching=True)
    began = time.monotonic()
    second = run(pipeline, caching=True)
    assert time.monotonic() - began < 5
    assert second.states() == {"stamp": "CACHED", "use": "CACHED"}
    assert second.output("stamp") == first.output("stamp")
    other = run(pipeline, caching=True, text="y")
    assert set(other.states().values()) == {"SUCCEEDED"}
    assert set(run(pipeline, caching=False).states().values()) == {"SUCCEEDED"}


def test_retry_policy(run) -> None:
    @dsl.component
    def flaky() -> int:
        import os

        attempt = int(os.environ["KFP_RETRY_INDEX"])
        assert attempt == 2, "not yet"
        return attempt

    @dsl.pipeline(name="retries")
    def pipeline():
        flaky().set_retry(num_retries=3, backoff_duration="0s")

    ended = run(pipeline)
    assert ended.output("flaky") == 2
    assert len(ended.tasks["flaky"]["status"]["attempts"]) == 3


def test_exit_handler_after_a_failure(run) -> None:
    @dsl.component
    def fail():
        raise RuntimeError("as planned")

    @dsl.component
    def never() -> str:
        return "ran"

    @dsl.component
    def tell(status: dsl.PipelineTaskFinalStatus) -> dict:
        print(status)
        return {"state": status.state, "task": status.pipeline_task_name, "message": status.error_message}

    @dsl.pipeline(name="guarded")
    def pipeline():
        with dsl.ExitHandler(tell()):
            never().after(fail())

    ended = run(pipeline, state="FAILED")
    assert ended.states()["exit-handler-1/fail"] == "FAILED"
    assert ended.states().get("exit-handler-1/never") in (None, "SKIPPED")
    told = ended.output("tell")
    assert told["state"] == "FAILED" and told["task"] == "exit-handler-1" and "fail" in told["message"]
    assert "fail" in ended.message()
    assert "RuntimeError: as planned" in ended.log("exit-handler-1/fail")


def test_going_on_after_a_failure(run) -> None:
    @dsl.component
    def fail() -> str:
        raise RuntimeError("as planned")

    @dsl.component
    def clean(text: str = "nothing") -> str:
        return text

    @dsl.pipeline(name="cleaning")
    def pipeline():
        clean(text=fail().output).ignore_upstream_failure()

    ended = run(pipeline, state="FAILED")
    assert ended.states()["clean"] == "SUCCEEDED"
    assert ended.output("clean") == "nothing"


def test_logs_stay_when_the_container_is_gone(run, box: Box) -> None:
    @dsl.component
    def talk():
        import sys

        print("to stdout")
        print("to stderr", file=sys.stderr)

    @dsl.pipeline(name="talking")
    def pipeline():
        talk()

    ended = run(pipeline)
    until("the container is gone", 20, lambda: not box.containers())
    log = ended.log("talk")
    assert "to stdout" in log and "to stderr" in log
    pod = ended.tasks["talk"]["status"]["podName"]
    tail = box.call("GET", f"/api/v1/namespaces/kubeflow/pods/{pod}/log?tailLines=1&timestamps=true").text
    assert tail.count("\n") == 1 and tail[:2] == "20"


def test_logs_stream_while_the_step_runs(client, box: Box) -> None:
    @dsl.container_component
    def count():
        return dsl.ContainerSpec(image="alpine:3", command=["sh", "-c", "for i in 1 2 3; do echo $i; sleep 1; done"])

    @dsl.pipeline(name="counting")
    def pipeline():
        count()

    run_id = client.create_run_from_pipeline_func(pipeline, enable_caching=False).run_id
    pod = until("the step starts", 30, lambda: box.tasks(run_id).get("count", {}).get("status", {}).get("podName"))
    seen = []

    def follow() -> list:
        answer = box.call("GET", f"/api/v1/namespaces/kubeflow/pods/{pod}/log?follow=true", stream=True)
        return [(line, time.monotonic()) for line in answer.iter_lines()] if answer.ok else []

    seen = until("a log", 30, follow)
    assert [line for line, _ in seen] == [b"1", b"2", b"3"]
    assert seen[2][1] - seen[0][1] > 1, "line by line, not all at the end"


def test_packages_that_do_not_exist(run) -> None:
    @dsl.component(packages_to_install=["kfbox-there-is-no-such-package==1"])
    def hopeless():
        pass

    @dsl.pipeline(name="hopeless")
    def pipeline():
        hopeless()

    ended = run(pipeline, state="FAILED")
    assert "kfbox-there-is-no-such-package" in ended.message()


def test_kubernetes_settings(run) -> None:
    kubernetes = pytest.importorskip("kfp.kubernetes")

    @dsl.component
    def look() -> list:
        import os

        return [os.getuid(), os.getgid(), os.environ["TEAM"], os.statvfs("/dev/shm").f_blocks > 0]

    @dsl.pipeline(name="settings")
    def pipeline():
        step = look()
        kubernetes.add_pod_label(step, "team", "vision")
        kubernetes.use_field_path_as_env(step, "TEAM", "metadata.labels['team']")
        kubernetes.set_security_context(step, run_as_user=65534, run_as_group=65534)

    assert run(pipeline).output("look") == [65534, 65534, "vision", True]
